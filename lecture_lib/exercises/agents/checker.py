"""The first answer that passes a check: against all sequences, and beyond them exact decimals."""

import itertools
import math
from decimal import Decimal, localcontext

from lecture_lib.agents import first_passing
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise

ENUMERATED = 7


def checker_cases(seed: int) -> list[Case]:
    """By hand, one draw, several, a perfect check, none at all, both ends of p, many draws, rare answers."""
    draw = Draw(seed)

    def part() -> float:
        """Draw a share that is not near 0, 1/2 or 1."""
        return round(draw.random.choice([draw.random.uniform(0.1, 0.4), draw.random.uniform(0.6, 0.9)]), 3)

    p, f, n = part(), part(), draw.size(3, 6)
    return [
        Case("p = f = 1/2, n = 2: by hand", (0.5, 0.5, 2)),
        Case(f"p = {p}, f = {f}, one draw", (p, f, 1)),
        *(Case(f"p = {a}, f = {b}, n = {m}", (a, b, m)) for a, b, m in ((p, f, n), (part(), part(), 2), (part(), part(), n + 1))),
        Case(f"p = {p}, a perfect check, n = {n}", (p, 0.0, n)),
        Case(f"p = {p}, every answer passes, n = {n}", (p, 1.0, n)),
        Case("no answer is right", (0.0, f, n)),
        Case("no answer is right, and none passes", (0.0, 0.0, n)),
        Case("every answer is right", (1.0, f, n)),
        Case("10,000 draws: the ceiling", (p, f, 10_000)),
        Case("a right answer in a million, f = 0, n = 1000", (1e-6, 0.0, 1000)),
    ]  # fmt: skip


def by_sequences(p: float, false_positive: float, n: int) -> float:
    """Go through all sequences of right, wrong that passes and wrong that fails; where they are too many, in 60 digits."""
    if n <= ENUMERATED:
        kinds = {"right": p, "passes": (1 - p) * false_positive, "fails": (1 - p) * (1 - false_positive)}
        won = (
            math.prod(kinds[kind] for kind in drawn)
            for drawn in itertools.product(kinds, repeat=n)
            if next((kind for kind in drawn if kind != "fails"), "") == "right"
        )
        return math.fsum(won)
    with localcontext() as context:
        context.prec = 60
        right, f = Decimal(p), Decimal(false_positive)
        none = (1 - right) * (1 - f)
        return float(right * (1 - none**n) / (1 - none)) if none != 1 else 0.0


RISE = "(1 - (1 - passing) ** n)"

CHECKER = Exercise(
    name="agents.best_of_n",
    points=3, difficulty=2, minutes=20,
    against="all sequences of draws; exact decimals where they are too many (1e-9)",
    reference=by_sequences,
    cases=checker_cases,
    right=first_passing,
    mistakes=(
        ("that is the ceiling, whatever n is. What if nothing passes?", f"p / passing * {RISE}", "p / passing"),
        ("that is the probability that any of the n is right. Who chooses the right one?",
         f"p / passing * {RISE} if passing else 0.0", "1 - (1 - p) ** n"),
        ("that is the probability that anything passes. Must it be right, too?", f"p / passing * {RISE}", RISE),
        ("p is multiplied by the probability that anything passes. Of which answers is the first that passes one?", "p / passing", "p"),
        ("only the last draw counts. What if an earlier answer passes?",
         f"p / passing * {RISE}", "p * (1 - passing) ** (n - 1)"),
        ("false positives are counted among all answers, right ones included. Of which answers is f a share?",
         "p + (1 - p) * f", "min(p + f, 1.0)"),
        ("f is taken for the share of wrong answers that are refused. Which ones does it let pass?", "p + (1 - p) * f", "p + (1 - p) * (1 - f)"),
        ("one draw too few is made. With n = 1, is there no draw?", "** n", "** (n - 1)"),
        ("one draw too many is made, or an answer is guessed where none passes. What does the task count that as?", "** n", "** (n + 1)"),
        ("that is right at a draw of its own and not at the first that passes: the right answers after a wrong one that passed count. Which answer is taken?",
         f"p / passing * {RISE}", "(1 - (1 - p) ** n) * p / passing"),
    ),
)  # fmt: skip
