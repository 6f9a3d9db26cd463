"""Judge: which of five reports about a checked model claims more than any set of questions allows?"""

import math

from lecture_lib.agents import first_passing
from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.kinds import impossible

SIMPLE, ROUNDS = 8, 11

Report = tuple[float, float, int, float]  # mean p, false positives, answers drawn, accuracy


def report(draw: Draw, above: bool, widest: float) -> Report:
    """A checker of its own; the accuracy is below that of equal questions, or above it and still below the ceiling."""
    p, f, n = draw.random.uniform(0.1, 0.6), draw.random.uniform(0.03, 0.6), draw.size(2, 6)
    bound = first_passing(p, f, n)
    share = draw.random.uniform(0.04, widest)
    return round(p, 3), round(f, 3), n, round(bound * (1 + share if above else 1 - share), 3)


def hidden_from(one: Report) -> bool:
    """Even the impossible report is below its ceiling and below the share of questions with any right answer."""
    p, f, n, accuracy = one
    return accuracy < 0.97 * p / (p + (1 - p) * f) and accuracy < 0.98 * (1 - (1 - p) ** n) and accuracy > p


def five_reports(seed: int, each: int) -> tuple[str, list, int]:
    """Four reports that can be and one that cannot, which no simpler rule would name."""
    draw, place = Draw(1000 * seed + each), (seed + 2 * each) % 5

    def five() -> list[Report]:
        return [
            until(lambda k=k: report(draw, k == place, 0.12 if each < SIMPLE else 0.06), hidden_from)
            for k in range(5)
        ]

    def hidden(reports: list[Report]) -> bool:
        rules = (
            lambda p, f, n, a: a,
            lambda p, f, n, a: a - p,
            lambda p, f, n, a: a / p,
            lambda p, f, n, a: a * (p + (1 - p) * f) / p,
            lambda p, f, n, a: a / (1 - (1 - p) ** n),
            lambda p, f, n, a: -n,
        )
        named = [max(range(5), key=lambda k, rule=rule: rule(*reports[k])) for rule in rules]
        differ = ((0, 1), (0, 3), (1, 4), (2, 3), (3, 4), (0, 2), (1, 5), (2, 5))[each % 8]
        return place not in named and len({named[i] for i in differ}) == 2

    def led_astray(reports: list[Report]) -> bool:
        """The last rounds are for bounds that are nearly right."""
        bounds = (
            lambda p, f, n: first_passing(p, f, n + 1),
            lambda p, f, n: p / (p + (1 - p) * f) * (1 - (1 - p) ** n),
            lambda p, f, n: p / (p + (1 - p) * f) * -math.expm1(-n * (p + (1 - p) * f)),
        )
        excess = [report[3] / bounds[each - SIMPLE](*report[:3]) for report in reports]
        return excess.index(max(excess)) != place

    return "five reports", until(five, hidden if each < SIMPLE else led_astray), place


def impossible_report(reports: list) -> int:
    """Find the report that no set of questions allows; the mistakes below are changes of these lines."""
    excess = []
    for p, f, n, accuracy in reports:
        passing = p + (1 - p) * f
        bound = p / passing * (1 - (1 - passing) ** n)
        excess.append(accuracy / bound)
    return excess.index(max(excess))


JUDGE = impossible(
    "agents.impossible_report",
    five_reports,
    impossible_report,
    against="how the reports were made",
    rounds=ROUNDS,
    points=3, difficulty=2, minutes=15,
    mistakes=(
        ("the largest accuracy is named. What can be reached there?", "accuracy / bound", "accuracy"),
        ("the largest gain over one answer is named. What can be gained there?", "accuracy / bound", "accuracy - p"),
        ("the largest factor over one answer is named. What can be gained there?", "accuracy / bound", "accuracy / p"),
        ("the accuracy is compared with the ceiling. Who draws answers without end?", "p / passing * (1 - (1 - passing) ** n)", "p / passing"),
        ("the accuracy is compared with the share of questions that have any right answer. Who finds it among those that pass?",
         "p / passing * (1 - (1 - passing) ** n)", "1 - (1 - p) ** n"),
        ("f is counted among all answers. Of which answers is it a share?", "p + (1 - p) * f", "min(1.0, p + f)"),
        ("one draw too few is made.", "** n", "** (n - 1)"),
        ("the accuracy is compared with the probability that anything passes. Must it be right, too?",
         "p / passing * (1 - (1 - passing) ** n)", "1 - (1 - passing) ** n"),
        ("the report furthest below its bound is named.", "index(max(excess))", "index(min(excess))"),
        ("the reports are counted from 1. Which number has the first?", "return excess.index(max(excess))", "return excess.index(max(excess)) + 1"),
        ("the report with the fewest answers is named.", "accuracy / bound", "-n"),
    ),
)  # fmt: skip
