r"""A linear layer whose weights are stored as codes: $y = x \hat W^T + b$.

Axes: N rows of W (output features), K columns (input features), G columns that share one scale.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecture_lib.packed import counted, recorded_with_objects
from lecture_lib.quantization import kernels
from lecture_lib.quantization.integers import dequantize
from lecture_lib.quantization.packing import pack, packed_width, unpack
from lecture_lib.quantization.scheme import Scheme


class QuantizedLinear(nn.Module):
    r"""Linear layer on packed codes: $y = (x / s)\,\hat W_s^T + b$, with s = 1 unless AWQ chose it.

    bfloat16 activations go through torch's packed kernels where the device has them, anything else (and
    anything that needs a gradient) through the rebuilt weights. `compute_dtype=torch.bfloat16` casts the
    activations. With `activations=8` they are rounded to 8 bits, in any dtype, where the processor multiplies integers.
    """

    def __init__(
        self,
        packed: Tensor,
        scale: Tensor,
        zero_point: Tensor | None,
        in_features: int,
        scheme: Scheme,
        bias: nn.Parameter | None = None,
        channel_scale: Tensor | None = None,
        compute_dtype: torch.dtype | None = None,
    ):
        """Hold packed codes; `from_codes` packs them.

        Args:
            packed: (N, packed_width(K, bits)) uint8, for symmetric INT8 int8.
            scale: (N, K / G) step of each group, (1, 1) for one per tensor.
            zero_point: same shape, uint8; None for a symmetric grid.
            channel_scale: (K,) the s of AWQ, by which inputs are divided; None: 1.

        Raises:
            ValueError: tensors whose shapes do not fit the scheme.
        """
        super().__init__()
        self.in_features, self.out_features = in_features, len(packed)
        self.scheme, self.compute_dtype = scheme, compute_dtype
        self.group_size = scheme.group_size or in_features
        self.fits_int4 = scheme.bits == 4 and kernels.kernel_group(self.group_size) is not None
        self._check(packed, scale, zero_point)
        self.register_buffer("packed", packed)
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero_point)
        self.register_buffer("channel_scale", channel_scale)
        self.register_parameter("bias", bias)

    @classmethod
    def from_codes(
        cls,
        q: Tensor,
        scale: Tensor,
        zero_point: Tensor | None,
        scheme: Scheme,
        bias: nn.Parameter | None = None,
        channel_scale: Tensor | None = None,
    ) -> "QuantizedLinear":
        """Pack (N, K) codes from `quantize`, `gptq_quantize` or `float8_quantize` into a layer."""
        if scheme.float8:
            packed = q.view(torch.uint8)  # as bytes, so that model.bfloat16() leaves them alone
        elif scheme.bits == 8:
            packed = q
        else:
            packed = pack((q + scheme.offset).to(torch.uint8), scheme.bits)
        return cls(packed, scale, zero_point, q.shape[1], scheme, bias, channel_scale)

    @property
    def weight(self) -> Tensor:
        """(N, K) the weights that the codes stand for, rebuilt at every call; a copy, not a parameter."""
        W = self._rebuilt()
        return W if self.channel_scale is None else W / self.channel_scale

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer, (..., K) to (..., N) in the dtype of x; ValueError if the last axis is not K."""
        if x.shape[-1] != self.in_features:
            raise ValueError(f"the layer takes {self.in_features} input features: got {tuple(x.shape)}")
        z = x if self.channel_scale is None else x / self.channel_scale.to(x.dtype)
        z = z if self.compute_dtype is None else z.to(self.compute_dtype)
        if self.bias is not None and self.bias.requires_grad and torch.is_grad_enabled():
            return self._product(z, None).to(x.dtype) + self.bias
        return self._product(z, self.bias).to(x.dtype)

    def _product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(..., K) to (..., N), by a kernel if one fits."""
        kernel = self.kernel(x)
        if kernel == "INT8":
            return torch.ops.lecture_lib.int8_linear(x, self.packed, self.scale, bias)
        if kernel is not None:
            return side_by_side(kernel, x, [self], [] if bias is None else [bias])[0]
        y = F.linear(x, self._rebuilt().to(x.dtype))
        return y if bias is None else y + bias.to(x.dtype)

    def kernel(self, x: Tensor) -> str | None:
        """The kernel that serves these inputs: "INT8 twice", "INT8", "INT4" or none; they have no gradient."""
        if x.requires_grad and torch.is_grad_enabled():
            return None
        if self.scheme.activations and x.device.type == "cpu" and kernels.has_int8_dynamic_kernel():
            return "INT8 twice"
        if x.dtype != torch.bfloat16:
            return None
        if self.packed.dtype == torch.int8 and self.group_size == self.in_features:
            return "INT8"
        fits = self.fits_int4 and kernels.has_int4_kernel(x.device.type, self.in_features % 128 == 0)
        return "INT4" if fits else None

    def _check(self, packed: Tensor, scale: Tensor, zero_point: Tensor | None) -> None:
        scheme = self.scheme
        signed = scheme.bits == 8 and scheme.symmetric and not scheme.float8
        codes = (self.out_features, packed_width(self.in_features, scheme.bits))
        grid = (1, 1) if scheme.per_tensor else (self.out_features, self.in_features // self.group_size)
        if packed.shape != codes or packed.dtype != (torch.int8 if signed else torch.uint8):
            raise ValueError(f"{scheme} needs codes {codes}: got {packed.dtype} {tuple(packed.shape)}")
        zero = None if zero_point is None else tuple(zero_point.shape)
        if scale.shape != grid or zero != (None if scheme.symmetric else grid):
            raise ValueError(f"{scheme} needs scales {grid}: got {tuple(scale.shape)}, zero points {zero}")

    def _rebuilt(self) -> Tensor:
        """(N, K) what the stored codes stand for, before the division by s."""
        scheme, q = self.scheme, self.packed
        if scheme.float8:
            q = q.view(torch.float8_e4m3fn)
        elif scheme.bits < 8:
            q = unpack(q, scheme.bits, self.in_features)
        if scheme.offset:
            q = q.to(torch.int8) - scheme.offset
        return dequantize(q, self.scale, self.zero_point)

    def extra_repr(self) -> str:
        """What `print(model)` shows of the layer."""
        return f"{self.in_features}, {self.out_features}, {self.scheme}, bias={self.bias is not None}"


def side_by_side(
    kernel: str, x: Tensor, layers: list[QuantizedLinear], biases: list[Tensor]
) -> Sequence[Tensor]:
    """Apply layers of one scheme to one input (..., K), in one product by a kernel: (..., N_i) for each."""
    codes, scales = [layer.packed for layer in layers], [layer.scale for layer in layers]
    # torch.compile must not look inside; a recording may, and then has the tiles of now as constants. The codes of
    # the integer kernel are no tensor, which only a recording that holds them can read.
    if kernel == "INT8 twice":
        held = recorded_with_objects.get() and counted(*codes, *scales, *biases)
        products = kernels if held else torch.ops.lecture_lib
        Y = products.int8_dynamic_linear(x, codes, scales, biases)
    else:
        zeros = [layer.zero_point for layer in layers if layer.zero_point is not None]
        products = torch.ops.lecture_lib if torch.compiler.is_compiling() else kernels
        Y = products.int4_linear(x, codes, scales, zeros, biases, layers[0].group_size)
    return Y.split([layer.out_features for layer in layers], -1)


def in_one_product(x: Tensor, layers: list[QuantizedLinear]) -> list[Tensor] | None:
    """Apply quantized layers to one input (..., K): (..., N_i) each, or None where one product does not do."""
    first, biases = layers[0], [layer.bias for layer in layers if layer.bias is not None]
    learns = torch.is_grad_enabled() and any(b.requires_grad for b in (x, *biases))
    alike = all(
        m.scheme == first.scheme and m.compute_dtype == first.compute_dtype and m.channel_scale is None
        for m in layers
    )
    z = x if first.compute_dtype is None else x.to(first.compute_dtype)
    kernel = first.kernel(z)
    if learns or not alike or kernel in (None, "INT8") or len(biases) not in (0, len(layers)):
        return None
    return [Y.to(x.dtype) for Y in side_by_side(kernel, z, layers, biases)]
