"""The next token of a text, exactly as `generate` chooses it for a text alone."""

import torch
from torch import Tensor

from lecture_lib.sampling import constrain, sample
from lecture_lib.serving.request import Text


def choose(text: Text, row: Tensor) -> int:
    """Choose from (1, |V|) logits; ValueError if the constraints or the guide leave no token."""
    request, sampling, n = text.request, text.request.sampling, len(text.new)
    if sampling.constrained:
        row = constrain(row, sampling, [text.ids], [n], n == request.max_new_tokens - 1, text.end.ids)
    if text.guide is not None:
        row = only(row, text.guide.allowed())
    seen = torch.tensor([text.ids], device=row.device) if sampling.repetition_penalty != 1 else None
    token = int(sample(row, sampling, seen, [text.generator])[0])
    if text.guide is not None:
        text.guide.advance(token)
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
