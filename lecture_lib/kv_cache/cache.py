r"""The key-value cache: what a token was asked for stays, so that each new token is computed once.

Without it token n is computed again for every token that follows. With it a step computes one token a row
and reads the keys and values of the others: memory for time, $2 L H_{kv} D_k$ numbers a token.

Source: Pope et al. (2022), section 2.1; Shazeer (2019), section 2.4, for what reading it costs.
Axes: L layers, B rows, N new tokens, M stored tokens, H_kv key-value heads, D_k = d_head.
"""

import torch
from torch import Tensor

from lecture_lib.attention import Context
from lecture_lib.fields import whole
from lecture_lib.transformer import ModelConfig, depends_on_length, rotary

Clocks = tuple[Tensor, Tensor]


class KVCache:
    """Room for the keys and values of B rows, each of which grows at its own pace; no row or no token is refused.

    A token's slot is its position. Row b goes on at its own length, wherever the others are; padding is sent to
    a spare slot that nobody looks at. The lengths are plain numbers: nothing is asked of a GPU.

    Args:
        config: of the model; says layers, key-value heads and their width.
        batch: number of rows B.
        max_length: number of tokens that a row has room for; dtype and device are those of the model.

    Example:
        >>> config = ModelConfig(vocab_size=9, d_model=8, n_heads=4, n_layers=3, context_length=16)
        >>> cache = KVCache(config, batch=5, max_length=10)
        >>> cache.nbytes  # 2 x 3 layers x 5 rows x (10 tokens + spare slot) x 8 numbers x 4 bytes
        10560
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.config = config
        self.batch, self.max_length = whole("batch", batch, 1), whole("max_length", max_length, 1)
        # Zeros, so that nothing that was in the memory before can be NaN.
        shape = (config.n_layers, 2, self.batch, self.max_length + 1, config.n_kv_heads, config.d_head)
        self.pool = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * self.batch  # tokens of each row so far
        is_rotary = config.positions == "rotary"
        self.clocks = clocks_of(config, self.max_length, self.pool.device) if is_rotary else None

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return self.pool.nbytes

    def begin(self, n_tokens: int, lengths: Tensor | list[int] | None = None) -> Context:
        """Make room for N new tokens a row, of which `lengths` (B,) are real (None: all): the context of the next forward.

        Lengths that do not fit, and a row that is longer than its room, are refused.
        """
        added = [n_tokens] * self.batch if lengths is None else [int(n) for n in lengths]
        if len(added) != self.batch or not all(0 <= new <= n_tokens for new in added):
            raise ValueError(f"lengths of {self.batch} rows must lie in 0 ... {n_tokens}, got {added}")
        starts, ends = self.lengths, [old + new for old, new in zip(self.lengths, added, strict=True)]
        if max(ends) > self.max_length:
            raise ValueError(f"a row of {max(ends)} tokens does not fit: it has room for {self.max_length}")
        self.lengths, device = ends, self.pool.device
        new, end = torch.arange(n_tokens, device=device), starts[0] + n_tokens
        if len(set(starts)) == 1 and end <= self.max_length:  # padding is written over by the next tokens
            return look(self.config, self.pool[:, :, :, :end], starts[0] + new, self.clocks)
        positions, stored = torch.tensor(starts, device=device)[:, None] + new, max(ends)  # (B, N)
        real = positions < torch.tensor(ends, device=device)[:, None]
        target = self.pool, positions.where(real, self.max_length)
        places = positions.clamp(max=stored - 1)
        return look(self.config, self.pool[:, :, :, :stored], places, self.clocks, target)

    def grown(self, max_length: int) -> "KVCache":
        """Give a cache with more room and the same content."""
        larger = KVCache(self.config, self.batch, max_length, self.pool.dtype, self.pool.device)
        larger.pool[:, :, :, : self.max_length] = self.pool[:, :, :, : self.max_length]
        larger.lengths = self.lengths
        return larger

    def truncate(self, lengths: list[int] | int) -> None:
        """Forget what stands behind these lengths, one for each row or one for all; 0: forget all."""
        lengths = [lengths] * self.batch if isinstance(lengths, int) else list(lengths)
        if len(lengths) != self.batch or not all(map(lambda n, old: 0 <= n <= old, lengths, self.lengths)):
            raise ValueError(f"rows of {self.lengths} tokens cannot be cut to {lengths}")
        self.lengths = lengths


def look(
    config: ModelConfig,
    stored: Tensor,
    positions: Tensor,
    clocks: Clocks | None = None,
    target: tuple[Tensor, Tensor] | None = None,
) -> Context:
    """Say what new tokens may look at among stored ones, and how theirs join them.

    `stored` (L, 2, B, M, H_kv, D_k) is a view of the pool. Tokens at positions (N,) take the last N of the M slots, at (B, N)
    the slots of their positions, or, where some are padding, those of `target`: the pool and (B, N) slots in it. `clocks` are
    cosines and sines at every position; None: the model is not rotary, or they are read here. Keys of another model or batch, and
    those that gradients would have to go through, are refused.
    """
    _, _, batch, n_stored, n_heads, d_head = stored.shape  # in a recording the number of slots varies
    n_tokens, alike = int(positions.shape[-1]), positions.ndim == 1
    every = stored.transpose(3, 4).flatten(0, 1).unbind()  # 2 L times (B, H_kv, M, D_k)
    if alike:
        new = stored[:, :, :, -n_tokens:].transpose(3, 4).flatten(0, 1).unbind()
    else:
        pool, slots = target or (stored, positions)
        slots = torch.arange(batch, device=positions.device)[:, None], slots

    def keep(layer: int, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        if K.shape != (expected := (batch, n_heads, n_tokens, d_head)):
            raise ValueError(f"the cache expects keys {expected}, got {tuple(K.shape)}")
        if K.requires_grad:
            raise ValueError("a cache keeps no gradients: read with it under torch.no_grad()")
        if alike:
            new[2 * layer].copy_(K), new[2 * layer + 1].copy_(V)
        else:
            pool[layer, 0][slots], pool[layer, 1][slots] = K.transpose(1, 2), V.transpose(1, 2)
        return every[2 * layer], every[2 * layer + 1]

    first = alike and n_tokens == int(n_stored)  # nothing was stored before
    mask = None
    if not (alike and n_tokens == 1) and not first:
        mask = behind(positions, n_stored)
    near, window = None, config.sliding_window
    if window is not None and not (first and n_tokens <= window):
        near = behind(positions, n_stored) & ~behind(positions - window, n_stored)
    turned = turn(config, positions, n_stored, clocks) if config.positions == "rotary" else None
    return Context(positions, mask, first and n_tokens > 1, near, turned, keep)


def behind(positions: Tensor, n_stored: int) -> Tensor:
    """Tell which slots lie at or before each position: bool, (N, M) or (B, 1, N, M)."""
    upto = positions[:, None] if positions.ndim == 1 else positions[:, None, :, None]
    return torch.arange(n_stored, device=positions.device) <= upto


def clocks_of(config: ModelConfig, length: int, device: torch.device) -> Clocks | None:
    """Compute the (length, D_k / 2) cosines and sines of all positions of a rotary model; None if they depend on the text."""
    if depends_on_length(config):
        return None
    return rotary(config, torch.arange(length, device=device))


def turn(config: ModelConfig, positions: Tensor, n_stored: int, clocks: Clocks | None) -> Clocks:
    """Read the clocks at (N,) or (B, N) positions, as `rotary`, from those of `clocks_of` where there are any."""
    if clocks is None:
        return rotary(config, positions, n_stored)
    at = positions if positions.ndim == 1 else positions[:, None]
    return clocks[0][at], clocks[1][at]
