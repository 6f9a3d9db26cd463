"""A small search: how to split a budget of calls into answers and checks; against all splits, each by all sequences' sums."""

import math

from lecture_lib.agents import draws_and_checks
from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise

APART = 1e-6  # the best split is better than the others by this, or equally good in exact arithmetic


def split_cases(seed: int) -> list[Case]:
    """A perfect check, useless ones, one call, small and large budgets, checks that err both ways, hard and easy questions."""
    draw = Draw(seed)

    def part(low: float, high: float) -> float:
        return round(draw.random.uniform(low, high), 3)

    def drawn(budget: int, low: int, high: int, p: tuple = (0.15, 0.4)) -> tuple:
        """Draw a case whose best split has so many checks."""
        make = lambda: (part(*p), part(0.75, 0.97), part(0.1, 0.45), budget)  # noqa: E731
        return until(make, lambda case: clear(case) and low <= by_all_splits(*case)[1] <= high)

    budget = draw.size(13, 19)
    return [
        Case("p = 0.3, no right answer is refused, f = 0.2, 12 calls", (0.3, 1.0, 0.2, 12)),
        Case("a perfect check", (part(0.2, 0.4), 1.0, 0.0, budget)),
        Case("a check that passes everything", (part(0.2, 0.8), 1.0, 1.0, budget)),
        Case("a check that refuses everything", (part(0.2, 0.8), 0.0, 0.0, budget)),
        Case("one call", (part(0.2, 0.8), 0.9, 0.2, 1)),
        Case("two calls", (part(0.2, 0.4), 0.9, 0.2, 2)),
        Case("no answer is ever right", (0.0, 0.9, 0.2, budget)),
        *(Case(f"{b} calls", drawn(b, low, high)) for b, low, high in ((budget, 1, 1), (budget + 8, 2, 9), (48, 2, 9), (97, 3, 20))),
        Case("a right answer is rare, a perfect check", (part(0.01, 0.05), 1.0, 0.0, 97)),
        Case("a check that says yes too often", until(lambda: (part(0.1, 0.2), part(0.99, 0.999), part(0.55, 0.65), 97),
                                                      lambda case: clear(case) and by_all_splits(*case)[1] > 5)),
        Case("equally good to 12 digits, from three answers on", (0.99999, 1.0, 0.0, budget)),
        Case("an easy question", until(lambda: (part(0.9, 0.97), part(0.6, 0.7), part(0.3, 0.45), 4), lambda case: by_all_splits(*case)[1] == 0)),
    ]  # fmt: skip


def accuracies(p: float, t: float, f: float, budget: int) -> dict[tuple[int, int], float]:
    """Give the accuracy of every split, by the draw at which the first answer passes."""
    found = {}
    for n in range(1, budget + 1):
        for k in range(budget):
            if n * (1 + k) <= budget:
                fails = 1 - p * math.pow(t, k) - (1 - p) * math.pow(f, k)
                found[n, k] = math.fsum(math.pow(fails, j) * p * math.pow(t, k) for j in range(n))
    return found


def clear(case: tuple) -> bool:
    """Tell whether the best split stands apart."""
    best, second = sorted(accuracies(*case).values())[-1:-3:-1]
    return best - second > APART


def by_all_splits(p: float, true_positive: float, false_positive: float, budget: int) -> tuple[int, int]:
    """Keep the best, and among the equally good the cheapest."""
    found = accuracies(p, true_positive, false_positive, budget)
    best = max(found.values())
    good = [split for split, accuracy in found.items() if accuracy > best - 1e-11]
    return min(good, key=lambda split: (split[0] * (1 + split[1]), split[1]))


RIGHT, PASSES = "right = p * true_positive ** k", "right + (1 - p) * false_positive ** k"
BUDGET = "n * (1 + k), k, n) for n in range(1, budget + 1) for k in range(budget // n)"

SPLIT = Exercise(
    name="agents.answers_or_checks",
    points=4, difficulty=2, minutes=30,
    against="all splits, each by the draw at which the first answer passes (exactly)",
    reference=by_all_splits,
    cases=split_cases,
    right=draws_and_checks,
    mistakes=(
        ("checks are taken to be free. How many calls are n answers with k checks each?", BUDGET, "n + k, k, n) for n in range(1, budget + 1) for k in range(budget)"),
        ("the answers themselves are taken to be free. How many calls are n answers with k checks each?",
         BUDGET, "n * k, k, n) for n in range(1, budget + 1) for k in range(budget // n + 1)"),
        ("one check at most is looked at, or one yes of several is enough. How does a wrong answer fare before k checks that must all say yes?", "for k in range(budget // n)", "for k in range(min(2, budget // n))"),
        ("there is always a check. When is the first answer as good as any?", "for k in range(budget // n)", "for k in range(min(1, budget // n - 1), budget // n)"),
        ("right answers always pass. How often does one pass k checks?", RIGHT, "right = p"),
        ("that is the split with the most right answers among those drawn. Which one is taken?",
         "sum((right * (1 - passes) ** j for j in range(n)))", "1 - (1 - right) ** n"),
        ("only the ceiling is looked at, and not whether anything passes.", "sum((right * (1 - passes) ** j for j in range(n)))", "right / max(passes, 1e-300)"),
        ("where no answer passes one is given all the same. What does that count as?",
         "sum((right * (1 - passes) ** j for j in range(n)))", "sum((right * (1 - passes) ** j for j in range(n))) + p * (1 - passes) ** n"),
        ("most of the k checks must say yes, not all. When does an answer pass?",
         RIGHT, "most = lambda q: sum(math.comb(k, j) * q ** j * (1 - q) ** (k - j) for j in range(k // 2 + 1, k + 1)) if k else 1.0\n"
         "        right = p * most(true_positive)", PASSES, "right + (1 - p) * most(false_positive)"),
        ("equal means equal to the last digit. To how many digits was it asked for?", "accuracy > best + 1e-12", "accuracy > best"),
        ("among equally good splits the dearest is taken. Which one was asked for?", "sorted(options)", "sorted(options, reverse=True)"),
        ("k comes before n. Which number stands first?", "(n, k)", "(k, n)"),
        ("the whole budget goes into answers without a check. What does the first of many unchecked answers gain?",
         "return choice", "return (budget, 0)"),
    ),
)  # fmt: skip
