r"""Turn the weights before they are rounded: $W x = (W R^T)(R x)$ for every orthogonal R.

Rounding a row costs Δ²/12 a weight, and Δ is set by the largest weight of the row. A rotation that mixes all columns
makes every entry a sum of many, so that none stands out. R = AS needs no table: S holds random signs, and A is
Hadamard's matrix, whose product costs K log K additions.

Axes: N rows of W (output features), K columns (input features), a power of two.
Source: Chee et al. (2023), section 4, by random orthogonal matrices; Ashkboos et al. (2024), by Hadamard matrices with random signs.
"""

import torch
from torch import Tensor

from lecture_lib.quantization.integers import absmax_scale, dequantize, quantize


def hadamard(x: Tensor) -> Tensor:
    r"""Multiply each row by Hadamard's matrix, $x A$ with $A = A^T = A^{-1}$ and entries $±1/\sqrt K$, (..., K).

    Args:
        x: (..., K) rows of any kind.

    Raises:
        ValueError: K is not a power of two.

    Example:
        >>> hadamard(torch.tensor([[2.0, 0.0, 0.0, 0.0]]))
        tensor([[1., 1., 1., 1.]])
    """
    width, half = x.shape[-1], 1
    if width < 1 or width & (width - 1):
        raise ValueError(f"the width must be a power of two: got {width}")
    while half < width:
        first, second = x.unflatten(-1, (-1, 2, half)).unbind(-2)
        x = torch.stack((first + second, first - second), dim=-2).flatten(-3)
        half *= 2
    return x / width**0.5


def rotate_and_round(W: Tensor, bits: int | None, signs: Tensor) -> Tensor:
    r"""Round W where it has been turned, and turn it back: $\hat W = Q(W R^T)\,R$ with $R = A\,\mathrm{diag}(signs)$.

    Q rounds on the symmetric grid of `absmax_scale`, one step a row; A is Hadamard's matrix.

    Args:
        W: (N, K) weights, K a power of two.
        bits: bits per code, 2 to 8; None: no rounding.
        signs: (K,) of +1 and -1, in the dtype of W.

    Returns:
        (N, K) weights that take the place of W, in its dtype.

    Example:
        >>> rotate_and_round(torch.tensor([[4.0, 2.0]]), 2, torch.tensor([1.0, -1.0]))
        tensor([[3.0000, 3.0000]])
    """
    rotated = hadamard(W * signs)  # W Rᵀ
    if bits is not None:
        scale = absmax_scale(rotated, bits)
        rotated = dequantize(quantize(rotated, scale, bits=bits), scale)
    return hadamard(rotated) * signs
