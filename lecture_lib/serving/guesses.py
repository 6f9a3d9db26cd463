r"""Guesses inside a batch: each text may look a few tokens ahead, from its own past or with a small model, while others decode.

The model looks at a text and its guesses at once; then a token is chosen behind the text, as ever, and behind each guess that
was the one chosen before. So all tokens are chosen from the logits and with the random numbers that the text would have alone:
guesses change how many a step gives, and no token. The draft draws with a copy of the text's generator, so that it waits for
the same exponential clocks, and its token is the model's with probability $\sum_i 1 / \sum_j \max(p_j / p_i, q_j / q_i)$,
at least (1 - TV) / (1 + TV); the rule of `settle` reaches 1 - TV, with random numbers of its own.

Source: Leviathan et al. (2023); Daliri et al. (2025), "Coupling without Communication and Drafter-Invariant Speculative Decoding".
"""

import copy

import torch

from lecture_lib.decoder import Decoder
from lecture_lib.serving.choice import pick
from lecture_lib.serving.guide import Guide
from lecture_lib.serving.paged import PagedCache
from lecture_lib.serving.request import Text
from lecture_lib.serving.scheduler import Work
from lecture_lib.serving.speculative import PromptLookup
from lecture_lib.transformer import ModelConfig
from lecture_lib.weights import Watch, unwrapped


class Guesser:
    """Make guesses for the texts of a step; a draft model reads along, in blocks of the same numbers.

    Args:
        config: of the model whose texts these are.
        draft: a smaller model with the same vocabulary and context; None: there is none.
        n_blocks: blocks of the cache.
        block_size: tokens a block has room for.
    """

    def __init__(self, config: ModelConfig, draft: Decoder | None, n_blocks: int, block_size: int) -> None:
        self.lookup = PromptLookup(config.vocab_size)
        self.draft = None if draft is None else unwrapped(draft)
        if self.draft is None:
            return
        own = self.draft.config
        if own.vocab_size != config.vocab_size or own.context_length < config.context_length:
            raise ValueError(
                f"a draft needs the model's {config.vocab_size} tokens and its context of {config.context_length}: "
                f"it has {own.vocab_size} and {own.context_length}"
            )
        if self.draft.training and own.dropout:
            raise ValueError("call draft.eval() first: an engine has no dropout")
        weight = next(self.draft.parameters())
        self.cache = PagedCache(own, n_blocks, block_size, weight.dtype, weight.device)
        self.watch = Watch(self.draft)

    def unchanged(self) -> bool:
        """Tell whether the draft has the weights that it had."""
        return self.draft is None or self.watch.unchanged()

    def copy(self, block: int, to: int) -> None:
        """Copy a block, as the model's cache does."""
        if self.draft is not None:
            self.cache.copy(block, to)

    def read(self, tables: list[list[int]], starts: list[int], new: list[list[int]]) -> None:
        """Let the draft read what the model reads."""
        if self.draft is not None:
            self.cache.read(self.draft, tables, starts, new)

    def guess(self, plan: list[Work], dtype: torch.dtype) -> None:
        """Give each text of a step its guesses, at most as many as there is room for; `dtype` is that of the model's logits."""
        drafted = []
        for work in plan:
            if work.n_guesses and work.text.request.guesser == "lookup":
                work.text.guess = self.lookup.find(work.text.ids, work.n_guesses)
            elif work.n_guesses:
                drafted.append(Ahead(work.text, work.n_guesses))
        while drafted := [each for each in drafted if each.left]:
            ids = [each.text.ids + each.text.guess for each in drafted]
            X = self.cache.read(
                self.draft,
                [each.text.table for each in drafted],
                [len(t) - 1 for t in ids],
                [t[-1:] for t in ids],
            )
            for each, text, row in zip(drafted, ids, self.draft.head(X).to(dtype), strict=True):
                each.go_on(text, row)


class Ahead:
    """A text's near future as the draft sees it: with copies of its generator and its guide."""

    def __init__(self, text: Text, n: int) -> None:
        self.text, self.left = text, n
        self.generator = text.generator.clone_state()
        self.guide: Guide | None = copy.deepcopy(text.guide)

    def go_on(self, ids: list[int], row: torch.Tensor) -> None:
        """Add a guess from (1, |V|) logits; none where no token is left."""
        try:
            self.text.guess.append(pick(self.text, ids, row, self.generator, self.guide))
            self.left -= 1
        except ValueError:
            self.left = 0
