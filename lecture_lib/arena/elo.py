"""Elo: scores that move a little after every battle, as in chess.

Axes: B battles, M models.
"""

import numpy as np


def elo(
    a: np.ndarray, b: np.ndarray, points: np.ndarray, n_models: int, k: float = 4.0, start: float = 1000.0
) -> np.ndarray:
    r"""After each battle, in order: s_a += k (points - P(a beats b)), and s_b loses as much.

    Args:
        a: (B,) numbers of the first models.
        b: (B,) numbers of the second ones.
        points: (B,) what a took: 1, 1/2 or 0.
        n_models: number of models M.
        k: points at stake in a battle.
        start: score of everyone before the first battle.

    Returns:
        (M,) scores after the last battle, float64.

    Example:
        >>> elo(np.array([0, 0]), np.array([1, 1]), np.array([1.0, 0.5]), 2, k=32.0).round(2)
        array([1014.53,  985.47])
    """
    scores = [float(start)] * n_models
    for i, j, taken in zip(a.tolist(), b.tolist(), points.tolist(), strict=True):
        expected = 1 / (1 + 10 ** ((scores[j] - scores[i]) / 400))
        scores[i] += k * (taken - expected)
        scores[j] -= k * (taken - expected)
    return np.array(scores)
