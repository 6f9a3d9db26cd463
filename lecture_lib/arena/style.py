r"""Style control: what a vote owes to the length or the look of an answer gets a coefficient of its own.

P(a beats b) = σ((s_a - s_b) / SCALE + x · β), with x the difference in style of the two answers.

Axes: B battles, M models, F features.
Source: Li, Angelopoulos & Chiang (2024).
"""

import math

import numpy as np

from lecture_lib.arena.fit import SCALE, laplacian, win_probability


def style_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(first - second) / (first + second), (B,): between -1 and 1, and 0 where both are 0.

    Args:
        first: (B,) such as the number of tokens of the answer of a; 0 or more.
        second: (B,) the same of the answer of b.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    both = first + second
    return np.divide(first - second, both, out=np.zeros_like(both), where=both > 0)


def fit_style(
    a: np.ndarray, b: np.ndarray, points: np.ndarray, X: np.ndarray, n_models: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Scores and coefficients of style together, by maximum likelihood.

    Args:
        a: (B,) numbers of the first models.
        b: (B,) numbers of the second ones.
        points: (B,) what a took: 1, 1/2 or 0.
        X: (B, F) differences in style, those of a less those of b.
        n_models: number of models M.

    Returns:
        (M,) scores of mean 1000, at equal style; (F,) coefficients β in units of log-odds.

    Raises:
        ValueError: the votes do not fix all of them: a feature is a sum of the others or of the models, or predicts every
            winner.
    """
    X = np.asarray(X, dtype=float)
    scores, beta = np.zeros(n_models), np.zeros(X.shape[1])
    for _ in range(100):
        p = win_probability(scores[a] - scores[b] + SCALE * (X @ beta))
        gradient, H = style_derivatives(a, b, points - p, p * (1 - p), X, n_models)
        size = np.sqrt(H.diagonal()).clip(1e-150)
        if np.linalg.eigvalsh(H / np.outer(size, size))[0] < 1e-10:
            break  # some direction moves no expected vote
        step = np.linalg.solve(H, gradient)
        change = np.abs(step[a] - step[b] + X @ step[n_models:]).max()  # largest of a battle's log-odds
        step *= math.log1p(change) / change if change else 1
        scores, beta = scores + SCALE * step[:n_models], beta + step[n_models:]
        if change < 1e-6:
            return 1000 + scores - scores.mean(), beta
    raise ValueError(
        "the votes do not fix these scores and coefficients: is a feature made of the others, or someone never beaten?"
    )


def style_derivatives(
    a: np.ndarray, b: np.ndarray, missing: np.ndarray, v: np.ndarray, X: np.ndarray, n_models: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and curvature of the log-likelihood of the log-odds θ_a - θ_b + x · β, by all M θ and then all F β.

    A common shift of all θ, which no vote sees, gets a curvature of its own, so that the matrix can be inverted.

    Args:
        a: (B,) as in `fit_style`.
        b: (B,) as in `fit_style`.
        missing: (B,) points taken, less the expected ones.
        v: (B,) p (1 - p) of each battle.
        X: (B, F) as in `fit_style`.
        n_models: number of models M.

    Returns:
        (M + F,) gradient; (M + F, M + F) curvature, positive.
    """

    def by_model(column: np.ndarray) -> np.ndarray:
        return np.bincount(a, column, n_models) - np.bincount(b, column, n_models)

    met = np.bincount(a * n_models + b, v, n_models**2).reshape(n_models, n_models)
    mixed = np.array([by_model(v * x) for x in X.T]).reshape(X.shape[1], n_models).T
    L = laplacian(met + met.T)
    H = np.block([[L + np.trace(L) / n_models**2, mixed], [mixed.T, X.T @ (v[:, None] * X)]])
    return np.concatenate([by_model(missing), X.T @ missing]), H
