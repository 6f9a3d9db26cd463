"""The arena's ranks, with a bug to find."""

import numpy as np

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug


def one_by_one(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Count who is surely better, for each."""
    return np.array([1 + sum(bool(low > mine) for low in lower) for mine in upper], dtype=np.int64)


def rank_cases(seed: int) -> list[Case]:
    """Intervals that overlap, touch, are equal or contain each other, in no order; one model, whole numbers."""
    draw = np.random.default_rng(seed)
    three = np.array([1400.0, 1395.0, 1379.0]), np.array([1414.0, 1411.0, 1389.0])
    order = draw.permutation(3)
    scores, half = 1000 + 60 * draw.normal(size=12), draw.uniform(2, 40, 12)
    whole = draw.integers(0, 12, 9), draw.integers(1, 4, 9)
    touch = np.array([10, 20, 30, 40])[draw.permutation(4)]
    return [
        Case("three models, the first two overlap", tuple(x[order] for x in three)),
        Case("twelve models in no order", (scores - half, scores + half)),
        Case("nine models, whole numbers, intervals that touch", (whole[0] - whole[1], whole[0] + whole[1])),
        Case("four models, each ends where the next begins", (touch, touch + 10)),
        Case("four models, each ends 0.0001 below where the next begins", (touch + 0.4, touch + 10.3999)),
        Case("wide intervals: all first", (scores - 500, scores + 500)),
        Case("narrow intervals: one after the other", (scores - 1e-6, scores + 1e-6)),
        Case("one model", (np.array([3.0]), np.array([4.0]))),
    ]


RANKS = Exercise(
    name="arena.rank_upper_bound",
    points=1, difficulty=1, minutes=8,
    against="a count, one model at a time",
    reference=one_by_one,
    cases=rank_cases,
    owned=("lecture_lib.arena.leaderboard",),
    mistakes=(
        ("the places are counted from the bottom: whom do the sums run over?",
         ".sum(1)", ".sum(0)"),
        ("an interval that just touches mine counts as above it. Which comparison says that it lies above?",
         "lower[None, :] > upper[:, None]", "lower[None, :] >= upper[:, None]"),
        ("everyone whose interval overlaps mine, or lies above, counts as better. Which of their ends must be above?",
         "lower[None, :] > upper", "upper[None, :] > upper"),
        ("everyone who begins below my upper end counts, and I am one of them. Who is better than me?",
         "lower[None, :] > upper[:, None]", "lower[None, :] < upper[:, None]"),
        ("the first place is 0. What is the rank of a model that nobody is above?",
         "1 + ", ""),
        ("my lower end is compared. Which end of mine does a better model have to pass?",
         "lower[None, :] > upper[:, None]", "lower[None, :] > lower[:, None]"),
    ),
)  # fmt: skip
MENDED_RANKS = find_the_bug(
    RANKS,
    "arena.mended_ranks",
    hint="the places are counted from the bottom",
    points=1,
    difficulty=1,
    minutes=8,
)
