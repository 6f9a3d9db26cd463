"""Numbers to round that lie far enough from the middle between two codes: the last digit of a float decides nothing."""

from collections.abc import Callable

import torch
from torch import Tensor

from lecture_lib.checks.chance import until


def apart(steps: Tensor, margin: float = 1e-3) -> bool:
    """Whether no number of steps is within the margin of a half."""
    return bool(((steps - steps.floor() - 0.5).abs() > margin).all())


def clear(draw: Callable[[], Tensor], steps: Callable[[Tensor], Tensor]) -> Tensor:
    """Draw until `steps`, the numbers in units of their grid, are clear of halves."""
    return until(draw, lambda x: apart(steps(x.double())))


def whole_rows(bits: int) -> Callable[[Tensor], Tensor]:
    """Rows in units of their absmax grid."""
    return lambda x: x / x.abs().amax(-1, keepdim=True).clamp(min=1e-30) * (2 ** (bits - 1) - 1)


def in_range(x: Tensor, bits: int) -> Tensor:
    """Rows in units of the grid from their least to their greatest number, 0 among them."""
    span = x.amax(-1, keepdim=True).clamp(min=0) - x.amin(-1, keepdim=True).clamp(max=0)
    return torch.where(span > 0, x / span * (2**bits - 1), 0.0)
