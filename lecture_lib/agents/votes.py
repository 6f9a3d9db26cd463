"""How often a choice among n answers is right: exact sums, no simulation.

Source: Condorcet (1785) for independent votes; Ladha (1992) for correlated ones; Wang et al. (2023), self-consistency; Cobbe et
al. (2021) for verifiers.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lecture_lib.fields import chance, whole


def majority_accuracy(p: float, correlation: float, n: int) -> float:
    r"""Probability that most of n voters are right, each with probability p, any two correlated: $P(k > n/2) + P(k = n/2)/2$.

    The number k of right votes is beta-binomial: each question has a probability of its own, drawn from a beta distribution
    of mean p, and given it the votes are independent. Two votes on one question then have the given correlation; 0 is the
    binomial of Condorcet, and with 1 all vote alike.

    Args:
        p: probability that one vote is right.
        correlation: of two votes on the same question, 0 to 1.
        n: number of votes.

    Example:
        >>> round(majority_accuracy(0.6, 0.0, 3), 3), round(majority_accuracy(0.6, 0.5, 3), 3)
        (0.648, 0.608)
    """
    p, correlation, n = chance("p", p), chance("correlation", correlation), whole("n", n, 1)
    if correlation == 1 or p in (0, 1):
        return p
    law = _beta_binomial(p, correlation, n)
    return math.fsum(law[n // 2 + 1 :]) + (law[n // 2] / 2 if n % 2 == 0 else 0.0)


def _beta_binomial(p: float, correlation: float, n: int) -> np.ndarray:
    """Give the law of the number of right votes, n + 1 probabilities: products of rising factors, as logarithms."""
    steps = np.arange(n) * correlation / (1 - correlation)
    right, wrong, both = (np.log(np.append(1.0, start + steps)).cumsum() for start in (p, 1 - p, 1.0))
    ways = np.array([math.log(math.comb(n, k)) for k in range(n + 1)])
    return np.exp(ways + right + wrong[::-1] - both[-1])


def first_passing(p: float, false_positive: float, n: int) -> float:
    r"""Accuracy of the first of n answers that passes a check: $\frac{p}{s}\,\bigl(1 - (1 - s)^n\bigr)$ with $s = p + (1 - p) f$.

    A right answer always passes, a wrong one with probability f. If none of the n passes there is no answer, which counts as
    wrong. As n grows the accuracy rises to $p/(p + (1 - p) f)$ and no further.

    Args:
        p: probability that one answer is right.
        false_positive: probability f that a wrong answer passes.
        n: number of answers that are drawn at most.

    Example:
        >>> first_passing(0.5, 0.5, 2), first_passing(0.5, 0.0, 2)
        (0.625, 0.75)
    """
    p, f, n = chance("p", p), chance("false_positive", false_positive), whole("n", n, 1)
    passing = p + (1 - p) * f
    return p / passing * (1 - (1 - passing) ** n) if passing else 0.0


def draws_and_checks(p: float, true_positive: float, false_positive: float, budget: int) -> tuple[int, int]:
    """Split a budget of calls: n answers, each looked at by k checks, such that n (1 + k) calls are within the budget.

    An answer passes if all k checks say yes. Each says yes to a right answer with probability `true_positive` and to a wrong
    one with `false_positive`, independently of the others. The first answer that passes is taken; if none does, it counts as
    wrong. With k = 0 the first answer is taken.

    Returns:
        (n, k) with the largest accuracy; among equal ones, to 12 digits, the one with the fewest calls, then the fewest checks.

    Example:
        >>> draws_and_checks(0.3, 1.0, 0.2, 12)
        (4, 2)
    """
    chance("p", p), chance("true_positive", true_positive), chance("false_positive", false_positive)
    best, choice, budget = -1.0, (1, 0), whole("budget", budget, 1)
    options = [(n * (1 + k), k, n) for n in range(1, budget + 1) for k in range(budget // n)]
    for _calls, k, n in sorted(options):
        right = p * true_positive**k
        passes = right + (1 - p) * false_positive**k
        accuracy = sum(right * (1 - passes) ** j for j in range(n))
        if accuracy > best + 1e-12:
            best, choice = accuracy, (n, k)
    return choice


def vote_accuracy(counts: Sequence[int], n: int, replace: bool = True) -> float:
    r"""Accuracy of a plurality vote among n chains drawn from those that were counted; ties are broken by lot.

    A chain with replacement is a draw from the measured frequencies: the prediction for new chains. Without it the result is
    the mean over all sets of n of these chains: an unbiased estimate of the accuracy of n new chains.

    Args:
        counts: (K,) chains with each answer, that of the right answer first, that of chains without a vote last.
        n: number of chains.
        replace: whether a chain may be drawn several times.

    Raises:
        ValueError: n is larger than the number of chains, and none may be drawn twice.

    Example:
        >>> vote_accuracy([2, 1, 0], 1), vote_accuracy([2, 1, 0], 3, replace=False)
        (0.6666666666666666, 1.0)
    """
    right, *others, free = (whole("every count", count) for count in counts)
    total, n = right + sum(others) + free, whole("n", n, 1)
    if not replace and n > total:
        raise ValueError(f"without replacement n is at most {total}, the number of chains; got {n}")
    return float(_vote_accuracy(right, tuple(sorted(filter(None, others))), free, n, replace))


@lru_cache(maxsize=100_000)
def _vote_accuracy(right: int, others: tuple[int, ...], free: int, n: int, replace: bool) -> float:
    r"""Sum over the number k of right votes and the number t of other answers with as many: weight 1/(t + 1).

    The weight of m chains of one kind is q^m / m! with replacement, and a binomial coefficient without it.
    """
    total = right + sum(others) + free
    m = np.arange(n + 1)
    factorial = np.cumprod(np.maximum(m, 1), dtype=float)

    def weights(count: int) -> np.ndarray:
        if replace:
            return (count / total) ** m / factorial
        return np.array([math.comb(count, int(i)) for i in m], dtype=float)

    own, rest, all_others = weights(right), [weights(count) for count in others], weights(total - right)
    won = 0.0
    for k in range(1, n + 1):
        if 2 * k > n:  # no other answer can have as many
            won += own[k] * all_others[n - k]
            continue
        ties = np.zeros(
            (len(rest) + 1, n + 1 - k)
        )  # by number of ties, by number of chains that are not right
        ties[0] = weights(free)[: n + 1 - k]
        for w in rest:
            ties = _with_one_more(ties, w, k)
        won += own[k] * float((ties[:, -1] / np.arange(1, len(rest) + 2)).sum())
    return won * factorial[-1] if replace else won / math.comb(total, n)


def _with_one_more(ties: np.ndarray, w: np.ndarray, k: int) -> np.ndarray:
    """Let one more answer have fewer than k chains, or exactly k, which is one more tie."""
    size = ties.shape[1]
    found = np.zeros_like(ties)
    for m in range(min(k, size)):
        found[:, m:] += w[m] * ties[:, : size - m]
    if k < size:
        found[1:, k:] += w[k] * ties[:-1, : size - k]
    return found


def mean_and_correlation(right: Sequence[int], n: int) -> tuple[float, float]:
    r"""Estimate the mean of p over questions and the correlation $\mathrm{Var}(p)/(\bar p (1 - \bar p))$ of two votes on one.

    Two different votes on a question are both right with probability $p^2$: k (k - 1)/(n (n - 1)) estimates it without bias.

    Args:
        right: (Q,) right votes on each question.
        n: votes on each question, 2 or more.

    Raises:
        ValueError: all votes are right, or all are wrong: they have no correlation.
    """
    n = whole("n", n, 2)
    k = np.asarray(right, dtype=float)
    p, both = k.mean() / n, (k * (k - 1)).mean() / (n * (n - 1))
    if not 0 < p < 1:
        raise ValueError(f"the correlation needs right and wrong votes; {p:.0%} are right")
    return float(p), float((both - p**2) / (p * (1 - p)))
