"""Clocks that are added: sinusoidal positions, held against the formula in Python floats."""

import math

import torch
from torch import Tensor

from lecture_lib import embedding
from lecture_lib.checks.embedding.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def clock_by_clock(positions: int | Tensor, d_model: int, halves: bool = False) -> Tensor:
    """Read every clock by the formula, in Python's float64."""
    if d_model % 2:
        raise ValueError("d_model must be even")
    positions = torch.arange(positions) if isinstance(positions, int) else positions
    rows = []
    for n in positions.flatten().tolist():
        angles = [n / 10000 ** (2 * i / d_model) for i in range(d_model // 2)]
        sines, cosines = [math.sin(a) for a in angles], [math.cos(a) for a in angles]
        rows.append(
            sines + cosines if halves else [x for pair in zip(sines, cosines, strict=True) for x in pair]
        )
    return torch.tensor(rows, dtype=torch.float32).reshape(*positions.shape, d_model)


def own_clock_for_every_feature(positions: int | Tensor, d_model: int, halves: bool = False) -> Tensor:
    """Give each cosine the frequency of its own index."""
    positions = torch.arange(positions) if isinstance(positions, int) else positions
    angles = positions[..., None] * 10000.0 ** (-torch.arange(d_model) / d_model)
    waves = (angles[..., ::2].sin(), angles[..., 1::2].cos())
    return torch.cat(waves, -1) if halves else torch.stack(waves, -1).flatten(-2)


def sinusoidal_cases(seed: int) -> list[Case]:
    """First positions and arbitrary ones, both orders, the narrowest width, and an odd one."""
    draw = Draw(seed)
    D, N = 2 * draw.size(4, 7), draw.size(5, 12)
    anywhere, late = draw.ids(4, below=60), 700 + draw.ids(4, below=60)
    return [
        Case("positions 0 to 2, d_model=4", (3, 4)),
        Case(f"positions 0 to {N - 1}, d_model={D}", (N, D)),
        Case(f"positions 0 to {N - 1}, d_model={D}, halves=True", (N, D, True)),
        Case(f"positions {anywhere.tolist()}, d_model={D}", (anywhere, D)),
        Case(f"positions {anywhere.tolist()}, d_model={D}, halves=True", (anywhere, D), {"halves": True}),
        Case(f"positions {late.tolist()}: a text that starts late, d_model={D}", (late, D)),
        Case(f"positions of shape (2, 3), d_model={D + 2}", (draw.ids(2, 3, below=50), D + 2)),
        Case(f"one position, d_model={D}", (1, D)),
        Case(f"positions 0 to {N - 1}, d_model=2", (N, 2)),
        Case("d_model=5: a sine without its cosine", (3, 5)),
    ]


_sinusoidal = embedding.sinusoidal_positions
SINUSOIDAL = Exercise(
    name="embedding.sinusoidal_positions",
    points=4,
    difficulty=2,
    minutes=20,
    against="the formula, clock by clock in Python floats (5e-5)",
    reference=clock_by_clock,
    cases=sinusoidal_cases,
    tolerance=5e-5,
    mistakes=(
        Mistake(
            "the exponent is i/D instead of 2i/D, so that the slowest clock is a hundred times too fast. How many pairs are there?",
            altered(_sinusoidal, ("(-pairs / d_model)", "(-pairs / 2 / d_model)")),
        ),
        Mistake(
            "each cosine runs at the frequency of its own index. Should sine and cosine of a pair not show the same clock?",
            own_clock_for_every_feature,
        ),
        Mistake(
            "all sines stand before all cosines although `halves` is False. In which order does the paper put them?",
            altered(_sinusoidal, ("if halves else", "if True else")),
        ),
        Mistake(
            "`halves` is ignored. Where does Marian put its cosines?",
            altered(_sinusoidal, ("if halves else", "if False else")),
        ),
        Mistake(
            "the cosine comes first. What should position 0 look like: 0, 1, 0, 1, ... or 1, 0, 1, 0, ...?",
            altered(
                _sinusoidal,
                (
                    "(angles.sin().float(), angles.cos().float())",
                    "(angles.cos().float(), angles.sin().float())",
                ),
            ),
        ),
        Mistake(
            "positions are counted from 1. What is the angle of the first token?",
            altered(_sinusoidal, ("torch.arange(positions)", "torch.arange(1, positions + 1)")),
        ),
        Mistake(
            "the given positions are replaced by 0, 1, 2, ... What if a text starts at position 700?",
            altered(
                _sinusoidal,
                (
                    "angles = positions[..., None]",
                    "angles = torch.arange(positions.numel()).reshape(positions.shape)[..., None]",
                ),
            ),
        ),
        Mistake(
            "the frequencies grow instead of falling. Which sign has the exponent?",
            altered(_sinusoidal, ("(-pairs / d_model)", "(pairs / d_model)")),
        ),
        Mistake(
            "the base is 1000. How slow should the slowest clock be?",
            altered(_sinusoidal, ("10000 ** (", "1000 ** (")),
        ),
        Mistake(
            "the result is float64. Which type do token vectors have, to which this is added?",
            altered(
                _sinusoidal, ("angles.sin().float(), angles.cos().float()", "angles.sin(), angles.cos()")
            ),
        ),
    ),
)
