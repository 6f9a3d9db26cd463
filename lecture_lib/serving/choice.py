"""The next token of a text, exactly as `generate` chooses it for a text alone."""

import torch
from torch import Tensor

from lecture_lib.sampling import constrain, sample
from lecture_lib.serving.guide import Guide
from lecture_lib.serving.request import Text


def choose(text: Text, row: Tensor) -> int:
    """Choose from (1, |V|) logits; ValueError if the constraints or the guide leave no token."""
    return pick(text, text.ids, row, text.generator, text.guide)


def pick(text: Text, ids: list[int], row: Tensor, generator: torch.Generator, guide: Guide | None) -> int:
    """Choose what follows `ids`, the text or the text with guesses behind it, as `choose`."""
    request, sampling, n = text.request, text.request.sampling, len(ids) - len(text.request.prompt)
    if sampling.constrained:
        row = constrain(row, sampling, [ids], [n], n == request.max_new_tokens - 1, text.end.ids)
    if guide is not None:
        row = only(row, guide.allowed())
    seen = torch.tensor([ids], device=row.device) if sampling.repetition_penalty != 1 else None
    token = int(sample(row, sampling, seen, [generator])[0])
    if guide is not None:
        guide.advance(token)
    return token


def at_end(text: Text) -> bool:
    """Whether the last token ended a text."""
    complete = text.guide is not None and text.guide.finished()
    return complete or text.end(text.new, text.request.prompt)


def only(logits: Tensor, allowed: list[int]) -> Tensor:
    """Rule all other tokens out."""
    ruled = torch.full_like(logits, -torch.inf)
    ruled[:, allowed] = logits[:, allowed]
    return ruled
