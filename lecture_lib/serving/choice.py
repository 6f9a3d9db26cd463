"""The next token of a text, exactly as `generate` chooses it for a text alone."""

import torch
from torch import Tensor

from lecture_lib.sampling import constrain, greedy, process_logits, sample
from lecture_lib.serving.request import Candidate, Text


def choose(text: Text, row: Tensor) -> int:
    """Choose from (1, |V|) logits; ValueError if the constraints or the guide leave no token."""
    token = int(sample(allowed(text, row), text.request.sampling, seen(text, row), [text.generator])[0])
    if text.guide is not None:
        text.guide.advance(token)
    return token


def allowed(text: Text, row: Tensor) -> Tensor:
    """Rule out of (1, |V|) logits what the constraints and the guide forbid."""
    request, sampling, n = text.request, text.request.sampling, len(text.new)
    if sampling.constrained:
        row = constrain(row, sampling, [text.ids], [n], n == request.max_new_tokens - 1, text.end.ids)
    return row if text.guide is None else only(row, text.guide.allowed())


def seen(text: Text, row: Tensor) -> Tensor | None:
    """The text so far, for a repetition penalty."""
    penalty = text.request.sampling.repetition_penalty
    return torch.tensor([text.ids], device=row.device) if penalty != 1 else None


def law(text: Text, row: Tensor) -> Tensor:
    """What the model says of the next token, and what is drawn from behind all knobs: (2, |V|) probabilities."""
    sampling = text.request.sampling
    shaped = process_logits(allowed(text, row), sampling, seen(text, row))
    drawn = shaped.softmax(-1)
    if sampling.temperature == 0:
        drawn = torch.zeros_like(shaped).scatter_(-1, greedy(shaped)[:, None], 1.0)
    return torch.cat([row.to(drawn.dtype).softmax(-1), drawn])


def candidates(probs: Tensor, token: int, n: int) -> tuple[Candidate, ...]:
    """The n likeliest tokens of a (2, |V|) `law`, and the one that was drawn if it is not among them."""
    likeliest = probs.amax(0).topk(min(n, probs.shape[1])).indices.tolist()
    places = likeliest + [token] * (token not in likeliest)
    return tuple(Candidate(place, *probs[:, place].tolist()) for place in places)


def at_end(text: Text) -> bool:
    """Whether the last token ended a text."""
    complete = text.guide is not None and text.guide.finished()
    return complete or text.end(text.new, text.request.prompt)


def only(logits: Tensor, allowed: list[int]) -> Tensor:
    """Rule all other tokens out."""
    ruled = torch.full_like(logits, -torch.inf)
    ruled[:, allowed] = logits[:, allowed]
    return ruled
