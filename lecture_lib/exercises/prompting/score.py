"""A score with Wilson's interval, against the two roots of its quadratic equation."""

import math
import random
from collections.abc import Sequence

import numpy as np

from lecture_lib.checks.exercise import Case, Exercise


def score_with_interval(
    answers: Sequence[float | None], truths: Sequence[float], z: float = 1.96
) -> tuple[float, float, float]:
    r"""Share of right answers, and the ends of the interval of all p with $(\hat p - p)^2 \le z^2\,p(1 - p)/n$.

    Args:
        answers: one a question; None where there was no answer, which is wrong.
        truths: the right answers, equally many.
        z: half-width of the interval in standard deviations.

    Returns:
        (share, low, high), floats.

    Raises:
        ValueError: there are no questions, or not as many answers as truths.

    Example:
        >>> [round(x, 3) for x in score_with_interval([11.0, None, 9.0], [11, 27, 9])]
        [0.667, 0.208, 0.939]
    """
    n = len(truths)
    if n == 0 or len(answers) != n:
        raise ValueError(f"as many answers as truths are asked for: got {len(answers)} and {n}")
    share = sum(given == truth for given, truth in zip(answers, truths, strict=True)) / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return share, middle - half, middle + half


def by_roots(answers, truths, z=1.96) -> tuple[float, float, float]:
    """Solve n (p̂ - p)² = z² p (1 - p) for p with NumPy."""
    if not truths or len(answers) != len(truths):
        raise ValueError("as many answers as truths are asked for")
    n = len(truths)
    pairs = zip(answers, truths, strict=True)
    right = float(np.sum([a is not None and float(a) == float(t) for a, t in pairs]))
    roots = np.roots([n + z**2, -(2 * right + z**2), right**2 / n]).real
    return right / n, float(roots.min()), float(roots.max())


def score_cases(seed: int) -> list[Case]:
    """By hand; some, none and all right; no answers; ints and floats; one question; many; other z; lists that do not fit."""
    draw = random.Random(seed)

    def case(what: str, n: int, right: int, missing: int = 0, **named: float) -> Case:
        truths = [float(draw.randrange(-5, 40)) for _ in range(n)]
        wrong = [truth + draw.choice((-1, 1, 10)) for truth in truths[right : n - missing]]
        rows = list(zip([*truths[:right], *wrong, *[None] * missing], truths, strict=True))
        draw.shuffle(rows)
        return Case(what, ([a for a, _ in rows], [t for _, t in rows]), named)

    n = draw.randrange(12, 30)
    return [
        Case("three questions: by hand", ([11.0, None, 9.0], [11, 27, 9])),
        case(f"{n} questions, {n // 3} right", n, n // 3),
        case(f"{n} questions, {n - 3} right, 2 without an answer", n, n - 3, 2),
        case(f"{n} questions, none right", n, 0),
        case(f"{n} questions, all right", n, n),
        case("200 questions, 163 right, 20 without an answer", 200, 163, 20),
        case("one question, right", 1, 1),
        case("one question, wrong", 1, 0),
        case("one question, no answer", 1, 0, 1),
        case("z = 1: about 68 in 100", n, n // 2, 1, z=1.0),
        case("z = 3", n, n - 1, 0, z=3.0),
        case("z = 2.58, none right", n, 0, 2, z=2.58),
        Case("right answers are 0, and one has none", ([0.0, None, 0.0, 1.0], [0, 0, 0, 0])),
        Case("nearly right is wrong", ([10.75, 11.25, 11.001, -11.0, 11.0, 12.0], [11] * 6)),
        Case("no questions: ValueError", ([], [])),
        Case("an answer too few: ValueError", ([1.0], [1, 2])),
        Case("an answer too many: ValueError", ([1.0, 2.0, 3.0], [1, 2])),
    ]


MIDDLE = "(share + z ** 2 / (2 * n)) / (1 + z ** 2 / n)"
HALF = "share * (1 - share) / n + z ** 2 / (4 * n ** 2)"
COUNT = "sum((given == truth for given, truth in zip(answers, truths, strict=True)))"

SCORE = Exercise(
    name="prompting.score_with_interval",
    points=3, difficulty=2, minutes=20,
    against="the roots of the quadratic equation, by NumPy",
    reference=by_roots,
    right=score_with_interval,
    cases=score_cases,
    owned=("lecture_lib.prompting.wilson_interval", "lecture_lib.prompting.exact_match"),
    mistakes=(
        ("the interval is p̂ ± z √(p̂(1 − p̂)/n): it has no width where all are right. Whose variance stands on the right of the inequality?",
         MIDDLE, "share", f"math.sqrt({HALF}) / (1 + z ** 2 / n)", "math.sqrt(share * (1 - share) / n)"),
        ("the same, cut at 0 and 1: p̂ ± z √(p̂(1 − p̂)/n). Which p satisfy the inequality where all are right?",
         MIDDLE, "share", f"math.sqrt({HALF}) / (1 + z ** 2 / n)", "math.sqrt(share * (1 - share) / n)",
         "middle - half", "max(middle - half, 0.0)", "middle + half", "min(middle + half, 1.0)"),
        ("the interval lies around the share. Where is the middle of the two roots?", MIDDLE, "share"),
        ("a term under the root is missing. What is the width where none are right?", f"{HALF})", "share * (1 - share) / n)"),
        ("the half-width is not divided by 1 + z²/n. What stands before p² in the quadratic equation?",
         "/ (1 + z ** 2 / n)\n    return", "\n    return"),
        ("the middle is right, and the variance is taken there, too. At which p does the inequality take it?",
         f"z * math.sqrt({HALF}) / (1 + z ** 2 / n)", "z * math.sqrt(middle * (1 - middle) / (n + z ** 2))"),
        ("questions without an answer are left out of the score. How many questions were asked?",
         "n = len(truths)", "n = len(truths) - (sum((given is None for given in answers)) if len(answers) == len(truths) else 0)"),
        ("z is always 1.96. Which argument sets the confidence?", "n = len(truths)", "n = len(truths)\n    z = 1.96"),
        ("the wrong answers are counted.", "given == truth for", "given != truth for"),
        ("no answer counts as 0. Is silence right where the truth is 0?", "given == truth for", "(given or 0) == truth for"),
        ("an answer within 1 of the truth counts as right. What does exact match mean?", "given == truth for",
         "given is not None and abs(given - truth) <= 1 for"),
        ("the number of right answers is given, not the share. What is divided by n?", "return (share,", "return (share * n,"),
        ("1/n is taken where the variance of a mean belongs under the root.", HALF, "share * (1 - share) / n ** 2 + z ** 2 / (4 * n ** 2)"),
        ("answers of another number than the questions are cut to the shorter list. Which question would each answer belong to?",
         "n == 0 or len(answers) != n", "n == 0", "strict=True", "strict=False"),
    ),
)  # fmt: skip
