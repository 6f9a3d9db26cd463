"""Tables of probabilities: made at random, checked, drawn from, and what follows from them.

Axes: R rows (each a distribution), S outcomes, K states of a walk. Entropies in nats; / ln 2: bits.
"""

import random
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from lecture_lib.corpora.draws import randomness
from lecture_lib.fields import whole


def random_distributions(n_rows: int, n_columns: int, seed: int, sharpness: float = 3.0) -> np.ndarray:
    """Draw rows of probabilities proportional to (-ln u)^sharpness, u uniform: (n_rows, n_columns) float64.

    Sharpness 0 gives uniform rows, 1 rows uniform over all distributions, more gives rows with few large entries.
    """
    n_columns, rng = whole("the number of outcomes", n_columns, 1), randomness(seed)
    draws = np.array([[1.0 - rng.random() for _ in range(n_columns)] for _ in range(n_rows)])
    weights = (-np.log(draws) + 1e-12) ** sharpness
    return weights / weights.sum(axis=1, keepdims=True)


def probability_table(table: np.ndarray, name: str) -> np.ndarray:
    """Give a table with a row per condition as float64 (R, S), a copy, and refuse one whose rows are no distributions."""
    table = np.array(table, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"{name} must be a table with a row per condition, got shape {table.shape}")
    if not (table >= 0).all() or np.abs(table.sum(axis=1) - 1).max() > 1e-6:
        raise ValueError(f"rows of {name} must be probabilities that sum to 1, got {table.sum(axis=1)}")
    return table


def entropy(distributions: np.ndarray) -> np.ndarray:
    """H = - sum_s p_s ln p_s of each row of a table of probabilities, (R,) in nats."""
    logs = np.log(distributions, where=distributions > 0, out=np.zeros_like(distributions))
    return -(distributions * logs).sum(axis=1)


def stationary_distribution(walk: np.ndarray) -> np.ndarray:
    """Solve pi P = pi, sum pi = 1: the share of time, (K,), that a long walk spends in each state.

    `walk` (K, K) is p(next state | state); one whose answer depends on where it begins is refused.
    """
    drift = walk.T - np.eye(len(walk))
    if np.linalg.matrix_rank(drift, tol=1e-10) < len(walk) - 1:
        raise ValueError("the chain falls apart into pieces that never meet: it has no single entropy rate")
    equations = np.vstack([drift, np.ones(len(walk))])
    pi = np.linalg.lstsq(equations, np.eye(len(walk) + 1)[-1], rcond=None)[0].clip(min=0)
    return pi / pi.sum()


def draw_index(heights: Sequence[float], rng: random.Random) -> int:
    """Draw i with probability heights[i] - heights[i - 1], `heights` being cumulative sums that end in 1."""
    return min(bisect_right(heights, rng.random() * heights[-1]), len(heights) - 1)


def token_ids(ids: Sequence[int], vocab_size: int) -> np.ndarray:
    """Give the ids as (N,) int64, and refuse one outside the vocabulary."""
    ids = np.array(ids, dtype=np.int64).reshape(-1)
    if ids.size and (ids.min() < 0 or ids.max() >= vocab_size):
        raise ValueError(f"ids must lie in 0 ... {vocab_size - 1}, got {ids.min()} ... {ids.max()}")
    return ids
