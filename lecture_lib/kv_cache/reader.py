"""A model that remembers what it has read: of texts that go on, only the new tokens are computed.

Axes: B texts, N new tokens, D = d_model, |V| = vocab_size.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib.attention import Context
from lecture_lib.decoder import Decoder
from lecture_lib.fields import whole
from lecture_lib.generation import Conditioned, pad
from lecture_lib.kv_cache.cache import KVCache, look
from lecture_lib.kv_cache.graph import record
from lecture_lib.weights import Watch
from lecture_lib.wrapped import unwrapped


class Cached:
    """Read texts with a cache: the logits of `Reread`, each token computed once.

    It may serve one call of `generate` after another. Texts that do not go on where the last ones ended are
    read anew, and so are all once the model has got other weights.

    Args:
        model: a decoder, or an encoder-decoder with its source, `Conditioned(model, source_ids)`.
        max_length: number of tokens that a row has room for; None: as many as are needed, which makes the cache
            grow now and then.
        chunk_size: read prompts in pieces of so many tokens, which bounds the memory it takes; None: at once.
        recorded: record one step and replay it: on a GPU as a CUDA graph, on a CPU by `torch.jit.trace`. It
            takes a while and makes steps of small models faster. None: on a GPU.

    Raises:
        ValueError: a model that has no use for a cache.
    """

    def __init__(
        self,
        model: Decoder | Conditioned | nn.Module,
        max_length: int | None = None,
        chunk_size: int | None = None,
        recorded: bool | None = None,
    ) -> None:
        self.model = model = model if isinstance(model, Conditioned) else unwrapped(model)
        self.whole = inner = model.model if isinstance(model, Conditioned) else model
        if not hasattr(inner, "features"):
            raise ValueError(
                f"a cache serves a Decoder, or Conditioned(EncoderDecoder, source): got {type(inner).__name__}"
            )
        self.config = inner.config
        self.max_length = None if max_length is None else whole("max_length", max_length, 1)
        self.chunk_size = None if chunk_size is None else whole("chunk_size", chunk_size, 1)
        self.recorded = recorded
        self.forget()

    def forget(self) -> None:
        """Forget everything, the recorded steps too."""
        self.cache: KVCache | None = None
        self.texts: list[list[int]] = []  # what has been read
        self.steps: dict[bool, Callable[..., Tensor]] = {}  # recorded, by whether the rows are alike
        self.watch, self.there = Watch(self.whole), None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.whole.parameters()).device

    @torch.inference_mode()
    def read(self, rows: list[list[int]]) -> Tensor:
        """Read what is new in B texts, and score what follows each.

        Args:
            rows: B lists of token ids, none empty.

        Returns:
            (B, |V|) logits; a recorded step on a GPU overwrites them at the next call.

        Raises:
            ValueError: a text that does not fit, an id out of range, or a model in training with dropout.
        """
        if not self.goes_on(rows):
            self.start(rows)
        self.make_room(max(map(len, rows)))
        starts = self.cache.lengths
        if min(starts) and all(len(row) == n + 1 for row, n in zip(rows, starts, strict=True)):
            logits = self.read_one(torch.tensor([row[-1:] for row in rows], device=self.device))
        else:
            logits = self.read_chunks(rows)
        self.texts = [list(row) for row in rows]
        return logits

    def goes_on(self, rows: list[list[int]]) -> bool:
        """Tell whether each text begins with what was read of it, by the weights of now."""
        if len(rows) != len(self.texts) or not self.watch.unchanged():
            return False
        pairs = zip(rows, self.texts, strict=True)
        return all(len(row) > len(text) and row[: len(text)] == text for row, text in pairs)

    def start(self, rows: list[list[int]]) -> None:
        """Make ready for other texts; the memory and the recorded steps stay if they still serve."""
        if len(rows) == len(self.texts) and self.watch.unchanged():
            return self.cache.truncate(0)
        if self.whole.training and self.config.dropout:
            raise ValueError("call model.eval() first: cached decoding has no dropout")
        self.forget()
        if isinstance(self.model, Conditioned):
            self.there = self.model.known(len(rows))
        weight = next(self.whole.parameters())
        room = self.max_length or max(map(len, rows))
        self.cache = KVCache(self.config, len(rows), room, weight.dtype, weight.device)

    def make_room(self, longest: int) -> None:
        """Let the cache hold rows of this length; where it must grow, it grows by half."""
        limit = self.max_length or self.config.context_length
        if longest > limit:
            raise ValueError(f"a text of {longest} tokens does not fit: there is room for {limit}")
        if longest > self.cache.max_length:
            self.cache = self.cache.grown(min(limit, longest + longest // 2 + 32))
            if self.device.type == "cuda":  # a recorded step knows the memory by its address
                self.steps = {}

    def read_chunks(self, rows: list[list[int]]) -> Tensor:
        """Read all new tokens, in pieces if so wished; (B, |V|) logits of those that follow."""
        last: list[Tensor] = [torch.empty(0)] * len(rows)  # (D,) features of the last token of each row
        while any(len(row) > n for row, n in zip(rows, self.cache.lengths, strict=True)):
            pieces = [row[n:][: self.chunk_size] for row, n in zip(rows, self.cache.lengths, strict=True)]
            ids, lengths = pad(pieces, 0, self.device)
            X = self.features(ids, self.cache.begin(ids.shape[1], lengths))  # (B, N, D)
            last = [X[i, len(piece) - 1] if piece else last[i] for i, piece in enumerate(pieces)]
        return self.whole.head(torch.stack(last))

    def read_one(self, tokens: Tensor) -> Tensor:
        """Read one more token a row, (B, 1); (B, |V|) logits of those that follow."""
        recorded = self.device.type == "cuda" if self.recorded is None else self.recorded
        if not recorded:
            return self.one(tokens, self.cache.begin(1))
        self.cache.lengths = self.cache.lengths_after(1)
        at = [n - 1 for n in self.cache.lengths]
        fixed = self.device.type == "cuda"
        alike = not fixed and len(set(at)) == 1
        positions = torch.tensor(at[:1] if alike else at, device=self.device)
        positions = positions if alike else positions[:, None]
        stored = self.cache.shown(self.cache.max_length if fixed else max(at) + 1)
        if alike not in self.steps:
            self.steps[alike] = record(self.whole, self.look_and_read, tokens, positions, stored)
        return self.steps[alike](tokens, positions, stored)

    def look_and_read(self, tokens: Tensor, positions: Tensor, stored: Tensor) -> Tensor:
        """Do one step as a function of tensors alone, which is what can be recorded."""
        return self.one(tokens, look(self.config, stored, positions, self.cache.clocks))

    def one(self, tokens: Tensor, here: Context) -> Tensor:
        """Run the model on one token a row."""
        return self.whole.head(self.features(tokens, here)[:, -1])

    def features(self, ids: Tensor, here: Context) -> Tensor:
        """Run the layers, with the source in view if there is one."""
        if self.there is None:
            return self.whole.features(ids, here=here)
        return self.whole.features(ids, self.there, here=here)
