"""Gradient and curl: the part of a table of wins that scores can hold, and the part that goes round in circles.

Axes: M models.
Source: Jiang, Lim, Yao & Ye (2011).
"""

import numpy as np

from lecture_lib.arena.fit import laplacian


def log_odds(wins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Y = ln((W_ij + 1/2) / (W_ji + 1/2)) and its inverse variance, (M, M) each; a pair that never met has weight 0.

    Args:
        wins: (M, M) wins of i over j.
    """
    taken = np.asarray(wins, dtype=float) + 0.5  # half a win for each: no logarithm of zero
    weights = 1 / (1 / taken + 1 / taken.T)
    return np.log(taken / taken.T), np.where(wins + wins.T > 0, weights, 0)


def curl_share(wins: np.ndarray) -> tuple[float, float, int]:
    r"""Share of Σ w Y² that no scores explain, and what it says: (share, χ², degrees of freedom).

    The scores nearest to the log-odds Y are those of weighted least squares; what is left is χ² = Σ w (Y_ij - θ_i + θ_j)²
    over the pairs that met. If scores hold the table, χ² is about as large as its degrees of freedom: pairs, less models,
    plus groups that never met.

    Args:
        wins: (M, M) wins of i over j.

    Returns:
        Three numbers: a float from 0 to 1, a float, an int.
    """
    wins = np.asarray(wins)
    Y, weights = log_odds(wins)
    L = laplacian(weights)
    theta = np.linalg.pinv(L, 1e-12, hermitian=True) @ (weights * Y).sum(1)
    left = weights * (Y - np.subtract.outer(theta, theta)) ** 2
    total, chi2 = (weights * Y**2).sum() / 2, left.sum() / 2  # every pair stands there twice
    freedom = np.count_nonzero(weights) // 2 - np.linalg.matrix_rank(L, hermitian=True)
    return float(chi2 / total) if total else 0.0, float(chi2), int(freedom)
