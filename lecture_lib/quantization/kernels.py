r"""Packed matrix products: torch's own kernels for INT8 and INT4 weights with bfloat16 activations.

Decoding one token reads every weight once, so its time is that of the bytes: a kernel that reads the packed
codes and rebuilds the weights in registers is faster by about the ratio of the sizes. The kernels want bfloat16
activations; their sums are kept in float32, so they agree with the plain product to 1 % of the output's norm
(measured: 0.2 %). Whether a device has a kernel is found out by trying it, not by reading version numbers.

INT8: one symmetric scale per row, codes as they are stored. INT4: any grid with groups that are a multiple of
32; the codes lie in tiles whose order depends on device and processor, so tiles are never saved.

Axes: B tokens, N rows of the weight (output features), K columns (input features), G group size.
Source: torch, aten/src/ATen/native/cpu/int4mm_kernel.cpp and native/cuda/int4mm.cu.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_lib.quantization.packing import pack_int4, unpack_int4

GROUP_SIZES = (256, 128, 64, 32)  # those that the INT4 kernels are compiled for
ROWS_PER_TILE = 16
FEW_TOKENS = 16  # from here on rebuilding the INT8 weights costs less than the packed kernel (measured)


def int8_matmul(x: Tensor, q: Tensor, scale: Tensor) -> Tensor:
    r"""Product with INT8 weights: $y = (x q^T)\,Δ$, the step pulled out of the sum.

    Args:
        x: (B, K) bfloat16 activations, B at least 1.
        q: (N, K) int8 codes.
        scale: (N, 1) or (1, 1) step of each row.

    Returns:
        (B, N) bfloat16.
    """
    scale = scale.squeeze(1) if len(scale) == len(q) else scale.expand(len(q), 1)[:, 0].contiguous()  # (N,)
    if scale.dtype != x.dtype:
        scale = scale.to(x.dtype)
    if len(x) <= FEW_TOKENS and has_int8_kernel(x.device.type):
        return torch._weight_int8pack_mm(x.contiguous(), q, scale)
    return F.linear(x, q.to(x.dtype)) * scale


def int4_matmul(x: Tensor, tiles: Tensor, steps_and_zeros: Tensor, n_rows: int) -> Tensor:
    r"""Product with INT4 weights: $y = x \hat W^T$ with $\hat w = Δ\,(q - 8) + c$.

    Args:
        x: (B, K) bfloat16 activations, B at least 1.
        tiles: codes as `tile_int4` lays them.
        steps_and_zeros: (K / G, N up to a multiple of 16, 2) bfloat16 pairs (Δ, c) from `steps_and_zeros`.
        n_rows: N.

    Returns:
        (B, N) bfloat16.
    """
    group_size = x.shape[1] // len(steps_and_zeros)
    product = torch._weight_int4pack_mm_for_cpu if x.is_cpu else torch._weight_int4pack_mm
    y = product(x.contiguous(), tiles, group_size, steps_and_zeros)
    return y if y.shape[1] == n_rows else y[:, :n_rows]


def tile_int4(q: Tensor) -> Tensor:
    """Lay the codes out for this device's INT4 kernel.

    Args:
        q: (N, K) uint8 codes from 0 to 15.

    Returns:
        The same nibbles in the kernel's order (shape and dtype are the kernel's), N filled up with zeros.
    """
    q = F.pad(q, (0, 0, 0, -len(q) % ROWS_PER_TILE))
    if q.is_cpu:
        return torch._convert_weight_to_int4pack_for_cpu(q.int(), 1)
    swapped = q.unflatten(1, (-1, 2)).flip(-1).flatten(1)  # CUDA wants the first code in the high bits
    return torch._convert_weight_to_int4pack(pack_int4(swapped), 8)


def untile_int4(tiles: Tensor, shape: tuple[int, int]) -> Tensor:
    """Bring tiles back to rows: a tiling only permutes nibbles, and tiling the digits of 0, 1, 2 … shows how.

    Args:
        tiles: what `tile_int4` returned on this device.
        shape: (N, K) of the codes.

    Returns:
        (N, K) uint8 codes.
    """
    n_rows, width = shape
    q = torch.zeros(n_rows + -n_rows % ROWS_PER_TILE, width, dtype=torch.uint8, device=tiles.device)
    position = torch.arange(q.numel(), device=tiles.device).view(q.shape)
    source = torch.zeros(q.numel(), dtype=torch.long, device=tiles.device)
    for digit in range(0, q.numel().bit_length(), 4):
        source += _nibbles(tile_int4(((position >> digit) & 15).to(torch.uint8))).long() << digit
    q.view(-1)[source] = _nibbles(tiles)
    return q[:n_rows]


def steps_and_zeros(scale: Tensor, zero_point: Tensor, n_rows: int, group_size: int) -> Tensor:
    r"""The grid in the kernel's words: $Δ(q - z) = Δ(q - 8) + c$ with $c = Δ(8 - z)$.

    Args:
        scale: (N, K / G) or (1, 1) step of each group.
        zero_point: same shape, code of zero.
        n_rows: N.
        group_size: columns that share a step; a multiple of 32.

    Returns:
        (K / g, N up to a multiple of 16, 2) bfloat16, g the largest size of the kernels that divides G.
    """
    pairs = torch.stack((scale.float(), scale.float() * (8 - zero_point.float())), dim=-1)
    pairs = pairs.expand(n_rows, -1, 2).repeat_interleave(group_size // kernel_group(group_size), dim=1)
    pairs = F.pad(pairs, (0, 0, 0, 0, 0, -n_rows % ROWS_PER_TILE))
    return pairs.to(torch.bfloat16).transpose(0, 1).contiguous()  # (K / g, N, 2)


def kernel_group(group_size: int) -> int | None:
    """The largest group size of the INT4 kernels that divides this one.

    Args:
        group_size: columns that share a step.

    Returns:
        256, 128, 64 or 32; None if none of them divides it.
    """
    return next((size for size in GROUP_SIZES if group_size % size == 0), None)


@cache
def has_int8_kernel(device_type: str) -> bool:
    """Try the INT8 kernel on a small product.

    Args:
        device_type: "cpu", "cuda", ...

    Returns:
        Whether it runs there and gives the right numbers.
    """
    q = (torch.arange(16 * 128, device=device_type) % 255 - 127).to(torch.int8).view(16, 128)
    x = torch.eye(3, 128, dtype=torch.bfloat16, device=device_type)
    try:
        y = torch._weight_int8pack_mm(x, q, torch.ones(16, dtype=x.dtype, device=device_type))
        return torch.equal(y, q[:, :3].T.to(y.dtype))
    except (RuntimeError, NotImplementedError, AttributeError):
        return False


@cache
def has_int4_kernel(device_type: str, whole_tiles: bool = True) -> bool:
    """Try the INT4 kernel on a small product.

    Args:
        device_type: "cpu", "cuda", ...
        whole_tiles: whether the rows of the weight are a multiple of 128, the width of a tile on CUDA.

    Returns:
        Whether it runs there and gives the right numbers.
    """
    width = 128 if whole_tiles else 32
    q = (torch.arange(16 * width, device=device_type) * 7 % 16).to(torch.uint8).view(16, width)
    x = torch.eye(3, width, dtype=torch.bfloat16, device=device_type)
    scale = torch.ones(16, 1, device=device_type)
    try:
        y = int4_matmul(x, tile_int4(q), steps_and_zeros(scale, 0 * scale, 16, width), 16)
        return torch.equal(y, q[:, :3].T.to(y.dtype))
    except (RuntimeError, NotImplementedError, AttributeError):
        return False


def _nibbles(tiles: Tensor) -> Tensor:
    return unpack_int4(tiles.contiguous().view(torch.uint8).view(-1))
