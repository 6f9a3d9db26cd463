"""The exercises of chapter 16 beyond what holds for all: unusual right answers pass, near misses do not."""

import math
import re

import numpy as np
import pytest
from answers import verdict_of
from scipy.stats import betabinom, binom

from lecture_lib import agents
from lecture_lib.checks.message import text

verdict = verdict_of("agents")


def rank_by_sorting(reply, n):
    named = [int(word) - 1 for word in re.split(r"[^0-9]+", reply) if word]
    return sorted(range(n), key=lambda i: named.index(i) if i in named else len(named) + i)


def rank_by_arrays(reply, n):
    named = np.array([int(word) - 1 for word in re.findall("[0-9]+", reply)], dtype=int)
    named = named[(named >= 0) & (named < n)]
    order = named[np.sort(np.unique(named, return_index=True)[1])].tolist()
    return order + sorted(set(range(n)) - set(order))


class Limits:
    """Limits are infinite where there are none."""

    def __init__(self, max_calls=None, max_tokens=None):
        self.most = [math.inf if limit is None else limit for limit in (max_calls, max_tokens)]
        self.calls = self.tokens = self.running = 0

    def reserve(self, n):
        if n < 0:
            raise ValueError(n)
        n = int(min(n, self.most[0] - self.calls)) if self.tokens < self.most[1] else 0
        self.calls, self.running = self.calls + n, self.running + n
        return n

    def settle(self, tokens):
        if tokens < 0 or not self.running:
            raise ValueError(tokens)
        self.running, self.tokens = self.running - 1, self.tokens + tokens

    def give_back(self):
        if not self.running:
            raise ValueError("none")
        self.running, self.calls = self.running - 1, self.calls - 1


class Receipts:
    """What was spent is counted from a list of receipts."""

    def __init__(self, max_calls=None, max_tokens=None):
        self.limits, self.receipts, self.running = (max_calls, max_tokens), [], 0

    @property
    def tokens(self):
        return sum(self.receipts)

    @property
    def calls(self):
        return len(self.receipts) + self.running

    def reserve(self, n):
        if n < 0:
            raise ValueError
        begun, (calls, tokens) = 0, self.limits
        while begun < n and self.calls != calls and (tokens is None or self.tokens < tokens):
            self.running, begun = self.running + 1, begun + 1
        return begun

    def settle(self, tokens):
        self.give_back(tokens)
        self.receipts.append(tokens)

    def give_back(self, tokens=0):
        if tokens < 0 or not self.running:
            raise ValueError
        self.running -= 1


def best_by_recursion(p, f, n):
    accuracy = 0.0
    for _ in range(n):
        accuracy = p + (1 - p) * (1 - f) * accuracy
    return accuracy


def best_by_arrays(p, false_positive, n):
    fails = (1 - p) * (1 - false_positive)
    return float((p * np.power(fails, np.arange(n))).sum())


