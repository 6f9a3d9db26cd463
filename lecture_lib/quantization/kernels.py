r"""Packed matrix products: torch's own kernels for INT8 and INT4 weights.

Decoding one token reads every weight once: a kernel that reads packed codes and rebuilds the weights in registers
is faster by about the ratio of the sizes. These want bfloat16 activations and sum in float32, so they agree with the
plain product to 1 % of the output's norm (measured: 0.2 %). With activations in 8 bits as well the product is one of
integers, and each token is rounded to 255 steps of its range. Whether a device has a kernel is found by trying.

INT8: one symmetric scale per row. INT4: any grid with groups that are a multiple of 32; the codes lie in tiles
whose order depends on device and processor. What a kernel wants in another order is a copy (`lecture_lib.packed`).

Axes: B tokens, N rows of the weight (output features), K columns (input features), G group size.
Source: torch, aten/src/ATen/native/cpu/int4mm_kernel.cpp, native/cuda/int4mm.cu and native/quantized/cpu.
"""

import warnings
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_lib.packed import operator, prepared
from lecture_lib.quantization.packing import pack_int4, unpack_int4

GROUP_SIZES = (256, 128, 64, 32)  # those that the INT4 kernels are compiled for
ROWS_PER_TILE = 16
FEW_TOKENS = 16  # from here on rebuilding the INT8 weights costs less than the packed kernel (measured)
MISSING = (RuntimeError, NotImplementedError, AttributeError)


def _n_rows(q: list[Tensor], *others: object) -> int:
    return sum(map(len, q))


