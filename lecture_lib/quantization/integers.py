r"""Integers for reals: absmax and affine quantization of a tensor.

A real x is stored as a small integer, its code q, on a grid of step Δ = `scale`:  x ≈ scale · (q − zero_point).
One grid may serve the tensor, a row, or `group_size` neighbours in a row: `scale` is (1, 1), (N, 1) or (N, K / G).

Rounding moves a value inside the grid by at most Δ/2, in effect uniformly, so the mean squared error is
$\int_{-Δ/2}^{Δ/2} e^2\,de/Δ = Δ^2/12$. One more bit halves Δ: 6.02 dB less noise.

Axes: N rows (output features), K columns (input features), G columns that share one scale; in general (..., K).
Source: Jacob et al. (2018), eq. 1; Dettmers et al. (2022), section 2; Bennett (1948) for Δ²/12.
"""

import torch
from torch import Tensor

from lecture_lib.fields import whole

MAX_BITS = 8


def absmax_scale(x: Tensor, bits: int = 8, group_size: int | None = None, per_tensor: bool = False) -> Tensor:
    r"""Step of the symmetric grid that just reaches the largest magnitude: $Δ = \max|x| / (2^{b-1} - 1)$.

    Args:
        x: (..., K) reals; the last axis is cut into groups.
        group_size: neighbours in a row that share a step; None: the whole row.
        per_tensor: one step for all of x.

    Returns:
        (..., K / G) steps in the dtype of x; 1 for a group of zeros. Leading axes are 1 with per_tensor.

    Raises:
        ValueError: bits outside 2 to 8, a group size that does not divide the row, NaN or infinity in x.

    Example:
        >>> absmax_scale(torch.tensor([[1.0, -12.7, 0.5]]))
        tensor([[0.1000]])

    Source: Dettmers et al. (2022), eq. 1.
    """
    bits = whole("bits", bits, 2, MAX_BITS)
    return symmetric_scale(x, 2 ** (bits - 1) - 1, group_size, per_tensor)


def symmetric_scale(
    x: Tensor, largest_code: float, group_size: int | None = None, per_tensor: bool = False
) -> Tensor:
    r"""Step that maps the largest magnitude onto the largest code, $Δ = \max|x| / q_{max}$: as `absmax_scale`."""
    return _as_step(_grouped(x, group_size, per_tensor).abs().amax(-1), largest_code, x.dtype)


