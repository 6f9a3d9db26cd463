"""What every layer of a model needs to know beside its tokens: where they stand, and what they may look at.

A model makes one `Context` at its door. Training, decoding with a cache and serving many texts at once differ in their contexts
alone: the layers, and so the numbers, are the same.

Axes: B texts, H heads, H_kv key-value heads, N tokens that ask, M tokens that are asked, D_k = d_head.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Keep = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Context:
    """Where the tokens stand and what they may look at; the default: every token looks at every token."""

    positions: Tensor | None = None  # (N,) or (B, N) places of the tokens that ask; None: 0 ... N - 1
    mask: Tensor | None = None  # bool, broadcasts to (B, H, N, M), True: may look; None: everywhere
    is_causal: bool = False  # token i looks at tokens 0 ... i; faster than the same mask written out
    near: Tensor | None = None  # the mask of layers with a sliding window; None: theirs is that of all
    rotary: tuple[Tensor, Tensor] | None = None  # cosines and sines that turn queries and keys
    keep: Keep | None = None  # (layer, new keys, new values) -> all that may be looked at, (B, H_kv, M, D_k)
    memory: Tensor | None = None  # (B, M, D) another text that is asked; None: the tokens themselves
    known: list[tuple[Tensor, Tensor]] | None = None  # keys and values of the memory, a pair for each layer