@operator(
    "int8_linear(Tensor X, Tensor q, Tensor scale, Tensor? bias) -> Tensor", width=lambda q, *others: len(q)
)
def int8_linear(X: Tensor, q: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    r"""Product with INT8 weights: $Y = (X q^T)\,Δ + b$, the step pulled out of the sum.

    X (..., K) is bfloat16, q (N, K) int8, `scale` (N, 1) or (1, 1), the bias (N,) or None.
    """
    rows, steps = (
        X.reshape(-1, X.shape[-1]),
        scale.to(X.dtype).expand(len(q), 1)[:, 0].contiguous(),
    )  # (B, K), (N,)
    if 0 < len(rows) <= FEW_TOKENS and has_int8_kernel(X.device.type):
        Y = torch._weight_int8pack_mm(rows.contiguous(), q, steps)
    else:
        Y = F.linear(rows, q.to(X.dtype)).mul_(steps)
    return _plus(Y, bias).view(*X.shape[:-1], len(q))


@operator("int8_dynamic_linear(Tensor X, Tensor[] q, Tensor[] scale, Tensor[] bias) -> Tensor", width=_n_rows)
def int8_dynamic_linear(X: Tensor, q: list[Tensor], scale: list[Tensor], bias: list[Tensor]) -> Tensor:
    r"""Product of integers, weights and activations in 8 bits: $Y = Δ_x\,(q_x q^T)\,Δ + b$ with $x ≈ Δ_x q_x$.

    Each token has a range of its own, so that a loud one does not drown the others.

    Args:
        X: (..., K) activations.
        q: (N_i, K) int8 codes of maps side by side.
        scale: (N_i, 1) or (1, 1) step of each row.
        bias: (N_i,) each, or none at all.

    Returns:
        (..., N_1 + N_2 + …) in the dtype of X.
    """
    weights, b = prepared(_for_integers, (*q, *scale, *bias), len(q))
    rows, few_bits = X.reshape(-1, X.shape[-1]).float(), not has_vnni()  # (B, K)
    if len(rows) > 1:
        size = rows.abs().amax(1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny)
        Y = torch.ops.quantized.linear_dynamic(rows / size, weights, few_bits).mul_(size)
    else:
        Y = (
            torch.ops.quantized.linear_dynamic(rows, weights, few_bits)
            if len(rows)
            else rows.new_empty(0, _n_rows(q))
        )
    return _plus(Y, b).to(X.dtype).view(*X.shape[:-1], _n_rows(q))


def _for_integers(sources: list[Tensor], n: int) -> tuple[torch.ScriptObject, Tensor | None]:
    """Codes and steps in the order of the integer kernel, and the bias in float32."""
    q, scale, bias = sources[:n], sources[n : 2 * n], sources[2 * n :]
    steps = torch.cat([s.double().expand(len(codes), 1)[:, 0] for s, codes in zip(scale, q, strict=True)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these tensors will go one day; then the other products serve
        zeros = torch.zeros(len(steps), dtype=torch.long)
        codes = torch._make_per_channel_quantized_tensor(torch.cat(q), steps, zeros, 0)
    return torch.ops.quantized.linear_prepack(codes, None), torch.cat(bias).float() if bias else None


@operator(
    "int4_linear(Tensor X, Tensor[] packed, Tensor[] scale, Tensor[] zero_point, Tensor[] bias, int group_size)"
    " -> Tensor",
    width=_n_rows,
)
def int4_linear(
    X: Tensor,
    packed: list[Tensor],
    scale: list[Tensor],
    zero_point: list[Tensor],
    bias: list[Tensor],
    group_size: int,
) -> Tensor:
    r"""Product with INT4 weights: $Y = X \hat W^T + b$ with $\hat w = Δ\,(q - z)$.

    Arguments as `int8_dynamic_linear`, in bfloat16; `packed` are (N_i, K / 2) codes, two in a byte, `scale` and
    `zero_point` (N_i, K / G) or (1, 1), without zero points 8; G is a multiple of 32.
    """
    rows, n_rows = X.reshape(-1, X.shape[-1]), _n_rows(packed)  # (B, K)
    tiles, steps, b = prepared(
        _tiled, (*packed, *scale, *zero_point, *bias), len(packed), len(zero_point), group_size
    )
    if len(rows) == 0:
        return X.new_empty(*X.shape[:-1], n_rows)
    product = torch._weight_int4pack_mm_for_cpu if X.is_cpu else torch._weight_int4pack_mm
    Y = product(rows.contiguous(), tiles, rows.shape[1] // len(steps), steps)
    Y = Y if Y.shape[1] == n_rows else Y[:, :n_rows]
    return _plus(Y, b).reshape(*X.shape[:-1], n_rows)


def _tiled(
    sources: list[Tensor], n: int, n_zeros: int, group_size: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Codes in the order of this device's INT4 kernel, (K / g, N up to a multiple of 16, 2) steps and zeros, bias.

    The kernel's words are $Δ(q - z) = Δ(q - 8) + c$ with $c = Δ(8 - z)$; g is the largest of its group sizes that
    divides G.
    """
    packed, scale, zero_point = sources[:n], sources[n : 2 * n], sources[2 * n : 2 * n + n_zeros]
    bias, q = sources[2 * n + n_zeros :], unpack_int4(torch.cat(packed))
    zeros = zero_point or [torch.full_like(s, 8) for s in scale]
    pairs = [
        torch.stack((s.float(), s.float() * (8 - z.float())), -1) for s, z in zip(scale, zeros, strict=True)
    ]
    pairs = torch.cat([p.expand(len(codes), -1, 2) for p, codes in zip(pairs, packed, strict=True)])
    pairs = pairs.repeat_interleave(group_size // kernel_group(group_size), dim=1)
    filling = -len(q) % ROWS_PER_TILE
    pairs = F.pad(pairs, (0, 0, 0, 0, 0, filling)).to(torch.bfloat16).transpose(0, 1).contiguous()
    q, b = F.pad(q, (0, 0, 0, filling)), torch.cat(bias).to(torch.bfloat16) if bias else None
    if q.is_cpu:
        return torch._convert_weight_to_int4pack_for_cpu(q.int(), 1), pairs, b
    swapped = q.unflatten(1, (-1, 2)).flip(-1).flatten(1)  # CUDA wants the first code in the high bits
    return torch._convert_weight_to_int4pack(pack_int4(swapped), 8), pairs, b


def _plus(Y: Tensor, bias: Tensor | None) -> Tensor:
    return Y if bias is None else Y.add_(bias)


def kernel_group(group_size: int) -> int | None:
    """The largest group size of the INT4 kernels that divides this one: 256, 128, 64 or 32; None if none does."""
    return next((size for size in GROUP_SIZES if group_size % size == 0), None)


def constant(function: Callable) -> Callable:
    """As `torch.compiler.assume_constant_result`, which would import the compiler, 1.5 s, only to set this mark."""
    function._dynamo_marked_constant = True
    return function


@constant
@cache
def has_int8_kernel(device_type: str) -> bool:
    """Tell whether a device ("cpu", "cuda", ...) has the INT8 kernel, by a small product."""
    q = (torch.arange(16 * 128, device=device_type) % 255 - 127).to(torch.int8).view(16, 128)
    X = torch.eye(3, 128, dtype=torch.bfloat16, device=device_type)
    try:
        Y = torch._weight_int8pack_mm(X, q, torch.ones(16, dtype=X.dtype, device=device_type))
        return torch.equal(Y, q[:, :3].T.to(Y.dtype))
    except MISSING:
        return False


@constant
@cache
def has_vnni() -> bool:
    """Tell whether sums of products of 8-bit integers do not overflow; without, activations leave a bit free."""
    return getattr(torch.cpu, "_is_vnni_supported", bool)()


@constant
@cache
def has_int8_dynamic_kernel() -> bool:
    """Tell whether this processor has the product of integers, by one that would overflow in 16 bits."""
    if torch.backends.quantized.engine not in ("x86", "fbgemm", "onednn"):
        return False
    try:
        weights, _ = _for_integers([torch.full((16, 64), 127, dtype=torch.int8), torch.ones(16, 1)], 1)
        Y = torch.ops.quantized.linear_dynamic(torch.ones(2, 64), weights, not has_vnni())
        return torch.allclose(Y, torch.full_like(Y, 64 * 127), rtol=0.01)
    except MISSING:
        return False


@constant
@cache
def has_int4_kernel(device_type: str, whole_tiles: bool = True) -> bool:
    """Tell whether a device has the INT4 kernel, for rows of whole tiles of CUDA (128 columns) or any."""
    width = 128 if whole_tiles else 32
    q = (torch.arange(16 * width, device=device_type) * 7 % 16).to(torch.uint8).view(16, width)
    X = torch.eye(3, width, dtype=torch.bfloat16, device=device_type)
    zeros = torch.zeros(16, 1, dtype=torch.uint8, device=device_type)
    try:
        Y = int4_linear(X, [pack_int4(q)], [torch.ones_like(zeros, dtype=X.dtype)], [zeros], [], width)
        return torch.equal(Y, q[:, :3].T.to(Y.dtype))
    except MISSING:
        return False
