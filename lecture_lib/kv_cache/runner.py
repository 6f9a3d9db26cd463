"""A model with its cache: prompts in chunks, then one token a row; on a GPU as a CUDA graph.

A decoding step of a small batch is over before Python has started the next kernel. A CUDA graph records the
kernels of one step once and starts them all at a stroke; for that every shape and address must be the same
at each step.

Source: PyTorch documentation, "CUDA Graphs"; gpt-fast (2023) for fixed shapes in decoding.
Axes: B rows, N tokens of the longest prompt, D = d_model, |V| = vocab_size.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lecture_lib.decoder import Decoder
from lecture_lib.generation import Conditioned
from lecture_lib.generation.rows import pad
from lecture_lib.kv_cache.cache import KVCache
from lecture_lib.kv_cache.parts import parts_of
from lecture_lib.kv_cache.step import Step


class Runner:
    """A model that remembers what it has read.

    Args:
        model: a decoder, or an encoder-decoder with its source, `Conditioned(model, source_ids)`.
        cache: made for the model, as `KVCache(config, batch, max_length, dtype, device)`; None: made here.
        batch: number of rows B, if the cache is made here.
        max_length: number of tokens of a row, if the cache is made here; None: the model's context.
        fixed: steps of fixed shape, on a GPU as a CUDA graph, which is recorded here; None: on a GPU.

    Raises:
        ValueError: a cache for another model, a model that has no use for one, or one that is training with
            dropout.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: Decoder | Conditioned,
        cache: KVCache | None = None,
        batch: int = 1,
        max_length: int | None = None,
        fixed: bool | None = None,
    ) -> None:
        self.parts = parts_of(model, batch if cache is None else cache.batch)
        self.config, table = self.parts.config, self.parts.embedding.tokens.weight
        if self.parts.stack.training and self.config.dropout:
            raise ValueError("call model.eval() first: cached decoding has no dropout")
        room = self.config.context_length if max_length is None else max_length
        if cache is None:
            cache = KVCache(self.config, batch, room, table.dtype, table.device)
        cache.check(self.config, table.dtype, table.device)
        self.cache = cache
        self.fixed = table.is_cuda if fixed is None else fixed
        self.read_one = Step(self.parts, cache, self.fixed)
        if self.fixed:
            tokens = torch.zeros(cache.batch, dtype=torch.long, device=cache.device)
            self.read_one = replayed(self.read_one, tokens)

    @torch.inference_mode()
    def prefill(self, rows: list[list[int]], chunk_size: int | None = None, pad_id: int = 0) -> Tensor:
        """Forget what was before and read prompts.

        Args:
            rows: B lists of token ids, none empty.
            chunk_size: largest number of tokens of a row in one forward pass, which bounds its memory; None:
                all.
            pad_id: what stands behind the end of a row.

        Returns:
            (B, |V|) logits of the tokens that follow.

        Raises:
            ValueError: another number of prompts, a prompt that does not fit, or a chunk size below 1.
        """
        cache, longest = self.cache, max(map(len, rows))
        if len(rows) != cache.batch:
            raise ValueError(f"the cache has {cache.batch} rows, got {len(rows)} prompts")
        if longest > cache.max_length:
            raise ValueError(
                f"a prompt of {longest} tokens is longer than the cache, with room for {cache.max_length}"
            )
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"chunk_size must be at least 1 token, got {chunk_size}")
        cache.reset()
        last = [None] * cache.batch  # (D,) features of the last token of each row
        for start in range(0, longest, chunk_size or longest):
            ids, lengths = pad([row[start : start + (chunk_size or longest)] for row in rows], pad_id)
            X = self.parts.features(ids.to(cache.device), lengths, cache)  # (B, N, D)
            last = [X[i, n - 1] if n else last[i] for i, n in enumerate(lengths.tolist())]
        cache.clock.copy_(torch.tensor(cache.lengths))
        return self.parts.head(torch.stack(last))  # (B, |V|)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Read one more token a row.

        Args:
            tokens: (B,) token ids of the vocabulary.

        Returns:
            (B, |V|) logits of the next ones; with fixed shapes the next step overwrites them.

        Raises:
            ValueError: a row has no room left.
        """
        if self.fixed:  # the host keeps count, the device is not asked
            self.cache.lengths = self.cache.lengths_after(1)
        return self.read_one(tokens)


def replayed(step: Callable[[Tensor], Tensor], tokens: Tensor) -> Callable[[Tensor], Tensor]:
    """Run a step on a buffer of its own: on a GPU as a CUDA graph, elsewhere by calling it.

    Args:
        step: of fixed shape; it changes nothing but the cache.
        tokens: (B,) the buffer that it reads.

    Returns:
        A function of (B,) tokens; it gives the same as the step.
    """
    if not tokens.is_cuda:
        return lambda new: step(tokens.copy_(new))
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):  # kernels are loaded and workspaces made before anything is recorded
            step(tokens)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step(tokens)

    def replay(new: Tensor) -> Tensor:
        tokens.copy_(new)
        graph.replay()
        return logits

    return replay
