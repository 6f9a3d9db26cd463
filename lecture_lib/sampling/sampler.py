"""From logits to the next token: take the most likely one, or draw one (lecture, "Sampling: generating text").

The order is that of `transformers`: repetition penalty, temperature, top-k, top-p, min-p. Nothing here waits for the device.

Axes: V tokens of the vocabulary, N tokens of the text so far; `...` any number of leading axes, such as the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lecture_lib.fields import (
    at_least,
    check_fields,
    declared,
    positive,
    probability,
    real,
    token_ids,
    token_sequences,
)
from lecture_lib.sampling.filters import (
    apply_temperature,
    min_p,
    probabilities,
    repetition_penalty,
    top_k,
    top_p,
)

COLDEST = 1e-6  # below it logits / T may overflow; the outcome is that of temperature 0 anyway


def temperature_of(name: str, value: Any) -> float:
    """Give a temperature as Python's float: 0, or large enough that logits / T stay finite."""
    wanted = f"0 (greedy) or between {COLDEST:g} and infinity"
    return real(name, value, lambda T: T == 0 or COLDEST <= T < math.inf, wanted)


@dataclass(frozen=True)
class SamplingParameters:
    """How the next token is chosen; the default draws from the model's own distribution. ValueError: out of range."""

    temperature: float = declared(temperature_of, 1.0)  # in units of the logits; 0: greedy, without filters
    top_k: int | None = at_least(0, None)  # keep the k most likely tokens; None or 0: all
    top_p: float | None = probability(
        None
    )  # keep the smallest set of tokens with this probability; None or 1: all
    min_p: float | None = probability(
        None
    )  # keep what is at least this times as likely as the best; None or 0: all
    repetition_penalty: float = positive(1.0)  # divides the logits of tokens that have appeared; 1: none
    bad_words: tuple[tuple[int, ...], ...] = token_sequences()  # sequences of ids that must not be completed
    suppress_tokens: tuple[int, ...] = token_ids()  # ids that are never chosen
    begin_suppress_tokens: tuple[int, ...] = token_ids()  # ids that are not chosen as the first new token
    forced_first: int | None = at_least(0, None)  # the first new token
    forced_last: int | None = at_least(0, None)  # the token at the last place that max_new_tokens allows
    min_new_tokens: int = at_least(0, 0)  # no end token before there are so many

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def constrained(self) -> bool:
        """Whether any token is ruled out or forced, whatever its logit: see `constrain`."""
        forced = (self.forced_first, self.forced_last) != (None, None)
        lists = self.bad_words or self.suppress_tokens or self.begin_suppress_tokens
        return forced or bool(lists or self.min_new_tokens)


def process_logits(
    logits: Tensor, sampling: SamplingParameters, ids: Tensor | None = None, lengths: Tensor | None = None
) -> Tensor:
    """Turn every knob in its order, as `sample`, which draws from the softmax of the result: (..., V) logits.

    In float64 for float64 logits, else in float32. Constraints come before it: see `constrain`, which knows the texts.
    A repetition penalty without ids is refused.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if sampling.repetition_penalty != 1:
        if ids is None:
            raise ValueError("a repetition penalty needs the ids of the text so far")
        logits = repetition_penalty(logits, ids, sampling.repetition_penalty, lengths)
    if sampling.temperature == 0:
        return logits
    logits = apply_temperature(logits, sampling.temperature)
    if sampling.top_k:
        logits = top_k(logits, sampling.top_k)
    if sampling.top_p is not None and sampling.top_p < 1:
        logits = top_p(logits, sampling.top_p)
    if sampling.min_p:
        logits = min_p(logits, sampling.min_p)
    return logits


def greedy(logits: Tensor) -> Tensor:
    r"""Take the most likely token, the first of equals, (...) ids: $\mathrm{argmax}_i z_i$.

    Args:
        logits: (..., V) logits.

    Example:
        >>> greedy(torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, -1.0]]))
        tensor([1, 0])
    """
    return logits.argmax(-1)


def draw(logits: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None = None) -> Tensor:
    r"""Draw from softmax(logits) as the winner of a race: $\mathrm{argmax}_i p_i / E_i$ with $E_i \sim \mathrm{Exp}(1)$.

    Token i arrives after the time E_i / p_i, exponential with rate p_i, and the first of exponential clocks is clock i with
    probability p_i. `torch.multinomial` runs the same race, but asks the device whether the probabilities are valid.
    Arguments as `sample`; never a token with the logit -inf. As many generators as rows, or it is refused.

    Returns:
        (...) token ids.

    Example:
        >>> draw(torch.tensor([-torch.inf, 0.0, -torch.inf]))
        tensor(1)
    """
    probs = probabilities(logits)
    clocks = torch.empty_like(probs, memory_format=torch.contiguous_format)
    if generator is None or isinstance(generator, torch.Generator):
        clocks.exponential_(generator=generator)  # never 0, as torch documents
    elif probs.ndim != 2 or len(probs) != len(generator):
        raise ValueError(f"one generator for each row of logits {tuple(probs.shape)}: got {len(generator)}")
    else:
        for row, own in zip(clocks, generator, strict=True):
            row.exponential_(generator=own)
    return (probs / clocks).argmax(-1)


def sample(
    logits: Tensor,
    sampling: SamplingParameters,
    ids: Tensor | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """Choose the next token of every row, (...) ids: turn the knobs, then take the most likely token or draw one.

    Args:
        logits: (..., V) logits of the next token; on a CPU, a row with NaN or +inf, or all -inf, is refused.
        sampling: the knobs; temperature 0, greedy, applies the repetition penalty alone.
        ids: (..., N) token ids of the text so far; needed by a repetition penalty.
        generator: source of the random numbers; one for each row of (B, V) logits: a row then gets the same token
            whatever stands beside it. None: torch's own.
        lengths: (...) number of real tokens in each right-padded row of ids; None: all are real.
    """
    if logits.device.type == "cpu" and not all(map(math.isfinite, logits.amax(-1).flatten().tolist())):
        raise ValueError("no token can be chosen: logits hold NaN or +inf, or a row rules every token out")
    logits = process_logits(logits, sampling, ids, lengths)
    return greedy(logits) if sampling.temperature == 0 else draw(logits, generator)
