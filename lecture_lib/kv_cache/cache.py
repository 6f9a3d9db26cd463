r"""The key-value cache: what a token was asked for stays, so that each new token is computed once.

Without it token n is computed again for every token that follows. With it a step computes one token a row
and reads the keys and values of the others: memory for time, $2 L H_{kv} D_k$ numbers a token.

Source: Pope et al. (2022), section 2.1; Shazeer (2019), section 2.4, for what reading it costs.
Axes: B rows, N new tokens, M stored tokens, H_kv key-value heads, D_k = d_head.
"""

import torch
from torch import Tensor

from lecture_lib.transformer import ModelConfig


class LayerKeysValues:
    """Keys and values of one layer, in memory of fixed size; the cache says where new ones go.

    Args:
        cache: knows the places of the new tokens.
        shape: (B, H_kv, slots, D_k) of the memory; zeros, so that nothing that was there before can be NaN.
    """

    def __init__(self, cache: "KVCache", shape: tuple[int, int, int, int]) -> None:
        self.cache = cache
        self.K = torch.zeros(shape, dtype=cache.dtype, device=cache.device)
        self.V = torch.zeros_like(self.K)

    def append(self, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values, show all; refuse those of another model.

        Args:
            K: (B, H_kv, N, D_k) new keys.
            V: (B, H_kv, N, D_k) new values.

        Returns:
            (B, H_kv, M, D_k) keys and values so far, views of the memory.

        Raises:
            ValueError: they come from another model, or from another number of rows.
        """
        fits = (*self.K[:, :, 0].shape, self.K.dtype, self.K.device)
        got = (*K[:, :, 0].shape, K.dtype, K.device)
        if got != fits:
            words = "{} rows of {} key-value heads of {} numbers, {} on {}"
            raise ValueError(f"the cache is for {words.format(*fits)}: got {words.format(*got)}")
        return self.store(K, V)

    def store(self, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Do what `append` does, for those who know that it fits.

        Args:
            K: (B, H_kv, N, D_k) new keys.
            V: (B, H_kv, N, D_k) new values.

        Returns:
            (B, H_kv, M, D_k) keys and values so far, views of the memory.
        """
        place, n_stored = self.cache.place, self.cache.n_stored
        if isinstance(place, slice):
            self.K[:, :, place], self.V[:, :, place] = K, V
        else:
            self.K[place], self.V[place] = K.transpose(1, 2), V.transpose(1, 2)  # (B, N, H_kv, D_k)
        return self.K[:, :, :n_stored], self.V[:, :, :n_stored]


class KVCache:
    """Room for the keys and values of B rows, each of which grows at its own pace.

    Row b continues at its own length, wherever the others are. Padding is sent to a spare slot that nobody
    looks at. The lengths are plain numbers: nothing is asked of a GPU.

    Args:
        config: of the model; says layers, key-value heads and their width.
        batch: number of rows B.
        max_length: number of tokens that a row has room for.
        dtype: of keys and values, that of the model; None: torch's default.
        device: where they are, where the model is; None: torch's default.

    Raises:
        ValueError: no room for a row or for a token.

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
        if batch < 1 or max_length < 1:
            raise ValueError(f"a cache has at least one row and one token: got {batch} and {max_length}")
        self.batch, self.max_length = batch, max_length
        self.dtype = torch.get_default_dtype() if dtype is None else dtype
        self.device = torch.empty(0, device=device).device
        self.place: slice | tuple[Tensor | slice, ...] = slice(0)  # slots of the new tokens
        self.n_stored = 0  # M, keys that the queries are shown
        self.lengths = [0] * batch  # tokens of each row so far
        self.clock = torch.zeros(
            batch, dtype=torch.long, device=self.device
        )  # the same, for steps of fixed shape
        shape = (batch, config.n_kv_heads, max_length + 1, config.d_head)
        self.layers = [LayerKeysValues(self, shape) for _ in range(config.n_layers)]

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(layer.K.nbytes + layer.V.nbytes for layer in self.layers)

    def begin(self, n_tokens: int, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Make room for new tokens, before the first layer.

        Args:
            n_tokens: number N of new tokens in a row.
            lengths: (B,) number of real ones in each row; None: all N.

        Returns:
            (N,) positions and an (N, M) bool mask if all rows have the same length, else (B, N) and (B, 1,
            N, M); True where a new token may look at a stored one, and None instead of a mask where all may
            look at all.

        Raises:
            ValueError: lengths of another batch or out of range, or a row that is longer than its room.
        """
        starts, self.lengths = self.lengths, self.lengths_after(n_tokens, lengths)
        self.n_stored = max(self.lengths)
        if len(set(starts)) == 1 and min(self.lengths) == starts[0] + n_tokens:
            return self.begin_alike(starts[0], n_tokens)
        new = torch.arange(n_tokens, device=self.device)
        positions = torch.tensor(starts, device=self.device)[:, None] + new  # (B, N)
        real = positions < torch.tensor(self.lengths, device=self.device)[:, None]
        rows = torch.arange(self.batch, device=self.device)[:, None]
        self.place = (rows, slice(None), positions.where(real, self.max_length))
        positions = positions.clamp(max=self.n_stored - 1)  # those of padding must exist, and mean nothing
        return positions, torch.arange(self.n_stored, device=self.device) <= positions[:, None, :, None]

    def begin_alike(self, start: int, n_tokens: int) -> tuple[Tensor, Tensor | None]:
        """Make room where all rows have the same length: slices instead of indices.

        Args:
            start: number of tokens stored in each row.
            n_tokens: number N of new ones, none of them padding.

        Returns:
            (N,) positions, and an (N, M) bool mask, None for a single token: it may look at all.
        """
        end = start + n_tokens
        self.place = slice(start, end)
        positions = torch.arange(start, end, device=self.device)
        if n_tokens == 1:
            return positions, None
        return positions, torch.arange(end, device=self.device) <= positions[:, None]

    def begin_fixed(self) -> tuple[Tensor, Tensor]:
        """Make room for one token a row: the same shapes at every step, no number from the host.

        All slots are shown, whatever is in them; the mask hides those behind a row's end. `clock` says where
        the rows stand.

        Returns:
            (B, 1) positions and a (B, 1, 1, M) mask, M the room of a row.
        """
        self.n_stored = self.max_length
        positions = self.clock[:, None].clamp(max=self.max_length - 1)
        rows = torch.arange(self.batch, device=self.device)[:, None]
        self.place = (rows, slice(None), positions)
        self.clock += 1
        return positions, torch.arange(self.max_length, device=self.device) <= positions[:, None, :, None]

    def lengths_after(self, n_tokens: int, lengths: Tensor | None = None) -> list[int]:
        """Count the tokens of each row with the new ones, and refuse what does not fit.

        Args:
            n_tokens: number N of new tokens in a row.
            lengths: (B,) number of real ones in each row; None: all N.

        Returns:
            B numbers.

        Raises:
            ValueError: lengths of another batch or out of range, or a row that is longer than its room.
        """
        added = [n_tokens] * self.batch if lengths is None else lengths.tolist()
        if len(added) != self.batch:
            raise ValueError(f"the cache has {self.batch} rows, got {len(added)} lengths")
        if not all(0 <= new <= n_tokens for new in added):
            raise ValueError(f"every length must lie in 0 ... {n_tokens}, got {added}")
        after = [old + new for old, new in zip(self.lengths, added, strict=True)]
        if max(after) > self.max_length:
            raise ValueError(
                f"a row of {max(after)} tokens does not fit into a cache with room for {self.max_length}"
            )
        return after

    def check(self, config: ModelConfig, dtype: torch.dtype, device: torch.device) -> None:
        """Refuse to serve a model for which the cache was not made.

        Args:
            config: of the model.
            dtype: of its weights.
            device: where they are.

        Raises:
            ValueError: it has other layers, heads, widths, dtype or device.
        """
        words = "{} layers of {} key-value heads of {} numbers, {} on {}"
        K = self.layers[0].K
        made_for = (len(self.layers), K.shape[1], K.shape[3], self.dtype, self.device)
        asked = (config.n_layers, config.n_kv_heads, config.d_head, dtype, device)
        if made_for != asked:
            raise ValueError(
                f"the cache was made for another model: for {words.format(*made_for)}; "
                f"this one has {words.format(*asked)}"
            )

    def reset(self) -> None:
        """Forget all rows; the memory stays for the next ones, and is zeros again."""
        if any(self.lengths) or self.n_stored:
            self.lengths, self.n_stored = [0] * self.batch, 0
            for layer in self.layers:
                layer.K.zero_(), layer.V.zero_()