def majority_by_scipy(p, correlation, n):
    if correlation == 1 or p in (0, 1):
        return float(p)
    rest = (1 - correlation) / correlation if correlation else None
    law = betabinom(n, p * rest, (1 - p) * rest) if rest else binom(n, p)
    return float(law.sf(n // 2) + (law.pmf(n // 2) / 2 if n % 2 == 0 else 0))


def majority_of_odd_numbers(p, correlation, n):
    """With a coin for ties, an even number of votes is worth as much as one vote less."""
    return majority_by_scipy(p, correlation, n if n % 2 else n - 1)


def split_by_closed_form(p, true_positive, false_positive, budget):
    best = ()
    for k in range(budget):
        for n in range(1, budget // (1 + k) + 1):
            right, wrong = p * true_positive**k, (1 - p) * false_positive**k
            passes = right + wrong
            accuracy = right / passes * (1 - (1 - passes) ** n) if passes else 0.0
            best = max(best, (round(accuracy, 12), -n * (1 + k), -k, n))
    return best[3], -best[2]


def judge_by_arrays(reports):
    bounds = [best_by_arrays(p, f, n) for p, f, n, _ in reports]
    return int(np.argmax([report[3] / bound for report, bound in zip(reports, bounds, strict=True)]))


def judge_by_the_library(reports):
    return next(i for i, (p, f, n, a) in enumerate(reports) if a > agents.first_passing(p, f, n))


RIGHT = [
    ("ranking", rank_by_sorting),
    ("ranking", rank_by_arrays),
    ("Budget", Limits),
    ("Budget", Receipts),
    ("best_of_n", best_by_recursion),
    ("best_of_n", best_by_arrays),
    ("correlated_majority", majority_by_scipy),
    ("correlated_majority", majority_of_odd_numbers),
    ("answers_or_checks", split_by_closed_form),
    ("answers_or_checks", lambda *case: split_within()(*case)),
    ("impossible_report", judge_by_arrays),
    ("impossible_report", judge_by_the_library),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("seed", range(5))
def test_unusual_right_answers_pass(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


def rank_words(reply, n):
    """Only numbers that stand alone."""
    return rank_by_sorting(" ".join(each for each in re.split("[ ,]+", reply) if each.isdigit()), n)


def rank_by_pattern(pattern, n_numbers=None):
    """Numbers of another form, or only the first ones, are read."""

    def rank(reply, n):
        words = [word for word in re.findall(pattern, reply) if word.isascii() and word.isdigit()]
        return rank_by_sorting(" ".join(words[: n_numbers and n]), n)

    return rank


def rank_by_names(reply, n):
    """Numbers are compared as words."""
    names = [str(i + 1) for i in range(n)]
    return rank_by_sorting(" ".join(word for word in re.findall("[0-9]+", reply) if word in names), n)


def rank_until_a_wrong_one(reply, n):
    named = re.findall("[0-9]+", reply)
    good = next((i for i, each in enumerate(named) if not 1 <= int(each) <= n), len(named))
    return rank_by_sorting(" ".join(named[:good]), n)


def rank_as_numpy(reply, n):
    return [np.int64(place) for place in rank_by_sorting(reply, n)]


class Capped(Limits):
    def settle(self, tokens):
        super().settle(tokens)
        self.tokens = min(self.tokens, self.most[1])


class Silent(Limits):
    def reserve(self, n):
        return super().reserve(max(n, 0))


class Hasty(Limits):
    """Changes its state before it finds the error."""

    def settle(self, tokens):
        self.give_back()
        self.calls += 1
        if tokens < 0:
            raise ValueError(tokens)
        self.tokens += tokens


class Shut(Limits):
    """Where a call was refused once, no other begins, not even in the place of one that is given back."""

    shut = False

    def reserve(self, n):
        given = 0 if self.shut and n >= 0 else super().reserve(n)
        self.shut = self.shut or given < n
        return given


class ShutToMistakes(Limits):
    """Does not look at the number once all is spent."""

    def reserve(self, n):
        return super().reserve(n) if self.tokens < self.most[1] and self.calls < self.most[0] else 0


class BackWithoutLimits(Limits):
    def reserve(self, n):
        return super().reserve(n) if self.most[0] < math.inf else max(n, 0)


class ReturnsEnded(Limits):
    """Whatever was counted may be given back."""

    def give_back(self):
        if not self.calls:
            raise ValueError
        self.running, self.calls = self.running - 1, self.calls - 1


class ForgetsRunning(Limits):
    def reserve(self, n):
        self.running *= n >= 0
        return super().reserve(n)


class OneAtATime(Limits):
    def reserve(self, n):
        return 0 if self.running else super().reserve(n)


def best_of_few(p, f, n):
    return best_by_recursion(p, f, min(n, 9))


def best_or_nan(p, f, n):
    passing = p + (1 - p) * f
    return p / passing * (1 - (1 - passing) ** n) if passing else math.nan


def best_by_a_minimum(p, f, n):
    return min(1 - (1 - p) ** n, p / max(p + (1 - p) * f, 1e-300))


def best_in_numpy(p, f, n):
    return np.float64(best_by_recursion(p, f, n))


def majority_by_a_normal_law(p, correlation, n):
    spread = math.sqrt(p * (1 - p) * (1 + (n - 1) * correlation) / n) or 1e-9
    return 0.5 * math.erfc((0.5 - p) / spread / math.sqrt(2))


def majority_nearly_alike(p, correlation, n):
    return majority_by_scipy(p, min(correlation, 0.99), n)


def majority_never_independent(p, correlation, n):
    return majority_by_scipy(p, max(correlation, 0.001), n)


def majority_by_logarithms(p, correlation, n):
    """The ends of p are looked at for correlated votes only."""
    if correlation:
        return majority_by_scipy(p, correlation, n)
    logs = [
        math.log(math.comb(n, k)) + k * math.log(p) + (n - k) * math.log(1 - p) for k in range(n // 2, n + 1)
    ]
    return sum(math.exp(x) for x in logs[1:]) + (math.exp(logs[0]) / 2 if n % 2 == 0 else 0)


def majority_of_31(p, correlation, n):
    return majority_by_scipy(p, correlation, min(n, 31))


def split_with_few_checks(p, true_positive, false_positive, budget):
    few = min(budget, 24)
    return split_by_closed_form(p, true_positive, false_positive, few)


def split_within(most_n=100, most_k=100, digits=12):
    """Too few splits, or another number of digits in which they are equal."""

    def split(p, true_positive, false_positive, budget):
        options = [(n, k) for k in range(most_k + 1) for n in range(1, most_n + 1) if n * (1 + k) <= budget]
        right = [p * true_positive**k for n, k in options]
        wrong = [(1 - p) * false_positive**k for n, k in options]
        gains = [
            round(r / (r + w) * (1 - (1 - r - w) ** n), digits) if r + w else 0.0
            for r, w, (n, _) in zip(right, wrong, options, strict=True)
        ]
        best = max(gains)
        equal = [option for option, gain in zip(options, gains, strict=True) if gain == best]
        return min(equal, key=lambda option: (option[0] * (1 + option[1]), option[1]))

    return split


def split_below_the_budget(p, true_positive, false_positive, budget):
    return split_by_closed_form(p, true_positive, false_positive, max(1, budget - 1))


def split_all_of_it(p, true_positive, false_positive, budget):
    """n is always as large as it may be."""
    splits = [(budget // (1 + k), k) for k in range(budget)]
    gain = lambda n, k: agents.first_passing(p, false_positive**k, n) * true_positive**k  # noqa: E731
    return max(splits, key=lambda split: gain(*split))


def judge_by(bound):
    def judge(reports):
        excess = [report[3] / bound(*report[:3]) for report in reports]
        return excess.index(max(excess))

    return judge


def judge_by_a_product(reports):
    bounds = [p / (p + (1 - p) * f) * (1 - (1 - p) ** n) for p, f, n, _ in reports]
    return int(np.argmax([report[3] / bound for report, bound in zip(reports, bounds, strict=True)]))


NEAR_MISSES = [
    ("ranking", rank_words),
    ("ranking", rank_until_a_wrong_one),
    ("ranking", rank_as_numpy),
    ("ranking", rank_by_names),
    *(
        ("ranking", rank_by_pattern(pattern))
        for pattern in (
            r"\b[0-9]+\b",
            "-?[0-9]+",
            r"[0-9]+(?:\.[0-9]+)?",
            "[0-9]{1,2}",
            "(?<![A-Za-z])[0-9]+",
            "[0-9]+(?![a-z])",
        )
    ),
    ("ranking", rank_by_pattern("[0-9]+", n_numbers=True)),
    ("ranking", lambda reply, n: rank_by_sorting(reply.split("\n")[0], n)),
    ("ranking", lambda reply, n: rank_by_sorting(reply.split(":")[-1], n)),
    ("Budget", Capped),
    ("Budget", Silent),
    ("Budget", Hasty),
    ("Budget", Shut),
    ("Budget", ShutToMistakes),
    ("Budget", BackWithoutLimits),
    ("Budget", ReturnsEnded),
    ("Budget", ForgetsRunning),
    ("Budget", OneAtATime),
    ("Budget", agents.Purse),
    ("best_of_n", best_of_few),
    ("best_of_n", best_or_nan),
    ("best_of_n", best_by_a_minimum),
    ("best_of_n", best_in_numpy),
    ("best_of_n", lambda p, f, n: agents.first_passing(p, f, n)),
    ("correlated_majority", majority_by_a_normal_law),
    ("correlated_majority", majority_nearly_alike),
    ("correlated_majority", majority_never_independent),
    ("correlated_majority", majority_of_31),
    ("correlated_majority", majority_by_logarithms),
    ("correlated_majority", lambda p, rho, n: agents.majority_accuracy(p, rho, n)),
    ("answers_or_checks", split_with_few_checks),
    ("answers_or_checks", split_below_the_budget),
    ("answers_or_checks", split_within(most_n=20)),
    ("answers_or_checks", split_within(most_k=5)),
    ("answers_or_checks", split_within(digits=6)),
    ("answers_or_checks", split_within(digits=20)),
    ("answers_or_checks", split_all_of_it),
    ("answers_or_checks", lambda *case: list(split_by_closed_form(*case))),
    ("answers_or_checks", lambda *case: agents.draws_and_checks(*case)),
    ("impossible_report", judge_by_a_product),
    ("impossible_report", judge_by(lambda p, f, n: best_by_recursion(p, f, n + 1))),
    (
        "impossible_report",
        judge_by(lambda p, f, n: p / (p + f - p * f) * (1 - math.exp(-n * (p + f - p * f)))),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer"), NEAR_MISSES, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("seed", range(3))
def test_near_misses_do_not_pass(name, answer, seed):
    assert not verdict(name, answer, seed).passed
