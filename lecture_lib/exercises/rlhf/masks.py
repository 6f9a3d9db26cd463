"""Which tokens are asked for after instruction: those of the answers, against a reader who goes from left to right."""

import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.rlhf import answer_mask


def texts_of(begin: int, end: int, a: int, b: int, c: int) -> list[list[int]]:
    """Four texts of ten tokens: two answers, an end too early, an answer that is cut off, none."""
    return [
        [a, b, begin, c, a, end, b, begin, b, end],
        [end, a, begin, b, begin, c, end, c, a, c],
        [begin, end, a, begin, a, b, b, c, b, a],
        [a, b, c, a, end, b, a, c, c, end],
    ]


def mask_cases(seed: int) -> list[Case]:
    """One answer, several, none; cut off; ends outside and begins inside an answer; empty answers; one text and a batch."""
    draw = Draw(seed)
    small, large = draw.order(9)[:5].tolist(), (300 + draw.order(50_000)[:5]).tolist()
    large[2] = large[0] + 256  # equal in eight bits
    begin, end, a, b, c = small
    rows = texts_of(*small)
    # A text stands behind the one that is cut off.
    order = until(lambda: draw.order(4).tolist(), lambda each: each[-1] != 2)
    chosen = torch.tensor(texts_of(*large))[order]
    random = torch.tensor(large[:4])[draw.ids(3, 14, below=4)]
    many = [begin, a, end, begin, b, c, end, begin, end, begin, begin, end, a, begin, b, end, end]
    digits = torch.tensor(texts_of(1, 2, 11, 10, 21))[order].to(torch.uint8)
    return [
        Case("one answer, padding behind it", (torch.tensor([[a, begin, b, c, end, a, a]]), begin, end)),
        Case("two answers in one text, large ids", (torch.tensor([texts_of(*large)[0]]), *large[:2])),
        Case("an end before the answer, a second begin inside it", (torch.tensor([rows[1]]), begin, end)),
        Case("an empty answer, then one that is cut off", (torch.tensor([rows[2]]), begin, end)),
        Case("no answer, two ends", (torch.tensor([rows[3]]), begin, end)),
        Case("five answers, most of them right behind one another", (torch.tensor([many]), begin, end)),
        Case("four texts", (chosen, *large[:2])),
        Case("three random texts", (random, *large[:2])),
        Case("one text of shape (N,)", (torch.tensor(rows[0]), begin, end)),
        Case("one token", (torch.tensor([[begin]]), begin, end)),
        Case("ids are int32", (chosen.int(), *large[:2])),
        Case("ids are uint8", (digits, 1, 2)),
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


def across_texts(ids: Tensor, begin_id: int, end_id: int) -> Tensor:
    """Read a batch as one long text."""
    return answer_mask(ids.flatten(), begin_id, end_id).reshape(ids.shape)


def one_long_answer(ids: Tensor, begin_id: int, end_id: int) -> Tensor:
    """From the first begin to the last end."""
    behind = (ids == begin_id).cumsum(-1) - (ids == begin_id).int() > 0
    return behind & (ids == end_id).flip(-1).cumsum(-1).flip(-1).bool()


def by_counting(ids: Tensor, begin_id: int, end_id: int) -> Tensor:
    """Where more answers have begun than ended before."""
    ended = (ids == end_id).int()
    return ((ids == begin_id).cumsum(-1) - (ended.cumsum(-1) - ended) > 0) & (ids != begin_id)


STEP = "inside = inside & (token != end_id) | ~inside & (token == begin_id)"

ANSWERS = Exercise(
    name="rlhf.answer_mask",
    points=2, difficulty=1, minutes=12,
    against="a search from begin to end in lists (exactly)",
    reference=by_searching,
    cases=mask_cases,
    mistakes=(
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
        ("all is marked from the first begin to the last end. Who writes what stands between two answers?", one_long_answer),
        ("begins and ends are counted against each other. What does a second begin do to the count, or an end outside an answer?", by_counting),
        ("an answer that is cut off goes on in the next text. Where does it end?", across_texts),
        ("only the last answer of a text is marked. How many answers may a text have?",
         "return mask", "return mask & ~((ids == begin_id) & ~mask).flip(-1).cumsum(-1).flip(-1).bool()"),
        ("the mask is one place early: it marks the places at which the tokens are predicted. Which are the tokens themselves?",
         "return mask", "return torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], -1)"),
    ),
)  # fmt: skip
