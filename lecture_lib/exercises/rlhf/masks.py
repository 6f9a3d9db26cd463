"""Which tokens are asked for after instruction: those of the answers, against a reader who goes from left to right."""

import torch
from torch import Tensor

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise


def mask_cases(seed: int) -> list[Case]:
    """One answer, several, none; cut off; ends outside and begins inside an answer; empty answers; one text and a batch."""
    draw = Draw(seed)
    begin, end, a, b, c = draw.order(9)[:5].tolist()
    rows = [
        [a, b, begin, c, a, end, b, begin, b, end],
        [end, a, begin, b, begin, c, end, c, a, c],
        [begin, end, a, begin, a, b, b, c, b, a],
        [a, b, c, a, end, b, a, c, c, end],
    ]
    chosen = [rows[i] for i in draw.order(4).tolist()]
    random = torch.tensor([begin, end, a, b])[draw.ids(3, 14, below=4)]
    return [
        Case("one answer, padding behind it", (torch.tensor([[a, begin, b, c, end, a, a]]), begin, end)),
        Case("two answers in one text", (torch.tensor([rows[0]]), begin, end)),
        Case("an end before the answer, a second begin inside it", (torch.tensor([rows[1]]), begin, end)),
        Case("an empty answer, then one that is cut off", (torch.tensor([rows[2]]), begin, end)),
        Case("no answer, two ends", (torch.tensor([rows[3]]), begin, end)),
        Case("four texts", (torch.tensor(chosen), begin, end)),
        Case("three random texts", (random, begin, end)),
        Case("one text of shape (N,)", (torch.tensor(rows[0]), begin, end)),
        Case("one token", (torch.tensor([[begin]]), begin, end)),
        Case("ids are int32", (torch.tensor(chosen, dtype=torch.int32), begin, end)),
    ]


def by_searching(ids: Tensor, begin_id: int, end_id: int) -> Tensor:
    """Jump from a begin to the next end in lists, text by text."""
    marked = []
    for row in ids.reshape(-1, ids.shape[-1]).tolist():
        here, place = [False] * len(row), 0
        while begin_id in row[place:]:
            start = row.index(begin_id, place) + 1
            stop = row.index(end_id, start) + 1 if end_id in row[start:] else len(row)
            here[start:stop] = [True] * (stop - start)
            place = stop
        marked.append(here)
    return torch.tensor(marked).reshape(ids.shape)


STEP = "inside = inside & (token != end_id) | ~inside & (token == begin_id)"

# fmt: off
MASK_MISTAKES = (
    ("the token that ends an answer is not asked for. Who then tells the model to stop?",
     "mask[..., n] = inside", "mask[..., n] = inside & (token != end_id)"),
    ("the token that opens an answer is marked as well. Who writes it, the model or the one who asks?",
     "mask[..., n] = inside", "mask[..., n] = inside | (token == begin_id)"),
    ("an answer never ends: what the user says next is learned, too. What closes an answer?",
     STEP, "inside = inside | (token == begin_id)"),
    ("only the first answer of a text is marked. How many answers may a text have?",
     "mask[..., n] = inside", "mask[..., n] = inside & ((ids[..., :n] == end_id) & mask[..., :n]).sum(-1).eq(0)"),
    ("the questions are marked and the answers are not. What should the model learn to say?",
     "mask[..., n] = inside", "mask[..., n] = ~inside"),
    ("a second begin inside an answer closes it. Which token alone does that?",
     STEP, "inside = inside & (token != end_id) & (token != begin_id) | ~inside & (token == begin_id)"),
    ("an end outside an answer opens one. Which token alone does that?",
     STEP, "inside = inside & (token != end_id) | ~inside & ((token == begin_id) | (token == end_id))"),
    ("an answer that is cut off is not marked. How far does it run?",
     "return mask", "return mask & (ids == end_id).flip(-1).cumsum(-1).flip(-1).bool()"),
    ("only the last answer of a text is marked. How many answers may a text have?",
     "return mask", "return mask & ~((ids == begin_id) & ~mask).flip(-1).cumsum(-1).flip(-1).bool()"),
    ("the mask is one place early: it marks the places at which the tokens are predicted. Which are the tokens themselves?",
     "return mask", "return torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], -1)"),
)
# fmt: on

ANSWERS = Exercise(
    name="rlhf.answer_mask",
    points=2,
    difficulty=1,
    minutes=12,
    against="a search from begin to end in lists (exactly)",
    reference=by_searching,
    cases=mask_cases,
    mistakes=MASK_MISTAKES,
)
