"""The next token of a text, exactly as `generate` chooses it for a text alone."""

import torch
from torch import Tensor

from lecture_lib.sampling import constrain, greedy, process_logits, sample
from lecture_lib.serving.guide import Guide
from lecture_lib.serving.request import Candidate, Text


def choose(text: Text, row: Tensor) -> int:
    """Choose from (1, |V|) logits; ValueError if the constraints or the guide leave no token."""
    return pick(text, text.ids, row, text.generator, text.guide)


def pick(text: Text, ids: list[int], row: Tensor, generator: torch.Generator, guide: Guide | None) -> int:
    """Choose what follows `ids`, the text or the text with guesses behind it, as `choose`."""
    row, sampling = allowed(text, ids, row, guide), text.request.sampling
    token = int(sample(row, sampling, seen(text, ids, row), [generator])[0])
    if guide is not None:
        guide.advance(token)
    return token


def allowed(text: Text, ids: list[int], row: Tensor, guide: Guide | None) -> Tensor:
    """Rule out of (1, |V|) logits what the constraints and the guide forbid behind `ids`."""
    request, sampling, n = text.request, text.request.sampling, len(ids) - len(text.request.prompt)
    if sampling.constrained:
        row = constrain(row, sampling, [ids], [n], n == request.max_new_tokens - 1, text.end.ids)
    return row if guide is None else only(row, guide.allowed())


def seen(text: Text, ids: list[int], row: Tensor) -> Tensor | None:
    """The tokens so far, for a repetition penalty."""
    penalty = text.request.sampling.repetition_penalty
    return torch.tensor([ids], device=row.device) if penalty != 1 else None


def law(text: Text, row: Tensor) -> Tensor:
    """What the model says of the next token, and what is drawn from behind all knobs: (2, |V|) probabilities."""
    sampling, ids = text.request.sampling, text.ids
    shaped = process_logits(allowed(text, ids, row, text.guide), sampling, seen(text, ids, row))
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
