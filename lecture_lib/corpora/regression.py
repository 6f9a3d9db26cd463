r"""In-context regression: pairs (x, y = w . x + noise) of a new task each time; what is the next y?

A model that does it has learnt to learn: nothing in its weights knows w. The best possible answer is ridge
regression with lambda = noise variance, because w is drawn from a standard normal.

Axes: B tasks, N pairs of a task, D width of x.
Source: Garg et al. (2022), sections 2 and 3; the Bayes answer: Bishop & Bishop (2024), section 4.1.
"""

import numpy as np

from lecture_lib.corpora.draws import size
from lecture_lib.fields import real


def regression_tasks(
    n_tasks: int, n_pairs: int, d: int, seed: int, noise: float = 0.1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw B tasks of N pairs: w, x from N(0, 1) in each of D components, y = w . x + noise * sqrt(D) * N(0, 1).

    `noise` is not negative, and in units of the standard deviation of w . x, which is sqrt(D).

    Returns:
        X (B, N, D), y (B, N) and w (B, D), float64; the same for the same seed.
    """
    n_tasks, n_pairs, d = size(n_tasks, "tasks"), size(n_pairs, "pairs"), size(d, "dimensions")
    noise = real("noise", noise, lambda x: x >= 0, "a number, 0 or more")
    rng = np.random.RandomState(seed)  # the one generator of numpy whose stream is promised never to change
    w, X = rng.standard_normal((n_tasks, d)), rng.standard_normal((n_tasks, n_pairs, d))
    noises = noise * np.sqrt(d) * rng.standard_normal((n_tasks, n_pairs))
    return X, np.einsum("bnd,bd->bn", X, w) + noises, w


def prompt_tokens(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Write tasks X (B, N, D) with y (B, N) as x_1, (x_1, y_1), x_2 ...: at position 0, 2, 4 ... the next y is asked for.

    Returns:
        (B, 2N, D + 2) float64: x, then y or 0, then 1 where y is shown.
    """
    n_tasks, n_pairs, d = _sizes(X, y)
    tokens = np.zeros((n_tasks, n_pairs, 2, d + 2))
    tokens[..., :d] = X[:, :, None]
    tokens[:, :, 1, d] = y
    tokens[:, :, 1, d + 1] = 1
    return tokens.reshape(n_tasks, 2 * n_pairs, d + 2)


def _sizes(X: np.ndarray, y: np.ndarray) -> tuple[int, int, int]:
    """Give B, N, D of tasks, and refuse questions and answers that do not belong together."""
    if X.ndim != 3 or X.shape[:2] != y.shape:
        raise ValueError(f"X must be (B, N, D) and y (B, N): got {X.shape} and {y.shape}")
    return X.shape


def ridge_predictions(X: np.ndarray, y: np.ndarray, noise: float = 0.1) -> np.ndarray:
    """E[y_n | x_n, earlier pairs] = x_n . (X^T X + lambda I)^-1 X^T y, (B, N), with lambda = noise^2 D, as `prompt_tokens`.

    The noise is that of `regression_tasks`; 0 gives the least-squares answer of smallest norm. The first prediction is 0.
    """
    n_tasks, n_pairs, d = _sizes(X, y)
    predictions = np.zeros((n_tasks, n_pairs))
    for n in range(1, n_pairs):
        past, known = X[:, :n], y[:, :n, None]
        if noise:
            w = np.linalg.solve(
                np.swapaxes(past, 1, 2) @ past + noise**2 * d * np.eye(d), np.swapaxes(past, 1, 2) @ known
            )
        else:
            w = np.linalg.pinv(past) @ known
        predictions[:, n] = (X[:, n, None] @ w)[:, 0, 0]
    return predictions
