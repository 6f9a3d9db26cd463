"""How a layer's numbers are written down: bits, groups and kind of grid in one value.

Axes: N rows of W (output features), K columns (input features), G columns that share one scale.
"""

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from lecture_lib.fields import at_least, check_fields, declared, one_of, whole
from lecture_lib.quantization.float8 import float8_quantize
from lecture_lib.quantization.integers import MAX_BITS, absmax_scale, affine_parameters, quantize


@dataclass(frozen=True)
class Scheme:
    """How a weight is written down, and whether the inputs that meet it are rounded too."""

    bits: int = declared(partial(whole, low=2, high=MAX_BITS), 8)  # bits per code
    group_size: int | None = at_least(1, None)  # columns that share a scale; None: the whole row
    symmetric: bool = True  # absmax; False: affine, with a zero point
    per_tensor: bool = False  # one scale for the whole weight
    float8: bool = False  # E4M3 floats in place of integers
    activations: int | None = one_of((None, 8), None)  # bits of the inputs in products; None: their own dtype

    def __post_init__(self) -> None:
        check_fields(self)
        if self.per_tensor and self.group_size is not None:
            raise ValueError(f"per_tensor leaves no groups: leave group_size={self.group_size} out")
        if self.float8 and (self.bits != 8 or not self.symmetric):
            raise ValueError(f"fp8 has 8 bits and no zero point: got {self}")
        plain = self.bits == 8 and self.symmetric and not self.float8 and self.group_size is None
        if self.activations is not None and not plain:
            raise ValueError(
                f"activations=8 multiplies integers: it needs 8 symmetric bits without groups, got {self}"
            )

    def grid(self, W: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, K / G) scale and uint8 zero point of each group of W (N, K); None for a symmetric grid."""
        if self.symmetric:
            return absmax_scale(W, self.bits, self.group_size, self.per_tensor), None
        return affine_parameters(W, self.bits, self.group_size, self.per_tensor)

    def codes(self, W: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Round W (N, K) to nearest: (N, K) codes, (N, K / G) scale and (N, K / G) zero point or None."""
        if self.float8:
            return *float8_quantize(W, self.group_size, self.per_tensor), None
        scale, zero_point = self.grid(W)
        return quantize(W, scale, zero_point, self.bits), scale, zero_point

    @property
    def offset(self) -> int:
        """What is added to a signed code before it is packed."""
        return 2 ** (self.bits - 1) if self.symmetric and self.bits < 8 else 0
