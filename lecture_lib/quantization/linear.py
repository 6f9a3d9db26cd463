r"""A linear layer whose weights are stored as codes: $y = x \hat W^T + b$.

Axes: N rows of W (output features), K columns (input features), G columns that share one scale.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecture_lib.quantization import kernels
from lecture_lib.quantization.integers import dequantize
from lecture_lib.quantization.packing import pack, packed_width, unpack
from lecture_lib.quantization.scheme import Scheme


class QuantizedLinear(nn.Module):
    r"""Linear layer on packed codes: $y = (x / s)\,\hat W_s^T + b$, with s = 1 unless AWQ chose it.

    bfloat16 activations go through torch's packed kernels where the device has them, anything else (and
    anything that needs a gradient) through the rebuilt weights. `compute_dtype=torch.bfloat16` casts the
    activations for the product, so that a float32 model gets the fast kernels too.

    `packed` holds the codes in rows. The INT4 kernel wants tiles instead; then, and only while nobody saves,
    moves or differentiates the layer, `packed` holds the tiles and `tile_grid` their scales. Saving always
    writes rows.
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
            in_features: K.
            scheme: how the codes are to be read.
            bias: (N,) or None.
            channel_scale: (K,) the s of AWQ, by which inputs are divided; None: 1.
            compute_dtype: dtype of the product; None: that of the input.

        Raises:
            ValueError: tensors whose shapes do not fit the scheme.
        """
        super().__init__()
        self.in_features, self.out_features = in_features, len(packed)
        self.scheme, self.compute_dtype = scheme, compute_dtype
        self._check(packed, scale, zero_point)
        self._kernel = self._fitting_kernel(packed)  # 8 or 4: the packed product this layer can take, 0: none
        self.register_buffer("packed", packed)
        self.register_buffer("scale", scale)
        self.register_buffer("zero_point", zero_point)
        self.register_buffer("channel_scale", channel_scale)
        self.register_buffer("tile_grid", None, persistent=False)
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
        compute_dtype: torch.dtype | None = None,
    ) -> "QuantizedLinear":
        """Pack codes into a layer.

        Args:
            q: (N, K) codes from `quantize`, `gptq_quantize` or `float8_quantize`.
            scale: (N, K / G) step of each group.
            zero_point: (N, K / G) code of zero, or None.
            scheme: how the codes are to be read.
            bias: (N,) or None.
            channel_scale: (K,) the s of AWQ, or None.
            compute_dtype: dtype of the product; None: that of the input.

        Returns:
            The layer.
        """
        if scheme.float8:
            packed = q.view(torch.uint8)  # as bytes, so that model.bfloat16() leaves them alone
        elif scheme.bits == 8:
            packed = q
        else:
            packed = pack((q + scheme.offset).to(torch.uint8), scheme.bits)
        return cls(packed, scale, zero_point, q.shape[1], scheme, bias, channel_scale, compute_dtype)

    @property
    def weight(self) -> Tensor:
        """(N, K) the weights that the codes stand for, rebuilt at every call; a copy, not a parameter."""
        W = self._rebuilt()
        return W if self.channel_scale is None else W / self.channel_scale

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer.

        Args:
            x: (..., K) activations.

        Returns:
            (..., N) in the dtype of x.

        Raises:
            ValueError: the last axis of x is not K.
        """
        if x.shape[-1] != self.in_features:
            raise ValueError(f"the layer takes {self.in_features} input features: got {tuple(x.shape)}")
        y, s = x.reshape(-1, self.in_features), self.channel_scale  # (B, K)
        if s is not None:
            y = y / s.to(y.dtype)
        if self.compute_dtype not in (None, y.dtype):
            y = y.to(self.compute_dtype)
        y = self._product(y)  # (B, N)
        if y.dtype != x.dtype:
            y = y.to(x.dtype)
        bias = self.bias
        y = y if bias is None else y + bias
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], self.out_features)

    def packed_product(self) -> Callable[[Tensor], Tensor]:
        """Give the layer as a plain function, for a decoding loop that need not look again at every call.

        Returns:
            A function of (B, K) activations in the dtype of the scales, with the result of `forward` but no
            gradient; `forward` itself where no packed kernel fits.
        """
        fits = self.channel_scale is None and self.compute_dtype in (None, torch.bfloat16)
        if not self._kernel or not fits or self.scale.dtype != torch.bfloat16:
            return self.forward
        bias, n_rows = self.bias, self.out_features
        if self._kernel == 8:
            q, scale = self.packed, self.scale
            return lambda x: _plus(kernels.int8_matmul(x, q, scale), bias)
        if not kernels.has_int4_kernel(self.packed.device.type, self.in_features % 128 == 0):
            return self.forward
        self._to_tiles()
        tiles, grid = self.packed, self.tile_grid
        return lambda x: _plus(kernels.int4_matmul(x, tiles, grid, n_rows), bias)

    def _check(self, packed: Tensor, scale: Tensor, zero_point: Tensor | None) -> None:
        scheme = self.scheme
        signed = scheme.bits == 8 and scheme.symmetric and not scheme.float8
        codes = (self.out_features, packed_width(self.in_features, scheme.bits))
        n_groups = self.in_features // (scheme.group_size or self.in_features)
        grid = (1, 1) if scheme.per_tensor else (self.out_features, n_groups)
        if packed.shape != codes or packed.dtype != (torch.int8 if signed else torch.uint8):
            raise ValueError(f"{scheme} needs codes {codes}: got {packed.dtype} {tuple(packed.shape)}")
        zero = None if zero_point is None else tuple(zero_point.shape)
        if scale.shape != grid or zero != (None if scheme.symmetric else grid):
            raise ValueError(f"{scheme} needs scales {grid}: got {tuple(scale.shape)}, zero points {zero}")

    def _fitting_kernel(self, packed: Tensor) -> int:
        group_size = self.scheme.group_size or self.in_features
        if packed.dtype == torch.int8:
            return 8 if group_size == self.in_features else 0
        return 4 if self.scheme.bits == 4 and kernels.kernel_group(group_size) else 0

    def _product(self, x: Tensor) -> Tensor:
        """(B, K) to (B, N), by a packed kernel if one fits; the kernels have no gradient."""
        differentiable = x.requires_grad and torch.is_grad_enabled()
        if self._kernel and x.dtype == torch.bfloat16 and len(x) and not differentiable:
            if self._kernel == 8:
                return kernels.int8_matmul(x, self.packed, self.scale)
            if kernels.has_int4_kernel(x.device.type, self.in_features % 128 == 0):
                self._to_tiles()
                return kernels.int4_matmul(x, self.packed, self.tile_grid, self.out_features)
        self._to_rows()
        return F.linear(x, self._rebuilt().to(x.dtype))

    def _rebuilt(self) -> Tensor:
        """(N, K) what the stored codes stand for, before the division by s."""
        scheme, q = self.scheme, self._rows()
        if scheme.float8:
            q = q.view(torch.float8_e4m3fn)
        elif scheme.bits < 8:
            q = unpack(q, scheme.bits, self.in_features)
        if scheme.offset:
            q = q.to(torch.int8) - scheme.offset
        return dequantize(q, self.scale, self.zero_point)

    def _rows(self) -> Tensor:
        if self.tile_grid is None:
            return self.packed
        return pack(kernels.untile_int4(self.packed, (self.out_features, self.in_features)), 4)

    def _to_rows(self) -> None:
        if self.tile_grid is not None:
            self.packed, self.tile_grid = self._rows(), None

    def _to_tiles(self) -> None:
        if self.tile_grid is None:
            zero = self.zero_point
            if zero is None:
                zero = torch.full_like(self.scale, self.scheme.offset)
            group_size = self.scheme.group_size or self.in_features
            self.tile_grid = kernels.steps_and_zeros(self.scale, zero, self.out_features, group_size)
            self.packed = kernels.tile_int4(unpack(self.packed, 4, self.in_features))

    def _apply(self, fn, recurse: bool = True) -> "QuantizedLinear":  # noqa: ANN001
        self._to_rows()  # tiles belong to one device
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}packed"] = self._rows()

    def _load_from_state_dict(self, *args: object) -> None:
        self._to_rows()
        super()._load_from_state_dict(*args)

    def __getstate__(self) -> dict:
        buffers = self._buffers | {"packed": self._rows(), "tile_grid": None}
        return self.__dict__ | {"_buffers": buffers}  # a copy may wake up on another processor

    def extra_repr(self) -> str:
        """What `print(model)` shows of the layer."""
        return f"{self.in_features}, {self.out_features}, {self.scheme}, bias={self.bias is not None}"


def _plus(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + bias
