"""Votes and tables of wins for the cases of this chapter."""

import numpy as np


def battles(
    draw: np.random.Generator, M: int, B: int, ties: float = 0.2, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who met whom and the points of the first, (B,) each; everyone takes half a point off someone by a ring of ties."""
    theta = spread * draw.normal(size=M)
    a = np.concatenate([np.arange(M), draw.integers(M, size=B)])
    b = np.concatenate([(np.arange(M) + 1) % M, (a[M:] + draw.integers(1, M, size=B)) % M])
    p = 1 / (1 + np.exp(theta[b] - theta[a]))
    points = np.where(draw.random(M + B) < ties, 0.5, (draw.random(M + B) < p).astype(float))
    points[:M] = 0.5
    order = draw.permutation(M + B)
    return a[order], b[order], points[order]


def counts(draw: np.random.Generator, M: int, B: int, ties: float = 0.2) -> np.ndarray:
    """Battles of i against j in which i took k half points: (M, M, 3)."""
    table = np.zeros((M, M, 3))
    for i, j, s in zip(*battles(draw, M, B, ties), strict=True):
        table[i, j, int(2 * s)] += 1
    return table


def wins(draw: np.random.Generator, M: int, B: int, ties: float = 0.2, spread: float = 1.0) -> np.ndarray:
    """Points that i took off j: (M, M)."""
    table = np.zeros((M, M))
    for i, j, s in zip(*battles(draw, M, B, ties, spread), strict=True):
        table[i, j] += s
        table[j, i] += 1 - s
    return table


def tournament(theta: np.ndarray, n: int, draw: np.random.Generator, cycle: float = 0.0) -> np.ndarray:
    """Wins (M, M) of n battles a pair: log-odds θ_i - θ_j, and `cycle` more for i against the next in a ring."""
    M = len(theta)
    ring = np.roll(np.eye(M), 1, axis=1) - np.roll(np.eye(M), -1, axis=1)
    odds = np.subtract.outer(theta, theta) + cycle * ring
    won = np.triu(draw.binomial(n, 1 / (1 + np.exp(-odds))), 1)
    return won + np.triu(n - won, 1).T
