r"""Speculative decoding: a cheap guess of several tokens, one look of the model at all of them, and exactly its own law.

A guess x drawn from q is kept with probability min(1, p(x) / q(x)); at the first one that is not, a token is drawn from
what p has more than q, $(p - q)_+ / \sum (p - q)_+$, and the rest is thrown away. A kept or drawn token then has law p,
whatever q is; q decides how many are kept: with probability $1 - \mathrm{TV}(p, q)$ each.

Source: Leviathan et al. (2023); Chen et al. (2023). Prompt lookup: a guess without a model, from what the text said before.
Axes: |V| tokens of the vocabulary, K guessed tokens.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.decoder import Decoder
from lecture_lib.fields import whole
from lecture_lib.generation.text import Decodes, Stop
from lecture_lib.kv_cache import KVCache
from lecture_lib.sampling import SamplingParameters, process_logits


class Guesses(Protocol):
    """Whatever can guess how a text goes on."""

    def guess(self, ids: list[int], n: int, generator: torch.Generator) -> tuple[list[int], Tensor]:
        """Guess up to n tokens after a text, and the (K, |V|) laws that they were drawn from."""
        ...


def residual(p: Tensor, q: Tensor) -> Tensor:
    """What p has more than q, as a law: (p - q)_+ over its sum; p itself where the two are equal.

    Args:
        p: (|V|,) a law.
        q: (|V|,) another one.

    Returns:
        (|V|,) the law of what is drawn in place of a guess that was not kept.

    Example:
        >>> residual(torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.6, 0.2]))
        tensor([1., 0., 0.])
    """
    more = (p - q).clamp(min=0)
    total = more.sum()
    return more / total if total > 0 else p


def expected_tokens(acceptance: float, n: int) -> float:
    r"""Tokens that a look of the model gives if each of n guesses is kept with the same probability: (1 - a^{n+1}) / (1 - a).

    Example:
        >>> expected_tokens(0.5, 2), expected_tokens(1.0, 4)
        (1.75, 5.0)
    """
    return n + 1.0 if acceptance == 1 else (1 - acceptance ** (n + 1)) / (1 - acceptance)


class Laws:
    """A model with a cache that gives the law of the next token behind each of the last tokens of one text."""

    def __init__(self, model: Decoder, sampling: SamplingParameters) -> None:
        if sampling.repetition_penalty != 1 or sampling.constrained:
            raise ValueError(
                "guessing ahead takes temperature, top_k, top_p and min_p, not what depends on the text so far"
            )
        self.model, self.sampling = model, sampling
        weight = next(model.parameters())
        self.cache = KVCache(model.config, 1, model.config.context_length, weight.dtype, weight.device)
        self.read: list[int] = []

    def after(self, ids: list[int], n: int) -> Tensor:
        """Laws of what follows the last n prefixes of a text, (n, |V|); only what is new is computed."""
        same = 0
        for a, b in zip(self.read, ids, strict=False):
            if a != b:
                break
            same += 1
        same = min(same, len(ids) - n)
        self.cache.truncate(same)
        new = torch.tensor([ids[same:]], device=self.cache.pool.device)
        X = self.model.features(new, here=self.cache.begin(new.shape[1]))
        self.read = list(ids)
        logits = self.model.head(X[0, -n:])
        if self.sampling.temperature == 0:
            return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
        return process_logits(logits, self.sampling).softmax(-1)


class Draft:
    """Guess with a smaller model of the same vocabulary."""

    def __init__(self, model: Decoder, sampling: SamplingParameters) -> None:
        self.laws = Laws(model, sampling)

    def guess(self, ids: list[int], n: int, generator: torch.Generator) -> tuple[list[int], Tensor]:
        """Draw n tokens, one after the other."""
        text, laws = list(ids), []
        for _ in range(n):
            laws.append(self.laws.after(text, 1)[0])
            text.append(int(torch.multinomial(laws[-1], 1, generator=generator)))
        return text[len(ids) :], torch.stack(laws)


class PromptLookup:
    """Guess that a text goes on as it did after the last few tokens when they stood there before.

    Args:
        vocab_size: number of tokens.
        longest: look first for so many last tokens, then for fewer.
    """

    def __init__(self, vocab_size: int, longest: int = 3) -> None:
        self.vocab_size, self.longest = vocab_size, whole("longest", longest, 1)

    def find(self, ids: list[int], n: int) -> list[int]:
        """Copy up to n tokens that followed when the last ones stood there before; none if they never did."""
        for length in range(min(self.longest, len(ids) - 1), 0, -1):
            end = ids[-length:]
            for start in range(len(ids) - length - 1, -1, -1):
                if ids[start : start + length] == end:
                    return ids[start + length :][:n]
        return []

    def guess(self, ids: list[int], n: int, generator: torch.Generator) -> tuple[list[int], Tensor]:
        """Copy what followed: guesses that are sure of themselves."""
        found = self.find(ids, n)
        return found, F.one_hot(torch.tensor(found, dtype=torch.int64), self.vocab_size).double()


@dataclass
class Speculation:
    """Text, and what it took."""

    ids: list[int]
    looks: int = 0  # forwards of the model
    guessed: int = 0
    kept: int = 0


@torch.inference_mode()
def speculate(
    model: Decoder,
    guesser: Guesses,
    ids: list[int],
    max_new_tokens: int,
    n_guesses: int = 4,
    sampling: SamplingParameters = SamplingParameters(),
    generator: torch.Generator | None = None,
    stop: Collection[int | str] | int | str | None = (),
    tokenizer: Decodes | None = None,
) -> Speculation:
    """Continue a text with guesses; the law of the result is the model's own, for temperature 0 token by token.

    Args:
        model: the one whose text is wanted.
        guesser: `Draft` or `PromptLookup`.
        ids: the prompt.
        max_new_tokens: largest number of new tokens.
        n_guesses: tokens guessed before each look.
        sampling: how a token is chosen, for model and draft alike; penalties and constraints are refused.
        generator: source of the random numbers; None: one with seed 0.
        stop: tokens and strings that end the text, as `generate`.
        tokenizer: for stop strings.
    """
    generator = generator or torch.Generator(next(model.parameters()).device).manual_seed(0)
    laws, end, done = Laws(model, sampling), Stop(stop, tokenizer), Speculation(list(ids))
    while len(done.ids) < len(ids) + max_new_tokens:
        left = len(ids) + max_new_tokens - len(done.ids)
        guess, q = guesser.guess(done.ids, min(n_guesses, left - 1), generator) if left > 1 else ([], None)
        p = laws.after(done.ids + guess, len(guess) + 1)
        done.looks, done.guessed = done.looks + 1, done.guessed + len(guess)
        for token, kept in settle(p, q, guess, generator):
            done.ids.append(token)
            done.kept += kept
            if end(done.ids[len(ids) :], ids):
                return done
    return done


def settle(
    p: Tensor, q: Tensor | None, guess: list[int], generator: torch.Generator
) -> list[tuple[int, bool]]:
    """Keep guesses as long as the model agrees, then draw one token: pairs of token and whether it was guessed.

    Args:
        p: (K + 1, |V|) the model's laws, behind the text and behind each guess.
        q: (K, |V|) the laws that the guesses were drawn from.
        guess: K tokens.
        generator: source of the random numbers.
    """
    settled = []
    for i, token in enumerate(guess):
        ratio = p[i, token] / q[i, token].to(p)
        if torch.rand((), generator=generator, device=p.device, dtype=torch.float64) >= ratio:
            drawn = torch.multinomial(residual(p[i], q[i].to(p)), 1, generator=generator)
            return [*settled, (int(drawn), False)]
        settled.append((token, True))
    return [*settled, (int(torch.multinomial(p[len(guess)], 1, generator=generator)), False)]
