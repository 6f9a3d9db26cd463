"""What intervals of scores say about places: the arena's rank, and the probability of every place.

Axes: M models.
"""

import math

import numpy as np

_erf = np.frompyfunc(math.erf, 1, 1)


def rank_upper_bound(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """1 + the number of models whose lower end lies above my upper end: the arena's Rank (UB), (M,) int64.

    Args:
        lower: (M,) lower ends of the intervals.
        upper: (M,) upper ends.

    Example:
        >>> rank_upper_bound(np.array([1400, 1395, 1379]), np.array([1414, 1411, 1389]))
        array([1, 1, 3])
    """
    lower, upper = np.asarray(lower), np.asarray(upper)
    return 1 + (lower[None, :] > upper[:, None]).sum(1)


def rank_distribution(scores: np.ndarray, errors: np.ndarray, n_nodes: int = 100) -> np.ndarray:
    """P(model i has place k + 1) if the true scores are normal and independent, (M, M), by quadrature.

    Given its own true score x, a model's place is one more than the number of others above x: a sum of M - 1 independent
    events, whose distribution grows by one event at a time. The integral over x is a Gauss-Hermite sum.

    Args:
        scores: (M,) means.
        errors: (M,) standard deviations; what is not above 0 is refused.
        n_nodes: points of the quadrature.

    Example:
        >>> rank_distribution(np.array([1407.0, 1404.0]), np.array([4.0, 4.0])).round(2)
        array([[0.7, 0.3],
               [0.3, 0.7]])
    """
    scores, errors = np.asarray(scores, dtype=float), np.asarray(errors, dtype=float)
    if scores.shape != errors.shape or not (errors > 0).all():
        raise ValueError(f"every score needs an error above 0, got {scores.shape} and {errors.shape}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    table = np.zeros((len(scores), len(scores)))
    for i in range(len(scores)):
        x = scores[i] + errors[i] * nodes
        above = 0.5 + 0.5 * _erf((scores - x[:, None]) / errors / math.sqrt(2)).astype(float)  # (nodes, M)
        places = np.zeros((n_nodes, len(scores)))
        places[:, 0] = 1
        for q in np.delete(above, i, axis=1).T[..., None]:
            places[:, 1:] = places[:, 1:] * (1 - q) + places[:, :-1] * q
            places[:, :1] *= 1 - q
        table[i] = weights @ places / weights.sum()
    return table
