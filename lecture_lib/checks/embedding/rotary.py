"""Clocks that turn: rotary positions, held against rotation matrices."""

import torch
from torch import Tensor

from lecture_lib.checks.embedding.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake


def by_rotation_matrices(x: Tensor, positions: Tensor, theta: float = 10000.0) -> Tensor:
    """Turn each pair by its 2 x 2 rotation matrix, in float64; differentiable."""
    angles = clocks(x.double(), positions.double(), float(theta))
    matrices = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], dim=-1).unflatten(
        -1, (2, 2)
    )
    pairs = torch.stack(x.double().chunk(2, dim=-1), dim=-1)
    turned_pairs = (matrices @ pairs[..., None])[..., 0]
    return torch.cat(turned_pairs.unbind(-1), dim=-1).to(x.dtype)


def rotary_cases(seed: int) -> list[Case]:
    """Consecutive and arbitrary positions, a row of them for each sentence, another base, and what does not fit."""
    draw = Draw(seed)
    B, H, N, D = 2, 3, draw.size(4, 6), 2 * draw.size(2, 4)
    anywhere = draw.ids(N, below=90)
    rows, late = draw.ids(B, 1, N, below=90), 700 + draw.ids(N, below=90)
    return [
        Case("two tokens at positions 1 and 2, D_k=4", (draw.normal(2, 4), torch.tensor([1, 2]))),
        Case("one token at position 0: nothing turns", (draw.normal(1, 6), torch.tensor([0]))),
        Case(f"x ({N}, {D}), positions 0 to {N - 1}", (draw.normal(N, D), torch.arange(N))),
        Case(f"x ({N}, {D}), positions {anywhere.tolist()}", (draw.normal(N, D), anywhere)),
        Case(f"x ({B}, {H}, {N}, {D}), the same positions for all", (draw.normal(B, H, N, D), anywhere)),
        Case(
            f"x ({B}, {H}, {N}, {D}), positions ({B}, 1, {N}): other ones in each row",
            (draw.normal(B, H, N, D), rows),
        ),
        Case(f"x ({N}, {D}), positions {late.tolist()}: late in a text", (draw.normal(N, D), late)),
        Case(f"x ({N}, {D}), theta=500", (draw.normal(N, D), anywhere, 500.0)),
        Case(f"x ({N}, {D}), theta=70 by name", (draw.normal(N, D), anywhere), {"theta": 70.0}),
        Case(f"x ({N}, 2): a single pair", (draw.normal(N, 2), anywhere)),
        Case("x that is not contiguous", (draw.normal(D, N).mT, anywhere)),
        Case(
            "float64, with the gradient of x",
            (draw.normal(N, D, dtype=torch.float64), anywhere),
            gradient=(0,),
        ),
        Case("D_k=5: a feature without a partner", (draw.normal(3, 5), torch.arange(3))),
        Case("four tokens, three positions: they do not fit", (draw.normal(4, 6), torch.arange(3))),
        Case(
            "x (3, 4), two rows of positions for one of tokens", (draw.normal(3, 4), draw.ids(2, 3, below=9))
        ),
    ]


def turned(x: Tensor, angles: Tensor, direction: int = 1) -> Tensor:
    """Turn the pairs (i, i + D_k / 2) by given angles, for the mistakes below."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), direction * angles.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def clocks(x: Tensor, positions: Tensor, theta: float, power: float = 2.0) -> Tensor:
    """Angles n theta^(-power i / D_k); a feature without a partner and positions without a token are refused."""
    if x.shape[-1] % 2:
        raise ValueError("D_k must be even")
    if positions.ndim >= x.ndim or any(
        n not in (1, m) for n, m in zip(positions.shape[::-1], x.shape[-2::-1], strict=False)
    ):
        raise ValueError("positions must broadcast to the tokens")
    return positions[..., None] * theta ** (-power * torch.arange(x.shape[-1] // 2) / x.shape[-1])


def neighbours_paired(x: Tensor, positions: Tensor, theta: float = 10000.0) -> Tensor:
    """Pair (2i, 2i + 1), as the paper does."""
    angles = clocks(x, positions, theta)
    ordered = torch.cat([x[..., ::2], x[..., 1::2]], dim=-1)
    return torch.stack(turned(ordered, angles).chunk(2, dim=-1), dim=-1).flatten(-2)


def slip_of_sign(x: Tensor, positions: Tensor, theta: float = 10000.0) -> Tensor:
    """Use a minus in both lines of the rotation."""
    angles = clocks(x, positions, theta)
    (a, b), cos, sin = x.chunk(2, dim=-1), angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos - a * sin], dim=-1)


ROTARY = Exercise(
    name="embedding.apply_rotary",
    points=4,
    difficulty=3,
    minutes=25,
    against="2 × 2 rotation matrices, in float64 (1e-4, with gradients)",
    reference=by_rotation_matrices,
    cases=rotary_cases,
    tolerance=1e-4,
    owned=("lecture_lib.embedding.rotate", "lecture_lib.embedding.rotary_tables"),
    mistakes=(
        Mistake(
            "the positions are ignored and counted 0, 1, 2, ... instead. What happens to a token that continues a cached text?",
            lambda x, positions, theta=10000.0: turned(x, clocks(x, torch.arange(x.shape[-2]), theta)),
        ),
        Mistake(
            "neighbouring features are paired, (2i, 2i + 1), as in the paper. Which pairs does the task name?",
            neighbours_paired,
        ),
        Mistake(
            "everything turns the other way. What is the real part of (a + ib) times (cos + i sin)?",
            lambda x, positions, theta=10000.0: turned(x, clocks(x, positions, theta), direction=-1),
        ),
        Mistake(
            "the second feature of a pair loses the sign of its sine, so that lengths are not kept. Is your matrix a rotation?",
            slip_of_sign,
        ),
        Mistake(
            "theta is 10000 whatever is asked for. Llama 3 has 500000.",
            lambda x, positions, theta=10000.0: turned(x, clocks(x, positions, 10000.0)),
        ),
        Mistake(
            "the exponent is i/D_k instead of 2i/D_k. How many pairs are there?",
            lambda x, positions, theta=10000.0: turned(x, clocks(x, positions, theta, power=1.0)),
        ),
        Mistake(
            "positions are counted from 1. By which angle does the token at position 0 turn?",
            lambda x, positions, theta=10000.0: turned(x, clocks(x, positions + 1, theta)),
        ),
        Mistake(
            "all sentences of a batch get the positions of the first. What is the leading axis of `positions` for?",
            lambda x, positions, theta=10000.0: turned(
                x, clocks(x, positions.reshape(-1, positions.shape[-1])[0], theta)
            ),
        ),
        Mistake(
            "every pair turns at the speed of the first. What is the exponent of theta for?",
            lambda x, positions, theta=10000.0: turned(x, clocks(x, positions, theta, power=0.0)),
        ),
        Mistake(
            "positions that do not fit the tokens are not refused with a ValueError. What does broadcasting make of them?",
            lambda x, positions, theta=10000.0: turned(
                x, positions[..., None] * clocks(x, torch.ones(1), theta)
            ),
        ),
        Mistake(
            "the result is float32 whatever x is. In which number type do queries and keys have to come out?",
            lambda x, positions, theta=10000.0: turned(x, clocks(x, positions, theta)).float(),
        ),
    ),
)
