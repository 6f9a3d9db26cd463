"""A model that remembers what it has read: of texts that go on, only the new tokens are computed.

Axes: B texts, N new tokens, D = d_model, |V| = vocab_size.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lecture_lib import generation
from lecture_lib.decoder import Decoder
from lecture_lib.fields import whole
from lecture_lib.generation import Conditioned
from lecture_lib.kv_cache.cache import KVCache, look
from lecture_lib.kv_cache.graph import record
from lecture_lib.padding import pad
from lecture_lib.weights import SHARED, Watch, unwrapped

PATIENCE = 100  # steps of a kind after which a recording on a CPU has paid for itself


class Cached:
    """Read texts with a cache: the logits of `Reread`, each token computed once; a model without use for one is refused.

    It may serve one call of `generate` after another. Texts that do not go on where the last ones ended are
    read anew, and so are all once the model has got other weights.

    Args:
        model: a decoder, or an encoder-decoder with its source, `Conditioned(model, source_ids)`.
        max_length: number of tokens that a row has room for; None: as many as are needed, the cache growing now and then.
        chunk_size: read prompts in pieces of so many tokens, which bounds the memory it takes; None: at once.
        recorded: whether a step is recorded once and replayed: on a GPU as a CUDA graph, on a CPU by
            `torch.jit.trace`, for all readers of the model. None: at once on a GPU, after 100 steps on a CPU.
    """

    def __init__(
        self,
        model: Decoder | Conditioned | nn.Module,
        max_length: int | None = None,
        chunk_size: int | None = None,
        recorded: bool | None = None,
    ) -> None:
        self.model = model if isinstance(model, Conditioned) else unwrapped(model)
        self.whole = self.model.model if isinstance(model, Conditioned) else self.model
        if not hasattr(self.whole, "features"):
            kind = type(self.whole).__name__
            raise ValueError(f"a cache serves a Decoder, or Conditioned(EncoderDecoder, source): got {kind}")
        self.config = self.whole.config
        self.max_length = None if max_length is None else whole("max_length", max_length, 1)
        self.chunk_size = None if chunk_size is None else whole("chunk_size", chunk_size, 1)
        self.device = next(self.whole.parameters()).device
        self.recorded = recorded
        self.texts: list[list[int]] = []  # what has been read
        self.watch: Watch | None = None  # from the first read on

    @torch.inference_mode()
    def read(self, rows: list[list[int]]) -> Tensor:
        """Read what is new in B texts: the (B, |V|) logits of what follows each; on a GPU the next call may overwrite them.

        A text that does not fit, an id out of range, and a model in training with dropout are refused.
        """
        if self.whole.training and self.config.dropout:
            raise ValueError("call model.eval() first: cached decoding has no dropout")
        limit, longest = self.max_length or self.config.context_length, max(map(len, rows))
        if longest > limit:
            raise ValueError(f"a text of {longest} tokens does not fit: there is room for {limit}")
        same = len(rows) == len(self.texts) and self.watch.unchanged()
        goes_on = same and all(
            len(row) > len(text) and row[: len(text)] == text
            for row, text in zip(rows, self.texts, strict=True)
        )
        room = self.max_length or min(limit, longest + longest // 2 + 32)
        if not goes_on:
            self.start(len(rows), room, same)
        self.cache.lengths = [len(text) for text in self.texts]  # a read that failed has counted more
        if longest > self.cache.max_length:
            self.cache = self.cache.grown(room)
            if self.device.type == "cuda":  # a graph knows the old memory alone
                self.watch.made.clear()
        starts = self.cache.lengths
        if min(starts) and all(len(row) == n + 1 for row, n in zip(rows, starts, strict=True)):
            logits = self.read_one(rows)
        else:
            logits = self.read_chunks(rows)
        self.texts = [list(row) for row in rows]
        return logits

    def start(self, batch: int, room: int, same: bool) -> None:
        """Make ready for other texts; for as many of the same model the memory and the recorded steps stay."""
        self.texts = [[]] * batch if same else []
        if same:
            return
        weight = next(self.whole.parameters())
        self.features, self.device = self.whole.features, weight.device
        # On a CPU a recorded step knows the model and nothing else, neither a memory nor a source: readers share it.
        shared = self.device.type == "cpu" and self.model is self.whole
        watch = SHARED.get(self.whole) if shared else None
        self.watch = watch if watch and watch.as_told() else Watch(self.whole)
        if shared:
            SHARED[self.whole] = self.watch
        if isinstance(self.model, Conditioned):
            self.features = functools.partial(self.features, memory=self.model.known(batch))
        self.cache = KVCache(self.config, batch, room, weight.dtype, weight.device)
        self.texts = [[]] * batch

    def read_chunks(self, rows: list[list[int]]) -> Tensor:
        """Read all new tokens, in pieces if so wished; (B, |V|) logits of those that follow."""
        last: list[Tensor] = [torch.empty(0)] * len(rows)  # (D,) features of the last token of each row
        while any(len(row) > n for row, n in zip(rows, self.cache.lengths, strict=True)):
            pieces = [row[n:][: self.chunk_size] for row, n in zip(rows, self.cache.lengths, strict=True)]
            ids, _ = pad([piece or [0] for piece in pieces], 0, self.device)
            here = self.cache.begin(ids.shape[1], [len(piece) for piece in pieces])
            X = self.features(ids, here=here)  # (B, N, D)
            last = [X[i, len(piece) - 1] if piece else last[i] for i, piece in enumerate(pieces)]
        return self.whole.head(torch.stack(last))

    def read_one(self, rows: list[list[int]]) -> Tensor:
        """Read the last token of each row, which is new; (B, |V|) logits of those that follow."""
        varies = self.config.positions == "rotary" and self.cache.clocks is None  # its steps are never alike
        # A recording would leave hooks out.
        eager = varies or self.recorded is False or self.watch.hooked
        on_gpu, at, made = self.device.type == "cuda", self.cache.lengths, self.watch.made
        whole_memory = on_gpu and not eager  # a CUDA graph knows one shape
        alike = not whole_memory and len(set(at)) == 1
        kind = len(rows), alike
        self.cache.lengths = [n + 1 for n in at]
        tokens = torch.tensor([row[-1:] for row in rows], device=self.device)  # (B, 1)
        positions = torch.tensor(at[:1] if alike else [[n] for n in at], device=self.device)
        stored = self.cache.pool[:, :, :, : self.cache.max_length if whole_memory else max(at) + 1]
        given = tokens, positions, stored, *(self.cache.clocks or ())
        self.watch.done[kind] += 1
        waits = (
            kind not in made and self.recorded is None and not on_gpu and self.watch.done[kind] <= PATIENCE
        )
        if eager or waits:
            return self.look_and_read(*given)
        if kind not in made:
            made[kind] = record(self.whole, self.look_and_read, *given)
        return made[kind](*given)

    def look_and_read(self, tokens: Tensor, positions: Tensor, stored: Tensor, *clocks: Tensor) -> Tensor:
        """Do one step as a function of tensors alone, which is what can be recorded."""
        here = look(self.config, stored, positions, clocks or None)
        return self.whole.head(self.features(tokens, here=here)[:, -1])


def cached(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of `generation` for a model that remembers what it has read; `chunk_size` as above."""

    @functools.wraps(function, assigned=("__name__", "__qualname__", "__doc__", "__annotations__"))
    def call(
        model: Any,
        ids: Any,
        max_new_tokens: int,
        *arguments: Any,
        chunk_size: int | None = None,
        **named: Any,
    ) -> Any:
        worth_it = True if max_new_tokens > PATIENCE else None
        reader = model if isinstance(model, Cached) else Cached(model, None, chunk_size, recorded=worth_it)
        return function(reader, ids, max_new_tokens, *arguments, **named)

    call.__doc__ = f"The same as `generation.{function.__name__}`, each token computed once; `chunk_size` as in `Cached`."
    return call


generate, stream = cached(generation.generate), cached(generation.stream)
