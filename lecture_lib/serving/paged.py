"""A model reads through block tables: token p of a text lies in block table[p // size], slot p % size.

Axes: L layers, R rows, N new tokens a row, M stored tokens, S block size, H_kv key-value heads, D_k = d_head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lecture_lib.attention import Context
from lecture_lib.decoder import Decoder
from lecture_lib.fields import whole
from lecture_lib.kv_cache.cache import behind, clocks_of, turn
from lecture_lib.padding import pad
from lecture_lib.transformer import ModelConfig


class PagedCache:
    """Keys and values of all texts in one pool of blocks; a spare block takes what padding writes.

    Args:
        config: of the model.
        n_blocks: number of blocks.
        block_size: tokens a block has room for.

    Example:
        >>> config = ModelConfig(vocab_size=9, d_model=8, n_heads=2, n_layers=3, context_length=16)
        >>> PagedCache(config, n_blocks=4, block_size=2).nbytes  # 2 x 3 x (4 + 1) x 2 x 8 numbers x 4 bytes
        1920
    """

    def __init__(
        self,
        config: ModelConfig,
        n_blocks: int,
        block_size: int = 16,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.config, self.block_size = config, whole("block_size", block_size, 1)
        self.spare = whole("n_blocks", n_blocks, 1)
        shape = (config.n_layers, 2, self.spare + 1, self.block_size, config.n_kv_heads, config.d_head)
        self.pool = torch.zeros(shape, dtype=dtype, device=device)
        is_rotary = config.positions == "rotary"
        self.clocks = clocks_of(config, config.context_length, self.pool.device) if is_rotary else None

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return self.pool.nbytes

    def copy(self, block: int, to: int) -> None:
        """Copy a block: before one of several holders writes into it."""
        self.pool[:, :, to] = self.pool[:, :, block]

    def slots(self, tables: Tensor, positions: Tensor) -> Tensor:
        """Places in the pool of the tokens at some positions, (R, N), by the (R, T) block tables of their texts."""
        size = self.block_size
        return tables.gather(1, positions // size) * size + positions % size

    def begin(self, tables: Sequence[Sequence[int]], starts: Sequence[int], added: Sequence[int]) -> Context:
        """Say where R rows of new tokens stand and what they look at; row r has `added[r]` after `starts[r]` stored ones."""
        ends = [start + new for start, new in zip(starts, added, strict=True)]
        width, stored, size, device = max(added), max(ends), self.block_size, self.pool.device
        blocks = [table[: -(-end // size)] for table, end in zip(tables, ends, strict=True)]
        table, _ = pad(blocks, self.spare, device)  # (R, T)
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(width, device=device)
        end = torch.tensor(ends, device=device)[:, None]
        spare = torch.tensor(self.spare * size, device=device)
        new = self.slots(table, positions.clamp(max=stored - 1)).where(positions < end, spare)  # (R, N)
        every = torch.arange(stored, device=device).expand(len(ends), -1)
        old = self.slots(table, every).where(every < end, spare)  # (R, M)
        positions = positions.clamp(max=self.config.context_length - 1)
        mask = behind(positions, stored)
        window, near = self.config.sliding_window, None
        if window is not None:
            near = mask & ~behind(positions - window, stored)
        turned = None
        if self.config.positions == "rotary":
            turned = turn(self.config, positions, stored, self.clocks)

        def keep(layer: int, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
            keys, values = (self.pool[layer, i].flatten(0, 1) for i in (0, 1))  # (blocks x S, H_kv, D_k)
            keys[new], values[new] = K.transpose(1, 2), V.transpose(1, 2)
            found = [each.index_select(0, old.flatten()) for each in (keys, values)]  # faster than each[old]
            K, V = (each.unflatten(0, old.shape).transpose(1, 2) for each in found)
            return K, V  # (R, H_kv, M, D_k)

        return Context(positions, mask, False, near, turned, keep)

    def read(
        self, model: Decoder, tables: Sequence[Sequence[int]], starts: Sequence[int], new: Sequence[list[int]]
    ) -> Tensor:
        """Let a model read new tokens of R texts, each after its stored ones: (R, N, D) features, right-padded."""
        here = self.begin(tables, starts, [len(ids) for ids in new])
        return model.features(pad(new, 0, self.pool.device)[0], here=here)
