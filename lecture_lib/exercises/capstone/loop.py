"""The loop that joins everything: read, choose, write down, read what is new."""

from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise

STATES, TOKENS = 997, 9


class Reader:
    """A model whose scores depend on all tokens that were read, in their order; it keeps account of its calls."""

    def __init__(self, seed: int) -> None:
        self.table = torch.rand(STATES, TOKENS, generator=torch.Generator().manual_seed(seed))
        self.read: list[int] = []  # tokens of each call

    def __call__(self, ids: list[int], past: tuple | None) -> tuple[Tensor, tuple]:
        """Give scores of the next token, and what was read so far, in a form of the reader's own."""
        self.read.append(len(ids))
        state = 1 if past is None else past[0]
        for token in ids:
            state = (31 * state + token + 7) % STATES
        return self.table[state], (state,)


def choose(scores: Tensor, ids: list[int]) -> int:
    """The best token, those of the text so far made a little less likely each time they occur."""
    counts = torch.bincount(torch.tensor(ids, dtype=torch.long), minlength=TOKENS)
    return int((scores - 0.15 * counts).argmax())


def use_loop(
    answer: Callable, seed: int, ids: list[int], max_new_tokens: int, end_ids: tuple | None = None
) -> object:
    """Give what was written, and what the model has read for it."""
    reader = Reader(seed)
    ends = () if end_ids is None else (end_ids,)
    written = answer(reader, choose, ids, max_new_tokens, *ends)
    return written, f"tokens read in each call of `read`: {reader.read}"


def step_by_step(read, choose, ids, max_new_tokens, end_ids=()) -> list[int]:
    """Read the whole text anew for every token, and keep the account of a loop that does not."""
    text = list(ids)
    while len(text) - len(ids) < max_new_tokens and not set(text[len(ids) :]) & set(end_ids):
        text.append(choose(read(text, None)[0], list(text)))
    new = text[len(ids) :]
    read.read = [len(ids)] + [1] * (len(new) - 1)
    return new


def sees_all(inputs: tuple, free: list[int]) -> bool:
    """Whether a long text is another one if `choose` sees each token once, or the last ones alone."""
    seed, ids, most, _ = inputs
    views = (lambda text: list(dict.fromkeys(text)), lambda text: [*ids, *text[len(ids) :][-8:]])
    texts = (
        step_by_step(Reader(seed), lambda scores, text, view=view: choose(scores, view(text)), ids, most)
        for view in views
    )
    return most < 12 or all(text != free for text in texts)


def drawn_case(
    draw: Draw, what: str, n: int, most: int, ends: int, holds: Callable, known: bool = False
) -> Case:
    """Draw inputs until the text that is written, and its end tokens, hold what is asked."""

    def drawn() -> tuple:
        seed, ids = draw.size(0, 10**6), draw.ids(n, below=TOKENS).tolist()
        return seed, ids, most, tuple(draw.order(TOKENS)[:ends].tolist())

    def fits(inputs: tuple) -> bool:
        seed, ids, _most, end_ids = inputs
        new = step_by_step(Reader(seed), choose, ids, most, end_ids)
        free = step_by_step(Reader(seed), choose, ids, most)
        fresh = ids[-1] in end_ids if known else not set(end_ids) & set(ids)
        varied = len(set(free)) >= min(3, most)
        return holds(new, end_ids) and varied and fresh and (ends or sees_all(inputs, free))

    inputs = until(drawn, fits)
    return Case(f"{what}; end tokens {list(inputs[-1])}", inputs if ends else inputs[:-1])


