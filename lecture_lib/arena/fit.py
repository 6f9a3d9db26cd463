r"""Bradley-Terry: P(i beats j) = 1 / (1 + exp(-(s_i - s_j) / SCALE)), the scores s by maximum likelihood.

The likelihood depends on the table of wins alone, so that a million votes are counted once and never looked at again.

Axes: M models.
Source: Bradley & Terry (1952); Hunter (2004), for when the maximum exists.
"""

import math
from collections.abc import Sequence

import numpy as np

SCALE = 400 / math.log(10)  # points for a factor e in the odds: 400 points are odds of 10 to 1


def win_probability(difference: np.ndarray | float) -> np.ndarray | float:
    """1 / (1 + exp(-difference / SCALE)): the Fermi function of a difference in points.

    Example:
        >>> round(float(win_probability(1407 - 1319)), 3)
        0.624
    """
    return 0.5 + 0.5 * np.tanh(difference / (2 * SCALE))  # the same function; nothing overflows


def expected_points(scores: np.ndarray) -> np.ndarray:
    """P(i beats j) for all pairs of scores (M,): (M, M)."""
    return win_probability(np.subtract.outer(scores, scores))


def laplacian(conductances: np.ndarray) -> np.ndarray:
    """The matrix of a network of resistors, (M, M), from the symmetric conductances (M, M) between its nodes."""
    return np.diag(conductances.sum(1)) - conductances


def pseudo_inverse(L: np.ndarray) -> np.ndarray:
    """The inverse of a connected network's Laplacian (M, M) on vectors whose sum is zero: (M, M)."""
    shift = np.full(L.shape, np.trace(L) / len(L) ** 2)  # lifts the one direction that L does not see
    inverse = np.linalg.inv(L + shift)
    return inverse - 1 / shift.sum()


def fit_bradley_terry(
    wins: np.ndarray, anchor: int | None = None, at: float = 1000.0, start: np.ndarray | None = None
) -> np.ndarray:
    r"""Scores that make the wins most likely: the expected points of each model are its points.

    Args:
        wins: (M, M) points that i took off j, ties as half; any weights.
        anchor: number of the model whose score is `at`; None: the mean of all scores is.
        at: in points.
        start: (M,) scores to start from; they change how long it takes, not what is found.

    Returns:
        (M,) scores, float64.

    Raises:
        ValueError: there is no finite maximum, see `refuse_degenerate`.

    Example:
        >>> fit_bradley_terry(np.array([[0, 10], [1, 0]]), anchor=1).round()
        array([1400., 1000.])

    Source: Newton's method; the length of a step by Sun & Tran-Dinh (2019), which makes it converge from everywhere.
    """
    wins = np.asarray(wins, dtype=float)
    refuse_degenerate(wins)
    met = wins + wins.T
    scores = np.zeros(len(wins)) if start is None else np.asarray(start, dtype=float)
    for _ in range(200):
        p = expected_points(scores)
        missing = (wins - met * p).sum(1)  # points won beyond the expected ones
        step = SCALE * (pseudo_inverse(laplacian(met * p * (1 - p))) @ missing)
        spread = np.ptp(step) / SCALE
        scores = scores + step * (math.log1p(spread) / spread if spread else 1)
        if spread < 1e-6:  # a step of this size leaves an error of its square
            break
    return scores + at - (scores.mean() if anchor is None else scores[anchor])


def refuse_degenerate(wins: np.ndarray, models: Sequence[str] = ()) -> None:
    """Refuse wins whose likelihood has no finite maximum: someone never lost or won, or two groups never met.

    Args:
        wins: (M, M) as in `fit_bradley_terry`.
        models: M names for the message; empty: numbers.

    Raises:
        ValueError: with the models concerned; also for what is no square table of numbers that are 0 or more.
    """
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or not (np.isfinite(wins) & (wins >= 0)).all():
        raise ValueError(f"wins must be a square table of numbers, 0 or more, got {wins.shape}")
    if not len(wins) or wins.diagonal().any():
        raise ValueError("wins needs two models or more, and no model meets itself")
    reached = (wins > 0) | np.eye(len(wins), dtype=bool)  # i stands above j by some chain of wins
    for _ in range(len(wins).bit_length()):
        if reached.all():
            return
        reached = reached.astype(np.float32) @ reached.astype(np.float32) > 0
    if not reached.all():
        raise ValueError(_what_is_missing(wins, reached, models or [f"model {i}" for i in range(len(wins))]))


def _what_is_missing(wins: np.ndarray, reached: np.ndarray, models: Sequence[str]) -> str:
    """Say which models cannot be compared, and why: those that nobody reaches, or that reach nobody."""
    for table, verb, bound in ((reached, "lost", "upper"), (reached.T, "won", "lower")):
        one = int(table.sum(0).argmin())
        group = table[one] & table[:, one]
        names = " and ".join(models[i] for i in np.flatnonzero(group)[:3]) + (
            ", ..." if group.sum() > 3 else ""
        )
        if not (wins[group][:, ~group].any() or wins[~group][:, group].any()):
            others = models[int(np.flatnonzero(~group)[0])]
            alone = f"{names} has no battle" if group.sum() == 1 else f"{names} never met {others}"
            return (
                f"{alone}: no vote says how they compare; leave one side out, or collect votes between them"
            )
        if group.sum() == 1:
            return f"{names} never {verb}, so its score has no {bound} bound: leave it out, or wait for more votes"
    return f"{names} never {verb} against the other models, so the distance has no bound: fit the two groups apart"
