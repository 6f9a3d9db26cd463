"""An induction head set by hand, a stack to mend, and a number to predict."""

import torch
from torch import Tensor

from lecture_lib.attention import causal_mask, scaled_dot_product_attention
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case
from lecture_lib.checks.kinds import by_hand, find_the_bug, predict
from lecture_lib.exercises.transformer.layers import PRE_LN_STACK

WORDS, PLACES = 6, 12  # word 0 begins every text
D = WORDS + PLACES + WORDS  # a token: its word, its place, and room for one more word
WORD, PLACE, ROOM = torch.eye(D).split([WORDS, PLACES, WORDS], dim=1)  # (D, width) each: picks these features
ONE_BACK = torch.eye(PLACES).roll(-1, dims=1)


def continue_with(weights: dict[str, Tensor], words: list[int]) -> Tensor:
    """Two causal heads, one after the other, on the same residual stream: (WORDS,) weight of each word as the next."""
    n = len(words)
    X = torch.cat([torch.eye(WORDS)[words], torch.eye(PLACES)[:n], torch.zeros(n, WORDS)], dim=1)
    read = [X @ weights[name] for name in ("W_q1", "W_k1", "W_v1")]
    X = X + scaled_dot_product_attention(*read, causal_mask(n))
    read = [X @ weights[name] for name in ("W_q2", "W_k2", "W_v2")]
    return scaled_dot_product_attention(*read, causal_mask(n))[-1]


def induction(sharp: float = 120.0) -> dict[str, Tensor]:
    """Layer 1 writes the word before into the free room; layer 2 asks for it with its own word."""
    return {
        "W_q1": sharp * PLACE @ ONE_BACK,
        "W_k1": PLACE,
        "W_v1": WORD @ ROOM.T,
        "W_q2": sharp * WORD,
        "W_k2": ROOM,
        "W_v2": WORD,
    }


def changed(**tables: Tensor) -> dict[str, Tensor]:
    """The right weights with some tables exchanged for others."""
    return induction() | tables


def texts(seed: int) -> list[Case]:
    """Texts whose last word stood there exactly once before: next to it, at the beginning, anywhere."""
    draw = Draw(seed)
    words = (1 + draw.order(WORDS - 1)).tolist()
    a, b, c, *_ = words
    cases = [[0, a, a], [0, a, b, a], [0, a, b, c, a]]
    for _ in range(6):
        last, *others = (1 + draw.order(WORDS - 1)).tolist()
        before, after = draw.size(0, 3), draw.size(1, 5)
        text = [others[draw.size(0, 3)] for _ in range(before + after)]
        cases.append([0, *text[:before], last, *text[before:], last])
    return [Case(f"words {each}", (each,)) for each in cases]


INDUCTION = by_hand(
    name="transformer.induction_head",
    machine=continue_with,
    weights=induction,
    cases=texts,
    against="the word that followed the last word the time before (0.01)",
    tolerance=1e-2,
    points=4, difficulty=3, minutes=30,
    mistakes=(
        ("the last word is repeated. Which word does the first layer write down, with what does the second compare its "
         "own word, and which features does it hand on?",
         lambda: changed(W_k2=WORD)),
        ("the second layer asks with the word before and compares it with the words of the keys. Who should ask for whom?",
         lambda: changed(W_q2=120 * ROOM, W_k2=WORD)),
        ("the first layer looks two places back.", lambda: changed(W_q1=120 * PLACE @ ONE_BACK @ ONE_BACK)),
        ("the first layer looks one place ahead, where the mask hides everything. Which place does place p ask for?",
         lambda: changed(W_q1=120 * PLACE @ ONE_BACK.T)),
        ("the word before is added to the features of the token's own word. Where is room for it?",
         lambda: changed(W_v1=WORD @ WORD.T)),
        ("the scores of both layers are too small: they mix many tokens. What makes a softmax choose one?",
         lambda: induction(1.0)),
        ("the scores are still too small. How much larger must the right one be for a weight of 0.99 or more?",
         lambda: induction(10.0)),
        ("the scores of the first layer are too small: it mixes many tokens.", lambda: changed(W_q1=PLACE @ ONE_BACK)),
        ("the scores of the second layer are too small: it mixes many words.", lambda: changed(W_q2=WORD)),
    ),
)  # fmt: skip

MENDED = find_the_bug(
    PRE_LN_STACK,
    "transformer.mended_stack",
    "the residual starts from the normalised tokens",
    points=2,
    difficulty=2,
    minutes=15,
)

DAYS = predict(
    "transformer.training_days",
    lambda: 6 * 124.4e6 * 10e9 / 1e11 / 86_400,
    1.3,
    "6 operations for each parameter and token",
    misses=(
        ("only the way forward is counted, 2 operations for each parameter and token. What does the way back cost?",
         2 * 124.4e6 * 10e9 / 1e11 / 86_400),
        ("the way back is taken to cost what the way forward costs, 2 operations. Of how many things does it take "
         "the gradient: of the parameters alone?",
         4 * 124.4e6 * 10e9 / 1e11 / 86_400),
        ("one operation is counted for each parameter and token.", 124.4e6 * 10e9 / 1e11 / 86_400),
        ("the time is given in hours. How many hours has a day?", 6 * 124.4e6 * 10e9 / 1e11 / 3600),
        ("the time is given in seconds. How many seconds has a day?", 6 * 124.4e6 * 10e9 / 1e11),
        ("the time is given in years. What was asked for?", 6 * 124.4e6 * 10e9 / 1e11 / 86_400 / 365.25),
    ),
    points=1, difficulty=1, minutes=5,
)  # fmt: skip