def loop_cases(seed: int) -> list[Case]:
    """No end token, one at the first place, in the middle, at the last place, several; prompts of one and of more tokens."""
    case = partial(drawn_case, Draw(seed))
    return [
        case("one token", 3, 1, 0, lambda new, ends: True),
        case("six tokens, no end", 4, 6, 0, lambda new, ends: True),
        case("twelve tokens behind a prompt of one", 1, 12, 0, lambda new, ends: True),
        case("ends in the middle", 3, 9, 1, lambda new, ends: 3 <= len(new) < 8),
        case("ends with its first token", 3, 9, 1, lambda new, ends: len(new) == 1),
        case(
            "ends with the last token that it may write",
            2,
            5,
            1,
            lambda new, ends: len(new) == 5 and new[-1] == ends[0],
        ),
        case("two tokens can end it", 4, 12, 2, lambda new, ends: 3 <= len(new) < 11 and new[-1] == ends[1]),
        case("three tokens can end it", 2, 10, 3, lambda new, ends: 2 <= len(new) < 9 and new[-1] == ends[2]),
        case(
            "the prompt ends with an end token",
            5,
            9,
            2,
            lambda new, ends: 3 <= len(new) < 8 and new[-1] == ends[0],
            known=True,
        ),
        case("ends with token 0", 5, 9, 1, lambda new, ends: 3 <= len(new) < 8 and ends == (0,)),
    ]


def write_tokens(
    read: Callable, choose: Callable, ids: list[int], max_new_tokens: int, end_ids: Collection[int] = ()
) -> list[int]:
    """Read the prompt, then every token that was chosen; the mistakes below are changes of these lines."""
    new = []
    scores, past = read(ids, None)
    while True:
        token = choose(scores, ids + new)
        new.append(token)
        if token in end_ids or len(new) == max_new_tokens:
            return new
        scores, past = read([token], past)


STOP, STEP = "token in end_ids or len(new) == max_new_tokens", "scores, past = read([token], past)"

LOOP = Exercise(
    name="capstone.write_tokens",
    points=4, difficulty=3, minutes=25,
    against="a loop that reads the whole text anew, and the account of what a reader with a memory must read",
    reference=step_by_step,
    right=write_tokens,
    cases=loop_cases,
    use=use_loop,
    mistakes=(
        ("the whole text is read again for each token. What does `past` hold?", STEP, "scores, past = read(ids + new, None)"),
        ("the new token is read without what came before it. What is handed on from call to call?",
         STEP, "scores, past = read([token], None)"),
        ("every new token is read behind the prompt alone. Which `past` belongs to the text so far?",
         STEP, "scores, _ = read([token], past)"),
        ("`read` gets the whole text *and* what is kept of it. Which tokens are new?", STEP, "scores, past = read(ids + new, past)"),
        ("no new token is read: all are chosen from the scores behind the prompt. When do scores change?", STEP, "pass"),
        ("the loop does not stop at an end token. Which tokens end a text?", "token in end_ids or ", ""),
        ("end tokens of the prompt count, too. Which tokens may end the text?",
         "token in end_ids or", "set(ids + new) & set(end_ids) or"),
        ("only the first of the end tokens ends the text. May a model have several?", "in end_ids", "in end_ids[:1]"),
        ("the token that ends the text is left out. Is it part of the text?", "return new", "return [each for each in new if each not in end_ids]"),
        ("`choose` sees the new tokens alone. Which tokens are the text so far?", "choose(scores, ids + new)", "choose(scores, new)"),
        ("`choose` sees the prompt alone. Which tokens are the text so far?", "choose(scores, ids + new)", "choose(scores, ids)"),
        ("one token too many is written. When are there `max_new_tokens`?", "== max_new_tokens", "== max_new_tokens + 1"),
        ("the prompt is returned as well. Which tokens are new?", "return new", "return ids + new"),
        ("the last token is read although nothing is chosen after it. What is it read for?",
         f"if {STOP}:\n            return new\n        {STEP}", f"{STEP}\n        if {STOP}:\n            return new"),
        ("the prompt is read token by token. How many calls of `read` does it need?",
         "scores, past = read(ids, None)", "past = None\n    for each in ids:\n        scores, past = read([each], past)"),
    ),
)  # fmt: skip
