"""Exercises of chapter 3, attention."""

import torch

from lecture_lib import attention
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def _softmax_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    return [
        Case("x (3,), dim=0: three scores", (torch.randn(3, generator=draw),), {"dim": 0}),
        Case("x (4, 5), dim=-1", (torch.randn(4, 5, generator=draw), -1)),
        Case("x (4, 5), dim=0", (torch.randn(4, 5, generator=draw), 0)),
        Case("x (2, 3, 5), dim=1", (torch.randn(2, 3, 5, generator=draw), 1)),
        Case("x (2, 4), scores up to 1000", (1000 * torch.randn(2, 4, generator=draw), -1)),
        Case("x (3, 4) in float64, with its gradient", (torch.randn(3, 4, generator=draw).double(), 1), gradient=(0,)),
    ]


SOFTMAX = Exercise(
    name="attention.softmax",
    points=2,
    difficulty=1,
    minutes=10,
    against="torch.softmax (float32 1e-5, float64 1e-9 with gradients)",
    reference=torch.softmax,
    cases=_softmax_cases,
    kernels=("softmax", "log_softmax", "softmin"),
    mistakes=(
        Mistake(
            "the sum runs over the last axis whatever `dim` says. Which axis was asked for?",
            altered(attention.softmax, ("powers.sum(dim,", "powers.sum(-1,")),
        ),
    ),
)

EXERCISES = (SOFTMAX,)
