r"""How far a score can be trusted: Fisher's covariance, the sandwich, and the bootstrap.

The second derivative of the log-likelihood is the Laplacian of a network in which models are nodes and every pair is joined
by the conductance n p (1 - p) of its n battles. The variance of a difference of scores is the resistance between the nodes.

Axes: M models, R rounds.
Source: Huber (1967) for the sandwich; Efron (1979) for the bootstrap.
"""

import math
from statistics import NormalDist

import numpy as np

from lecture_lib.arena.battles import Battles, wins_of
from lecture_lib.arena.fit import (
    SCALE,
    expected_points,
    fit_bradley_terry,
    laplacian,
    pseudo_inverse,
    refuse_degenerate,
)
from lecture_lib.fields import chance, chance_below_one, positive_real, whole


def fisher_covariance(wins: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """SCALE² L⁻¹ with conductances n p (1 - p): the covariance of scores whose mean is fixed, if every vote has a winner.

    Args:
        wins: (M, M) points that i took off j.
        scores: (M,) fitted to them.

    Returns:
        (M, M) covariance in points².
    """
    p = expected_points(scores)
    return SCALE**2 * pseudo_inverse(laplacian((wins + wins.T) * p * (1 - p)))


def sandwich_covariance(
    counts: np.ndarray, scores: np.ndarray, squares: np.ndarray | None = None
) -> np.ndarray:
    r"""SCALE² L⁻¹ S L⁻¹: S has the squares of the residuals that the votes really have, in place of p (1 - p).

    Args:
        counts: (M, M, 3) battles of i against j in which i took k half points, in both orders.
        scores: (M,) fitted to them.
        squares: (M, M, 3) sums of squared weights; None: every vote has weight 1.

    Returns:
        (M, M) covariance in points², of scores whose mean is fixed.
    """
    p = expected_points(scores)
    residuals = np.array([0, 0.5, 1]) - p[..., None]  # (M, M, 3) points taken, less the expected ones
    met = counts.sum(-1)
    seen = ((counts if squares is None else squares) * residuals**2).sum(-1)
    bread = pseudo_inverse(laplacian((met + met.T) * p * (1 - p)))
    return SCALE**2 * bread @ laplacian(seen + seen.T) @ bread


def score_interval(
    scores: np.ndarray, covariance: np.ndarray, level: float = 0.95, anchor: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends, score ± z σ, (M,) each; with an anchor, of the differences from that model.

    Args:
        scores: (M,).
        covariance: (M, M) of scores whose mean is fixed.
        level: how often the interval should hold the truth.
        anchor: number of the model whose score is held; its interval is a point.
    """
    z = NormalDist().inv_cdf((1 + chance_below_one("level", level)) / 2)
    variance = covariance.diagonal()
    if anchor is not None:
        variance = variance + variance[anchor] - 2 * covariance[anchor]
    half = z * np.sqrt(variance.clip(0))
    return scores - half, scores + half


def bootstrap(
    battles: Battles,
    rounds: int,
    generator: np.random.Generator,
    anchor: int | None = None,
    at: float = 1000.0,
) -> np.ndarray:
    """Scores of as many drawings of the battles from themselves, with replacement: (R, M).

    Without weights the cells of the table are drawn, not the votes: the law is the same, and a round costs no more for a
    million votes than for a thousand.

    Args:
        battles: the votes.
        rounds: number R of drawings.
        generator: source of the drawings.
        anchor: as in `fit_bradley_terry`.
        at: as in `fit_bradley_terry`.

    Raises:
        ValueError: in one of the drawings a model never lost or never won: it has too few votes for a bootstrap.
    """
    rounds = whole("rounds", rounds, 1)
    start = fit_bradley_terry(battles.wins)
    tables = _resampled_cells if battles.weight is None else _resampled_rows
    scores = []
    for wins in tables(battles, rounds, generator):
        try:
            refuse_degenerate(wins, battles.models)
        except ValueError as error:
            raise ValueError(
                f"too few votes for a bootstrap, use the sandwich: in one drawing {error}"
            ) from None
        scores.append(fit_bradley_terry(wins, anchor, at, start))
    return np.array(scores)


def _resampled_cells(battles: Battles, rounds: int, generator: np.random.Generator):  # noqa: ANN202
    """Tables of wins of multinomial drawings of the cells; a battle counts once, whoever is called a."""
    counts = battles.counts
    folded = np.triu(np.moveaxis(counts + counts.transpose(1, 0, 2)[..., ::-1], -1, 0)).transpose(1, 2, 0)
    cells = np.flatnonzero(folded)
    shares = folded.ravel()[cells] / len(battles)
    drawn = np.zeros(folded.size)
    for _ in range(rounds):
        drawn[cells] = generator.multinomial(len(battles), shares)
        yield wins_of(drawn.reshape(folded.shape))


def _resampled_rows(battles: Battles, rounds: int, generator: np.random.Generator):  # noqa: ANN202
    """The same, vote by vote: votes with weights cannot be drawn from the table."""
    for _ in range(rounds):
        yield battles.take(generator.integers(len(battles), size=len(battles))).wins


def votes_to_tell_apart(
    difference: float, level: float = 0.95, power: float = 0.8, ties: float = 0.0
) -> float:
    """((z_level + z_power) / (p - 1/2))² p (1 - p) (1 - ties): direct battles that show a difference of so many points.

    Args:
        difference: points between the two models.
        level: of the interval that must not hold zero.
        power: how often that should succeed.
        ties: share of ties, as in `draw_battles`.
    """
    normal = NormalDist()
    difference = positive_real("difference", difference)
    z = normal.inv_cdf((1 + chance_below_one("level", level)) / 2)
    z += normal.inv_cdf(chance_below_one("power", power))
    p = 1 / (1 + math.exp(-difference / SCALE))
    return (z / (p - 0.5)) ** 2 * p * (1 - p) * (1 - chance("ties", ties))
