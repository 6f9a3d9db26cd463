"""The exercises of the arena beyond what holds for all: other ways to a right answer pass, near misses do not."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from answers import verdict_of

from lecture_lib import arena
from lecture_lib.checks.message import text

verdict = verdict_of("arena")


def fit_by_scipy(wins, anchor=None, at=1000.0, start=None, penalty=0.0):
    """A root of the gradient, by MINPACK."""
    arena.refuse_degenerate(np.asarray(wins, dtype=float))

    def gradient(theta):
        p = 1 / (1 + np.exp(np.subtract.outer(theta, theta).T))
        return ((wins + wins.T) * p - wins).sum(1) + penalty * theta

    theta = scipy.optimize.root(
        lambda theta: gradient(theta) + theta.mean(), np.zeros(len(wins)), tol=1e-13
    ).x
    scores = 400 / np.log(10) * theta
    return scores - (scores.mean() if anchor is None else scores[anchor]) + at


def elo_in_numpy(a, b, points, n_models, k=4.0, start=1000.0):
    scores = np.full(n_models, float(start))
    for t in range(len(a)):
        gain = k * (points[t] - arena.win_probability(scores[a[t]] - scores[b[t]]))
        scores[a[t]] += gain
        scores[b[t]] -= gain
    return scores


def sandwich_by_einsum(counts, scores, squares=None):
    p = arena.expected_points(scores)
    r = np.array([0, 0.5, 1]) - p[:, :, None]
    D = np.eye(len(p))[:, None] - np.eye(len(p))[None]
    H = np.einsum("ijk,ij,ija,ijb->ab", counts, p * (1 - p), D, D)
    S = np.einsum("ijk,ijk,ija,ijb->ab", counts if squares is None else squares, r**2, D, D)
    return arena.SCALE**2 * arena.pseudo_inverse(H) @ S @ arena.pseudo_inverse(H)


def style_by_design(a, b, points, X, n_models, penalty=0.0):
    """Newton's method on the full design, the first model at 0."""
    design = np.hstack([(np.eye(n_models)[a] - np.eye(n_models)[b])[:, 1:], X])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("not fixed")
    theta = np.zeros(design.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-design @ theta))
        H = design.T @ (design * (p * (1 - p))[:, None]) + penalty * np.eye(len(theta))
        theta = theta + np.linalg.solve(H, design.T @ (points - p) - penalty * theta)
    scores = arena.SCALE * np.concatenate([[0.0], theta[: n_models - 1]])
    return scores - scores.mean() + 1000, theta[n_models - 1 :]


def curl_by_pairs(wins):
    Y, w = arena.log_odds(wins)
    i, j = np.nonzero(np.triu(w, 1))
    design = (np.eye(len(wins))[i] - np.eye(len(wins))[j]) * np.sqrt(w[i, j])[:, None]
    y = Y[i, j] * np.sqrt(w[i, j])
    theta, _, rank, _ = np.linalg.lstsq(design, y, rcond=1e-10)
    chi2 = float(((y - design @ theta) ** 2).sum())
    return chi2 / float(y @ y), chi2, len(y) - int(rank)


def by_p_value(tables):
    found = [arena.curl_share(wins) for wins in tables]
    return int(np.argmin([scipy.stats.chi2.logsf(chi2, freedom) for _, chi2, freedom in found]))


RIGHT = {
    "fit_bradley_terry": fit_by_scipy,
    "elo": elo_in_numpy,
    "sandwich_covariance": sandwich_by_einsum,
    "mended_ranks": lambda lower, upper: np.array([1 + (lower > mine).sum() for mine in upper]),
    "fit_style": style_by_design,
    "curl_share": curl_by_pairs,
    "not_a_line": by_p_value,
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", RIGHT)
def test_another_way_to_a_right_answer_passes(name, seed):
    found = verdict(name, RIGHT[name], seed)
    assert found.passed, text(found)


def most_cycles(tables):
    beats = [(wins > wins.T).astype(int) for wins in tables]
    return int(np.argmax([np.trace(b @ b @ b) for b in beats]))


WRONG = {
    "fit_bradley_terry": [
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(wins, anchor, at, penalty=1e-2),
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(np.floor(wins), anchor, at),
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(wins, anchor, at).astype(np.float32),
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(wins, anchor, at).round(2),
    ],
    "elo": [
        lambda a, b, points, n_models, k=4.0, start=1000.0: elo_in_numpy(
            a, b, points, n_models, k, start
        ).round(),
        lambda a, b, points, n_models, k=32.0, start=1000.0: elo_in_numpy(a, b, points, n_models, k, start),
        lambda a, b, points, n_models, k=4.0, start=1000.0: elo_in_numpy(
            a, b, points, max(a, default=0) + 1, k, start
        ),
    ],
    "sandwich_covariance": [
        lambda counts, scores, squares=None: sandwich_by_einsum(
            counts + counts.transpose(1, 0, 2), scores, squares
        ),
        lambda counts, scores, squares=None: sandwich_by_einsum(
            counts, np.full(len(scores), 1000.0), squares
        ),
    ],
    "fit_style": [lambda a, b, points, X, n_models: style_by_design(a, b, points, X, n_models, penalty=0.01)],
    "curl_share": [
        lambda wins: (*curl_by_pairs(wins)[:2], len(wins) * (len(wins) - 1) // 2 - len(wins) + 1),
        lambda wins: (*curl_by_pairs(wins)[:2], float(curl_by_pairs(wins)[2])),
        lambda wins: curl_by_pairs(wins)[0],
    ],
    "not_a_line": [most_cycles, lambda tables: int(np.argmax([len(wins) for wins in tables]))],
}


@pytest.mark.parametrize(
    ("name", "place"), [(name, i) for name, rows in WRONG.items() for i in range(len(rows))]
)
def test_a_near_miss_is_rejected(name, place):
    for seed in range(3):
        assert not verdict(name, WRONG[name][place], seed).passed
