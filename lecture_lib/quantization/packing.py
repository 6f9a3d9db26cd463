"""Packing: codes of fewer than eight bits side by side in bytes, so that they take the room they need.

The first code lies in the lowest bits: two 4-bit codes a, b make the byte a + 16 b.

Axes: K codes in a row.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def pack_int4(q: Tensor) -> Tensor:
    """Two 4-bit codes in a byte, (..., K / 2): q[2i] + 16 q[2i + 1].

    Args:
        q: (..., K) uint8 codes from 0 to 15, K even.

    Raises:
        ValueError: other codes, or an odd number of them.

    Example:
        >>> pack_int4(torch.tensor([[1, 2, 15, 0]], dtype=torch.uint8))
        tensor([[33, 15]], dtype=torch.uint8)
    """
    if q.shape[-1] % 2:
        raise ValueError(f"a byte holds two codes: got an odd number, {q.shape[-1]}, in a row")
    _check_codes(q, bits=4)
    low, high = q[..., 0::2], q[..., 1::2]
    return low | (high << 4)  # (..., K / 2)


def unpack_int4(packed: Tensor) -> Tensor:
    """The two 4-bit codes of each byte, (byte mod 16, byte div 16), (..., K): the inverse of `pack_int4`.

    Args:
        packed: (..., K / 2) uint8.

    Example:
        >>> unpack_int4(torch.tensor([[33, 15]], dtype=torch.uint8))
        tensor([[ 1,  2, 15,  0]], dtype=torch.uint8)
    """
    return torch.stack((packed & 15, packed >> 4), dim=-1).flatten(-2)


def pack(q: Tensor, bits: int) -> Tensor:
    """Codes of any width in words of lcm(bits, 8) bits, word = Σ q_i 2^(bits·i), cut into bytes (..., P).

    A row of K codes takes P = packed_width(K, bits) bytes, the last of them filled up with zeros.

    Args:
        q: (..., K) uint8 codes below 2^bits, else ValueError.
    """
    if bits == 4 and q.shape[-1] % 2 == 0:
        return pack_int4(q)
    _check_codes(q, bits)
    per_word, n_bytes = _word(bits)
    words = F.pad(q.long(), (0, -q.shape[-1] % per_word)).unflatten(-1, (-1, per_word))
    words = (words << (bits * torch.arange(per_word, device=q.device))).sum(-1, keepdim=True)
    return ((words >> (8 * torch.arange(n_bytes, device=q.device))) & 255).to(torch.uint8).flatten(-2)


def unpack(packed: Tensor, bits: int, n_codes: int) -> Tensor:
    """The inverse of `pack`, for rows of K = `n_codes`, (..., K) uint8.

    Args:
        packed: (..., P) uint8.
    """
    if bits == 4:
        return unpack_int4(packed)[..., :n_codes]
    per_word, n_bytes = _word(bits)
    words = packed.long().unflatten(-1, (-1, n_bytes)) << (8 * torch.arange(n_bytes, device=packed.device))
    codes = words.sum(-1, keepdim=True) >> (bits * torch.arange(per_word, device=packed.device))
    return (codes & (2**bits - 1)).to(torch.uint8).flatten(-2)[..., :n_codes]


def packed_width(n_codes: int, bits: int) -> int:
    """Bytes that a row of codes takes, in whole words of lcm(bits, 8) bits."""
    per_word, n_bytes = _word(bits)
    return math.ceil(n_codes / per_word) * n_bytes


def _word(bits: int) -> tuple[int, int]:
    """Codes and bytes of the smallest word that both fill."""
    word = math.lcm(bits, 8)
    return word // bits, word // 8


def _check_codes(q: Tensor, bits: int) -> None:
    if q.dtype != torch.uint8 or (q.numel() and int(q.max()) >= 2**bits):
        raise ValueError(f"codes of {bits} bits are uint8 from 0 to {2**bits - 1}: got {q.dtype}, or larger")
