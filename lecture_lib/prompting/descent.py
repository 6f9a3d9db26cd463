r"""Linear attention as gradient descent: one layer, with weights set by hand, takes one step of a linear regression.

The prompt is N examples $e_i = (x_i, y_i)$ and a question $e_q = (x_q, 0)$. The loss is
$L(w) = \frac{1}{2N} \sum_i (w \cdot x_i - y_i)^2$; a step from w = 0 gives $w = \frac{\eta}{N} \sum_i y_i x_i$. A layer subtracts the prediction
of its step from the last component of every token, so the examples keep their residuals, and the question minus its prediction.

Axes: N examples, D width of x; tokens have D + 1 components. Any leading axes are other prompts.
Source: von Oswald et al. (2023), "Transformers learn in-context by gradient descent", Proposition 1.
"""

import torch
from torch import Tensor

from lecture_lib.fields import positive_real, whole


def linear_attention(E: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    r"""Attention without softmax, $(E W_q)(E_{ex} W_k)^T (E_{ex} W_v)$; the last token is the question, and no key.

    Args:
        E: (..., N + 1, D + 1) examples, then the question.
        W_q: (D + 1, K) map to queries.
        W_k: (D + 1, K) map to keys.
        W_v: (D + 1, D + 1) map to values.

    Returns:
        (..., N + 1, D + 1) what is added to each token.
    """
    examples = E[..., :-1, :]
    scores = (E @ W_q) @ (examples @ W_k).mT  # (..., N + 1, N)
    return scores @ (examples @ W_v)


def gradient_step_weights(d: int, n_examples: int, rate: float) -> tuple[Tensor, Tensor, Tensor]:
    r"""W_q = W_k = diag(1 ... 1, 0) and W_v = diag(0 ... 0, $-\eta/N$): with them a layer is a step of gradient descent.

    Args:
        d: width of x.
        n_examples: N.
        rate: η, above 0.

    Returns:
        W_q, W_k and W_v, all (D + 1, D + 1) float64.
    """
    d, n = whole("d", d, 1), whole("n_examples", n_examples, 1)
    W_q, W_v = torch.eye(d + 1, dtype=torch.float64), torch.zeros(d + 1, d + 1, dtype=torch.float64)
    W_q[d, d], W_v[d, d] = 0, -positive_real("rate", rate) / n
    return W_q, W_q.clone(), W_v


def linear_attention_predictions(X: Tensor, y: Tensor, x_q: Tensor, rate: float, n_layers: int) -> Tensor:
    """Add `linear_attention` n times, and read the answer to the question after each layer: (..., n_layers + 1).

    Args:
        X: (..., N, D) float64 inputs of the examples.
        y: (..., N) their outputs.
        x_q: (..., D) the question.
        rate: η of a step.
        n_layers: layers, 0 or more.

    Returns:
        (..., n_layers + 1) answers, of which the first is 0.
    """
    asked = torch.cat([x_q, torch.zeros_like(x_q[..., :1])], -1)
    E = torch.cat([torch.cat([X, y[..., None]], -1), asked[..., None, :]], -2)
    weights = gradient_step_weights(X.shape[-1], X.shape[-2], rate)
    said = [-E[..., -1, -1]]
    for _ in range(whole("n_layers", n_layers)):
        E = E + linear_attention(E, *weights)
        said.append(-E[..., -1, -1])
    return torch.stack(said, -1)


def descent_predictions(X: Tensor, y: Tensor, x_q: Tensor, rate: float, n_steps: int) -> Tensor:
    """Predict by gradient descent itself, without attention: w . x_q after 0 to n steps, (..., n_steps + 1).

    Args:
        X: (..., N, D) inputs of the examples.
        y: (..., N) their outputs.
        x_q: (..., D) the question.
        rate: η of a step.
        n_steps: steps, 0 or more.

    Returns:
        (..., n_steps + 1) answers, of which the first is 0.
    """
    w, said = torch.zeros_like(x_q), []
    for _ in range(whole("n_steps", n_steps) + 1):
        said.append((w * x_q).sum(-1))
        residual = (X @ w[..., None])[..., 0] - y
        w = w - rate / X.shape[-2] * (X.mT @ residual[..., None])[..., 0]
    return torch.stack(said, -1)


def largest_stable_rate(X: Tensor) -> Tensor:
    r"""$2/\lambda_{\max}$ of $X^T X/N$, (...,): with any larger rate a component of the error grows at every step.

    Args:
        X: (..., N, D) inputs of the examples, not all zero.
    """
    return 2 / torch.linalg.eigvalsh(X.mT @ X / X.shape[-2])[..., -1]
