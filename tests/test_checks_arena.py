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


def nearly_by_scipy(*inputs, **named):
    """Half of what is allowed away from the maximum, up and down in turn."""
    scores = fit_by_scipy(*inputs, **named)
    return scores + 5e-5 * (-1.0) ** np.arange(len(scores))


RIGHT = {
    "fit_bradley_terry": fit_by_scipy,
    "elo": elo_in_numpy,
    "sandwich_covariance": sandwich_by_einsum,
    "mended_ranks": lambda lower, upper: np.array([1 + (lower > mine).sum() for mine in upper]),
    "fit_style": style_by_design,
    "curl_share": curl_by_pairs,
    "not_a_line": by_p_value,
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", RIGHT)
def test_another_way_to_a_right_answer_passes(name, seed):
    found = verdict(name, RIGHT[name], seed)
    assert found.passed, text(found)


def test_scores_may_be_off_by_what_the_task_allows():
    found = verdict("fit_bradley_terry", nearly_by_scipy)
    assert found.passed, text(found)


def most_cycles(tables):
    beats = [(wins > wins.T).astype(int) for wins in tables]
    return int(np.argmax([np.trace(b @ b @ b) for b in beats]))


def fit_with_a_short_look(wins, anchor=None, at=1000.0, start=None):
    """Refuse a model that never won or never lost, and models that never met; not a group that never lost."""
    met = (wins + wins.T > 0) | np.eye(len(wins), dtype=bool)
    if not (wins.sum(0).all() and wins.sum(1).all() and np.linalg.matrix_power(met * 1, len(wins)).all()):
        raise ValueError("no maximum")
    try:
        return fit_by_scipy(wins, anchor, at)
    except ValueError:
        return np.full(len(wins), at)


def elo_by_clipped_differences(a, b, points, n_models, k=4.0, start=1000.0):
    scores = np.full(n_models, float(start))
    for t in range(len(a)):
        gain = k * (points[t] - arena.win_probability(np.clip(scores[a[t]] - scores[b[t]], -400, 400)))
        scores[a[t]] += gain
        scores[b[t]] -= gain
    return scores


def elo_in_the_type_of_the_start(a, b, points, n_models, k=4.0, start=1000.0):
    scores = np.full(n_models, start)
    for t in range(len(a)):
        gain = k * (points[t] - arena.win_probability(scores[a[t]] - scores[b[t]]))
        scores[a[t]] += gain
        scores[b[t]] -= gain
    return scores


def sandwich_or_fisher(counts, scores, squares=None):
    """Fisher's covariance where nobody tied."""
    if counts[..., 1].any():
        return sandwich_by_einsum(counts, scores, squares)
    return arena.fisher_covariance(counts[..., 2] + counts[..., 0].T, scores)


def style_if_no_column_is_a_copy(a, b, points, X, n_models):
    if any(np.allclose(X[:, i], X[:, j]) for i in range(X.shape[1]) for j in range(i)):
        raise ValueError("a copy")
    habits = np.eye(n_models)[a] - np.eye(n_models)[b]
    if any(np.linalg.matrix_rank(np.column_stack([habits, x])) < n_models for x in X.T):
        raise ValueError("a property of the models")
    try:
        return style_by_design(a, b, points, X, n_models)
    except ValueError:
        return np.full(n_models, 1000.0), np.zeros(X.shape[1])


def curl_by_triangles(wins):
    """No curl where no three have met one another."""
    met = (wins + wins.T > 0).astype(int)
    return curl_by_pairs(wins) if np.trace(met @ met @ met) else (0.0, 0.0, 0)


def first_below_five_percent(tables):
    p = [scipy.stats.chi2.sf(chi2, freedom) for _, chi2, freedom in map(arena.curl_share, tables)]
    return int(np.argmax(np.array(p) < 0.05))


def by_root_of_freedom(tables):
    return int(np.argmax([chi2 / freedom**0.5 for _, chi2, freedom in map(arena.curl_share, tables)]))


WRONG = {
    "fit_bradley_terry": [
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(wins, anchor, at, penalty=1e-2),
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(np.floor(wins), anchor, at),
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(wins, anchor, at).astype(np.float32),
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(wins, anchor, at).round(2),
        lambda wins, anchor=None, at=1000.0, start=None: fit_by_scipy(wins, anchor, at) * np.nan,
        fit_with_a_short_look,
    ],
    "elo": [
        lambda a, b, points, n_models, k=4.0, start=1000.0: elo_in_numpy(
            a, b, points, n_models, k, start
        ).round(),
        lambda a, b, points, n_models, k=32.0, start=1000.0: elo_in_numpy(a, b, points, n_models, k, start),
        lambda a, b, points, n_models, k=4.0, start=1000.0: elo_in_numpy(
            a, b, points, max(a, default=0) + 1, k, start
        ),
        elo_by_clipped_differences,
        elo_in_the_type_of_the_start,
    ],
    "sandwich_covariance": [
        lambda counts, scores, squares=None: sandwich_by_einsum(
            counts + counts.transpose(1, 0, 2), scores, squares
        ),
        lambda counts, scores, squares=None: sandwich_by_einsum(
            counts, np.full(len(scores), 1000.0), squares
        ),
        sandwich_or_fisher,
    ],
    "mended_ranks": [
        lambda lower, upper: np.array([1 + (lower.round() > mine).sum() for mine in upper.round()]),
        lambda lower, upper: np.array([1 + (lower > mine + 1e-3).sum() for mine in upper]),
    ],
    "fit_style": [
        lambda a, b, points, X, n_models: style_by_design(a, b, points, X, n_models, penalty=0.01),
        style_if_no_column_is_a_copy,
    ],
    "curl_share": [
        lambda wins: (*curl_by_pairs(wins)[:2], len(wins) * (len(wins) - 1) // 2 - len(wins) + 1),
        lambda wins: (*curl_by_pairs(wins)[:2], float(curl_by_pairs(wins)[2])),
        lambda wins: curl_by_pairs(wins)[0],
        curl_by_triangles,
    ],
    "not_a_line": [
        most_cycles,
        lambda tables: int(np.argmax([len(wins) for wins in tables])),
        lambda tables: int(np.argmax([wins.sum() for wins in tables])),
        first_below_five_percent,
        by_root_of_freedom,
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "place"), [(name, i) for name, rows in WRONG.items() for i in range(len(rows))]
)
def test_a_near_miss_is_rejected(name, place):
    for seed in range(3):
        assert not verdict(name, WRONG[name][place], seed).passed
