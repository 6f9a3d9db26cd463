r"""Exact match, and how far a share of right answers can be trusted.

Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from lecture_lib.fields import real, whole


class Score(NamedTuple):
    """A share of right answers and its interval."""

    share: float
    low: float
    high: float


def wilson_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    r"""Probabilities p with $(\hat p - p)^2 \le z^2\,p(1 - p)/n$, where $\hat p$ = right/n: the interval's two ends.

    Unlike $\hat p \pm z\sqrt{\hat p(1 - \hat p)/n}$ it never leaves 0 ... 1, and is no point where all or none are right.

    Args:
        right: right answers, 0 to n.
        n: questions, 1 or more.
        confidence: probability above 0 and below 1 with which such an interval should hold the true p; it sets z.

    Returns:
        Lower and upper end.

    Raises:
        ValueError: a number is outside its range.

    Example:
        >>> [round(p, 3) for p in wilson_interval(9, 10)]
        [0.596, 0.982]
    """
    n = whole("n", n, 1)
    right = whole("right", right, 0, n)
    inside = real("confidence", confidence, lambda c: 0 < c < 1, "a number between 0 and 1")
    z = NormalDist().inv_cdf((1 + inside) / 2)
    middle = (right + z**2 / 2) / (n + z**2)
    half = z * math.sqrt(right * (n - right) / n + z**2 / 4) / (n + z**2)
    return (0.0 if right == 0 else middle - half), (1.0 if right == n else middle + half)


def exact_match(answers: Sequence[object], truths: Sequence[object], confidence: float = 0.95) -> Score:
    """Score answers by the share that equal their truths, with its `wilson_interval`; None, no answer, is wrong.

    Args:
        answers: one a question, as `extract_answer` gives them.
        truths: the right ones, equally many, at least one.
        confidence: of the interval.

    Returns:
        share, low and high.

    Raises:
        ValueError: there are no questions, or not as many answers.

    Example:
        >>> exact_match([11.0, None, 9.0], [11, 27, 9]).share
        0.6666666666666666
    """
    if len(answers) != len(truths) or not truths:
        raise ValueError(f"a truth for each answer is asked for: got {len(answers)} and {len(truths)}")
    right = sum(given is not None and given == truth for given, truth in zip(answers, truths, strict=True))
    return Score(right / len(truths), *wilson_interval(right, len(truths), confidence))