def affine_parameters(
    x: Tensor, bits: int = 8, group_size: int | None = None, per_tensor: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Step and zero of the grid from min to max: $Δ = (\max - \min) / (2^b - 1)$, $z = -\min / Δ$ rounded.

    The range is widened to hold 0, so that 0 has a code of its own (padding and sparse weights stay exact).

    Arguments and errors as `absmax_scale`.

    Returns:
        (..., K / G) step of each group, and (..., K / G) uint8 code of zero.

    Example:
        >>> affine_parameters(torch.tensor([[-1.0, 0.0, 24.5]]))
        (tensor([[0.1000]]), tensor([[10]], dtype=torch.uint8))

    Source: Jacob et al. (2018), eq. 1 and section 3.
    """
    bits = whole("bits", bits, 2, MAX_BITS)
    groups = _grouped(x, group_size, per_tensor)
    lowest, highest = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scale = _as_step(
        highest / 2 - lowest / 2, (2**bits - 1) / 2, x.dtype
    )  # halves: the sum might be infinite
    zero_point = (-lowest / scale).round().clamp(0, 2**bits - 1)
    return scale, zero_point.to(torch.uint8)


def quantize(x: Tensor, scale: Tensor, zero_point: Tensor | None = None, bits: int = 8) -> Tensor:
    r"""Nearest codes (..., K) on the grid: $q = \mathrm{clamp}(\mathrm{round}(x / Δ) + z)$.

    Args:
        x: (..., K) reals.
        scale: (..., K / G) step of each group; ValueError if the groups do not divide the row.
        zero_point: (..., K / G) uint8 code of zero, for codes from 0 on; None: int8 codes around 0.

    Example:
        >>> quantize(torch.tensor([[1.0, -12.7, 0.5]]), torch.tensor([[0.1]]))
        tensor([[  10, -127,    5]], dtype=torch.int8)
    """
    steps = (_cut(x, scale).to(_working_dtype(x)) / scale.unsqueeze(-1)).round()  # (N, K / G, G)
    if zero_point is None:
        limit = 2 ** (bits - 1) - 1
        return steps.clamp(-limit, limit).to(torch.int8).reshape(x.shape)
    return (steps + zero_point.unsqueeze(-1)).clamp(0, 2**bits - 1).to(torch.uint8).reshape(x.shape)


def dequantize(q: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
    r"""The reals (..., K) that codes stand for, in the dtype of `scale`: $\hat x = Δ (q - z)$.

    The grid as `quantize` takes it.

    Args:
        q: (..., K) codes: int8, uint8 or an 8-bit float.

    Example:
        >>> dequantize(torch.tensor([[10, -127, 5]], dtype=torch.int8), torch.tensor([[0.1]]))
        tensor([[  1.0000, -12.7000,   0.5000]])
    """
    # Codes and their differences are integers below 257, which every float dtype holds exactly.
    steps = _cut(q, scale).to(scale.dtype)
    if zero_point is not None:
        steps = steps - zero_point.unsqueeze(-1).to(scale.dtype)
    largest = torch.finfo(scale.dtype).max  # at the ends of a dtype the last half step may lie beyond it
    return (steps * scale.unsqueeze(-1)).clamp_(-largest, largest).reshape(q.shape)


def noise_power(scale: Tensor) -> Tensor:
    r"""Mean squared rounding error that a grid of step Δ promises: $Δ^2 / 12$; the step as `dequantize` has it.

    Returns:
        () the mean over all groups.
    """
    return scale.square().mean() / 12


def signal_to_noise(x: Tensor, x_hat: Tensor) -> Tensor:
    r"""How far the signal stands above the rounding noise: $10 \log_{10} \sum x^2 / \sum (x - \hat x)^2$.

    Args:
        x: (..., K) reals.
        x_hat: (..., K) the same after quantization and back.

    Returns:
        () the ratio in dB.
    """
    x, x_hat = x.double(), x_hat.double()
    return 10 * torch.log10(x.square().sum() / (x - x_hat).square().sum())


def _grouped(x: Tensor, group_size: int | None, per_tensor: bool) -> Tensor:
    """View x as (..., number of groups, entries of a group), in a dtype that is safe to divide in."""
    if not x.is_floating_point() or x.numel() == 0 or x.ndim == 0:
        raise ValueError(f"only a non-empty tensor of reals can be quantized: got {x.dtype} {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError("the tensor holds NaN or infinity, which no grid can reach")
    x = x.to(_working_dtype(x))
    if per_tensor:
        if group_size is not None:
            raise ValueError(f"per_tensor leaves no groups: leave group_size={group_size} out")
        return x.reshape(*[1] * x.ndim, -1)
    size = x.shape[-1] if group_size is None else group_size
    if size < 1 or x.shape[-1] % size:
        raise ValueError(f"group_size must divide the row: got group_size={size} and rows of {x.shape[-1]}")
    return x.unflatten(-1, (-1, size))


def _cut(x: Tensor, scale: Tensor) -> Tensor:
    """Cut the rows of x into as many groups as `scale` has columns: (..., K) to (..., K / G, G)."""
    if x.ndim != scale.ndim or x.shape[-1] % scale.shape[-1]:
        raise ValueError(f"scale {tuple(scale.shape)} does not cut {tuple(x.shape)} into equal groups")
    return x.unflatten(-1, (scale.shape[-1], -1))


def _as_step(largest: Tensor, largest_code: float, dtype: torch.dtype) -> Tensor:
    """The step as it will be stored: above 0 for all that is above 0, and 1 for zeros."""
    step, kind = largest / largest_code, torch.finfo(dtype)
    # Below its normal numbers a dtype has a fixed step of its own; rounded up to it, nothing is cut off.
    finest = kind.tiny * kind.eps
    step = torch.where(step < kind.tiny, (step / finest).ceil().clamp(min=1) * finest, step)
    return torch.where(largest > 0, step, 1).to(dtype)


def _working_dtype(x: Tensor) -> torch.dtype:
    """Half precision cannot hold x / Δ to half a step; float32 can."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
