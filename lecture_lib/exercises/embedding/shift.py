"""Weights by hand: one matrix that moves every position three places on."""

import torch
from torch import Tensor

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case
from lecture_lib.checks.kinds import by_hand
from lecture_lib.embedding import rotary_frequencies, sinusoidal_positions

D, STEPS = 12, 3


def moved(given: dict[str, Tensor], positions: Tensor) -> Tensor:
    """Rows p_n W (N, 12) for positions n."""
    return sinusoidal_positions(positions, D) @ given["W"]


def turns(
    steps: float = STEPS, same_speed: bool = False, halves: bool = False, sign: int = -1
) -> dict[str, Tensor]:
    """The matrix that turns every pair of features by its own angle."""
    angles = steps * rotary_frequencies(D)
    angles = angles[:1].expand(D // 2) if same_speed else angles
    blocks = [torch.tensor([[a.cos(), sign * a.sin()], [a.sin(), a.cos()]]) for a in angles]
    W = torch.block_diag(*blocks)
    order = torch.arange(D).reshape(2, -1).T.flatten() if halves else torch.arange(D)
    return {"W": W[order.argsort()][:, order.argsort()]}


def shift_cases(seed: int) -> list[Case]:
    """Positions at the start, anywhere and late in a text."""
    draw = Draw(seed)
    anywhere, late = draw.ids(5, below=90), draw.ids(5, low=2000, below=3000)
    return [
        Case("position 0", (torch.tensor([0]),)),
        Case("position 1", (torch.tensor([1]),)),
        Case("positions 0 to 19", (torch.arange(20),)),
        Case(f"positions {anywhere.tolist()}", (anywhere,)),
        Case(f"positions {late.tolist()}", (late,)),
    ]


SHIFT = by_hand(
    "embedding.three_places_on",
    machine=moved,
    weights=turns,
    cases=shift_cases,
    against="the position three places on, from the formula (1e-4)",
    tolerance=1e-4,
    points=3, difficulty=2, minutes=20,
    mistakes=(
        ("every position moves three places back. Which sign has the sine of the angle in each of the two "
         "columns?",
         lambda: turns(-STEPS)),
        ("both sines of a block have the same sign. What is cos(nω + 3ω), and is your block a rotation?",
         lambda: turns(sign=1)),
        ("every position moves one place only. By which angle does pair i turn in three steps?",
         lambda: turns(1)),
        ("nothing moves. What is sin(nω + 3ω)?", lambda: turns(0)),
        ("all pairs turn at the speed of the first. Which frequency has pair i?",
         lambda: turns(same_speed=True)),
        ("sine and cosine of a pair are sought D/2 columns apart. In which columns do the pairs stand "
         "here?",
         lambda: turns(halves=True)),
    ),
)  # fmt: skip
