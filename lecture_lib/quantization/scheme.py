"""How a weight is written down: bits, groups and kind of grid in one value.

Axes: N rows of W (output features), K columns (input features), G columns that share one scale.
"""

from dataclasses import dataclass

from torch import Tensor

from lecture_lib.quantization.float8 import float8_quantize
from lecture_lib.quantization.integers import absmax_scale, affine_parameters, check_bits, quantize


@dataclass(frozen=True)
class Scheme:
    """How a weight is written down."""

    bits: int = 8  # bits per code, 2 to 8
    group_size: int | None = None  # columns that share a scale; None: the whole row
    symmetric: bool = True  # absmax; False: affine, with a zero point
    per_tensor: bool = False  # one scale for the whole weight
    float8: bool = False  # E4M3 floats in place of integers

    def __post_init__(self) -> None:
        check_bits(self.bits)
        if self.group_size is not None and (not isinstance(self.group_size, int) or self.group_size < 1):
            raise ValueError(f"group_size is a whole number from 1 on, or None: got {self.group_size!r}")
        if self.per_tensor and self.group_size is not None:
            raise ValueError(f"per_tensor leaves no groups: leave group_size={self.group_size} out")
        if self.float8 and (self.bits != 8 or not self.symmetric):
            raise ValueError(f"fp8 has 8 bits and no zero point: got {self}")

    def grid(self, W: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scale and zero point of each group.

        Args:
            W: (N, K) weights.

        Returns:
            (N, K / G) scale and (N, K / G) uint8 zero point, None for a symmetric grid.
        """
        if self.symmetric:
            return absmax_scale(W, self.bits, self.group_size, self.per_tensor), None
        return affine_parameters(W, self.bits, self.group_size, self.per_tensor)

    def codes(self, W: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Round to nearest.

        Args:
            W: (N, K) weights.

        Returns:
            (N, K) codes, (N, K / G) scale and (N, K / G) zero point or None.
        """
        if self.float8:
            return *float8_quantize(W, self.group_size, self.per_tensor), None
        scale, zero_point = self.grid(W)
        return quantize(W, scale, zero_point, self.bits), scale, zero_point

    @property
    def offset(self) -> int:
        """What is added to a signed code before it is packed."""
        return 2 ** (self.bits - 1) if self.symmetric and self.bits < 8 else 0
