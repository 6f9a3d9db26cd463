r"""Eight-bit floats: 1 sign, 4 exponent and 3 mantissa bits (E4M3), with a scale per row.

An integer grid has the same step everywhere; a float grid has the same *relative* step, 2^-3 between powers
of two. Large weights are rounded more coarsely and small ones more finely than by INT8.

Axes: K columns of a row, G columns that share one scale.
Source: Micikevicius et al. (2022), FP8 formats for deep learning, section 3.
"""

import torch
from torch import Tensor

from lecture_lib.quantization.integers import symmetric_scale

LARGEST = 448.0  # the largest E4M3 number: (1 + 6/8) · 2^8; E4M3 has no infinity


def float8_quantize(
    x: Tensor, group_size: int | None = None, per_tensor: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Scale the largest magnitude onto 448 and round to E4M3: $q = \mathrm{fp8}(x / Δ)$, $Δ = \max|x| / 448$.

    `dequantize(q, scale)` is the way back.

    Args:
        x: (..., K) reals.
        group_size: neighbours in a row that share a scale; None: the whole row.
        per_tensor: one scale for all of x.

    Returns:
        (..., K) torch.float8_e4m3fn codes and the (..., K / G) scale of each group, in the dtype of x.

    Raises:
        ValueError: this torch has no float8, NaN or infinity in x, a group size that does not divide the row.
    """
    if not hasattr(torch, "float8_e4m3fn"):
        raise ValueError("this version of torch has no float8_e4m3fn: use 8-bit integers")
    scale = symmetric_scale(x, LARGEST, group_size, per_tensor)
    wide = torch.promote_types(x.dtype, torch.float32)
    steps = x.unflatten(-1, (scale.shape[-1], -1)).to(wide) / scale.unsqueeze(-1).to(wide)
    return steps.clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn).reshape(x.shape), scale
