"""A head to set by hand."""

import torch
from torch import Tensor

from lecture_lib.attention import causal_mask
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case
from lecture_lib.checks.kinds import by_hand

WORDS, PLACES = 8, 12  # a token is a one-hot word beside a one-hot position
WIDTH = WORDS + PLACES


def head_weights(given: dict[str, Tensor], words: Tensor) -> Tensor:
    """Weights (N, N) of a causal head with W_q and W_k (20, 12), on words at positions 0 to N - 1."""
    X = torch.cat([torch.eye(WORDS)[words], torch.eye(PLACES)[: len(words)]], dim=1)
    scores = (X @ given["W_q"]) @ (X @ given["W_k"]).mT / PLACES**0.5
    return torch.softmax(scores.masked_fill(~causal_mask(len(words)), -torch.inf), dim=-1)


def looks_back(steps: int = 1, strength: float = 100.0, by_word: bool = False) -> dict[str, Tensor]:
    """The head that looks so many tokens back: key m has direction m, query n has direction n - steps."""
    place, W_q, W_k = torch.arange(PLACES), torch.zeros(WIDTH, PLACES), torch.zeros(WIDTH, PLACES)
    W_k[WORDS + place, place] = 1.0
    asks = place[(place - steps >= 0) & (place - steps < PLACES)]
    W_q[WORDS + asks, asks - steps] = strength
    if by_word:
        W_q, W_k = W_q.roll(WORDS, 0), W_k.roll(WORDS, 0)
    return {"W_q": W_q, "W_k": W_k}


def head_cases(seed: int) -> list[Case]:
    """Sentences of two to twelve words, with and without repetitions."""
    draw = Draw(seed)
    lengths = (2, 3, *(draw.size(4, PLACES - 1) for _ in range(3)), PLACES)
    cases = [Case(f"{n} words {(w := draw.ids(n, below=WORDS)).tolist()}", (w,)) for n in lengths]
    return [*cases, Case("one word five times", (torch.full((5,), draw.size(0, WORDS - 1)),))]


def mostly_before(case: Case, output: object, _asked: list) -> str | None:
    """Ask for a weight of 0.99 at least on the token before."""
    n = len(case.inputs[0])
    if output.values.shape != (n, n):
        return f"the weights are {output.values.shape}, not {(n, n)}"
    found = output.values[range(1, n), range(n - 1)]
    if (found >= 0.99).all():
        return None
    row = int((found >= 0.99).argmin()) + 1
    weight = f"{found[row - 1]:.3f}"
    return f"token {row} gives the token before it a weight of {weight}; at least 0.99 is asked for"


PREVIOUS_TOKEN = by_hand(
    "attention.previous_token_head",
    machine=head_weights,
    weights=looks_back,
    cases=head_cases,
    against="the weight on the token before, at least 0.99 in fresh sentences",
    accept=mostly_before,
    points=3, difficulty=3, minutes=20,
    mistakes=(
        ("every token looks at itself. Which direction must the query of token n have: that of key n?",
         lambda: looks_back(steps=0)),
        ("the query looks for the token behind, which the mask hides, or for none. Which key has the "
         "direction of query n?",
         lambda: looks_back(steps=-1)),
        ("every token looks two back. Which key should the query of token n fit?",
         lambda: looks_back(steps=2)),
        ("the right token is preferred, but not strongly. How large must a score be for a weight of 0.99?",
         lambda: looks_back(strength=5.0)),
        ("the words are matched, not the positions. In which rows of W_q and W_k do the positions enter?",
         lambda: looks_back(by_word=True)),
    ),
)  # fmt: skip
