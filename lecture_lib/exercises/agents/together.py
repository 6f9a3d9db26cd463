"""Votes that err together: the beta-binomial, against an urn in which every vote draws the next one after itself."""

import math

from lecture_lib.agents import majority_accuracy
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise


def together_cases(seed: int) -> list[Case]:
    """By hand, independent votes, all alike, even and odd numbers, one vote, two, both ends of p, many votes."""
    draw = Draw(seed)

    def part(low: float, high: float) -> float:
        return round(draw.random.uniform(low, high), 3)

    p, q, rho = part(0.55, 0.85), part(0.15, 0.45), part(0.15, 0.7)
    odd, even = 2 * draw.size(2, 5) + 1, 2 * draw.size(2, 5)
    return [
        Case("p = 0.6, correlation 1/2, three votes: by hand", (0.6, 0.5, 3)),
        Case(f"p = {p}, independent, {odd} votes", (p, 0.0, odd)),
        Case(f"p = {p}, independent, {even} votes", (p, 0.0, even)),
        Case(f"p = {p}, correlation {rho}, {odd} votes", (p, rho, odd)),
        Case(f"p = {p}, correlation {rho}, {even} votes", (p, rho, even)),
        Case(f"p = {q}, correlation {rho}, {odd} votes", (q, rho, odd)),
        Case(f"p = {p}, correlation 0.05, 31 votes", (p, 0.05, 31)),
        Case(f"p = {q}, correlation {rho}, two votes", (q, rho, 2)),
        Case(f"p = {q}, correlation {rho}, one vote", (q, rho, 1)),
        Case(f"p = {p}, all vote alike, {odd} votes", (p, 1.0, odd)),
        Case(f"p = {p}, all vote alike, {even} votes", (p, 1.0, even)),
        Case("no vote is right, independent", (0.0, 0.0, odd)),
        Case("every vote is right, independent", (1.0, 0.0, even)),
        Case("no vote is right, all alike", (0.0, 1.0, even)),
        Case("every vote is right, all alike", (1.0, 1.0, odd)),
        Case("no vote is right", (0.0, rho, odd)),
        Case("every vote is right", (1.0, rho, even)),
        Case(f"p = {p}, correlation {rho}, 90 votes", (p, rho, 90)),
    ]


def by_an_urn(p: float, correlation: float, n: int) -> float:
    """Vote after vote: the next is right with a probability between p and the share of right votes so far."""
    law = [1.0]
    for m in range(n):
        longer = [0.0] * (m + 2)
        for k, weight in enumerate(law):
            known = 1 - correlation + correlation * m  # at correlation 1 the first vote decides
            right = (p * (1 - correlation) + correlation * k) / known if known else p
            longer[k + 1] += weight * right
            longer[k] += weight * (1 - right)
        law = longer
    return sum(weight * ((2 * k > n) + (2 * k == n) / 2) for k, weight in enumerate(law))


def plainly(p: float, correlation: float, n: int) -> float:
    """Give the majority's accuracy as the library does, in one piece: the mistakes are changes of these lines."""
    if correlation == 1 or p in (0, 1):
        return p
    log, found = math.log, 0.0
    rise = correlation / (1 - correlation)
    for k in range(n + 1):
        ways = log(math.comb(n, k))
        right = sum(log(p + i * rise) for i in range(k))
        wrong = sum(log(1 - p + i * rise) for i in range(n - k))
        both = sum(log(1 + i * rise) for i in range(n))
        weight = 1.0 if 2 * k > n else 0.5 if 2 * k == n else 0.0
        found += weight * math.exp(ways + right + wrong - both)
    return found


def common_cause(p: float, correlation: float, n: int) -> float:
    """With probability ρ all votes are one vote, else they are independent: the same correlation, another law."""
    return correlation * p + (1 - correlation) * majority_accuracy(p, 0.0, n)


def exchanged(p: float, correlation: float, n: int) -> float:
    """Exchange a and b of the beta distribution."""
    return plainly(1 - p if 0 < correlation < 1 else p, correlation, n)


def share_of_votes(p: float, correlation: float, n: int) -> float:
    """An urn that mixes p with the share of right votes so far, with the same weight after one vote as after many."""
    law = [1.0]
    for m in range(n):
        right = [(1 - correlation) * p + correlation * (k / m if m else p) for k in range(m + 1)]
        stay = [weight * (1 - one) for weight, one in zip(law, right, strict=True)]
        rise = [weight * one for weight, one in zip(law, right, strict=True)]
        law = [a + b for a, b in zip([*stay, 0.0], [0.0, *rise], strict=True)]
    return sum(weight * ((2 * k > n) + (2 * k == n) / 2) for k, weight in enumerate(law))


def fewer_independent(p: float, correlation: float, n: int) -> float:
    """Round the effective number of votes, and take them for independent."""
    return majority_accuracy(p, 0.0, max(1, round(n / (1 + (n - 1) * correlation))))


WEIGHT = "1.0 if 2 * k > n else 0.5 if 2 * k == n else 0.0"

TOGETHER = Exercise(
    name="agents.correlated_majority",
    points=5, difficulty=3, minutes=35,
    against="an urn, vote after vote (1e-9)",
    reference=by_an_urn,
    cases=together_cases,
    right=plainly,
    owned=("lecture_lib.agents.majority_accuracy",),
    mistakes=(
        ("the votes are taken for independent. Where does the correlation come in?", "rise = correlation / (1 - correlation)", "rise = 0.0"),
        ("half of the votes is taken for a majority. What is a tie worth?", WEIGHT, "1.0 if 2 * k >= n else 0.0"),
        ("a tie is lost. How is it broken?", WEIGHT, "1.0 if 2 * k > n else 0.0"),
        ("a + b = 1/ρ was used. For which a + b have two draws from one p the correlation ρ?",
         "rise = correlation / (1 - correlation)", "rise = correlation"),
        ("a + b = ρ was used: p is then nearly always 0 or 1. Which end is the independent one?",
         "rise = correlation / (1 - correlation)", "rise = (1 - correlation) / max(correlation, 1e-3)"),
        ("ρ² takes the place of ρ. Which of them is 1 / (a + b + 1)?", "rise = correlation / (1 - correlation)",
         "rise = correlation ** 2 / (1 - correlation ** 2)"),
        ("a and b are exchanged. Which of them grows with the right votes?", exchanged),
        ("an urn gives the votes so far the weight ρ, however many they are. What is the weight (a + b) / (a + b + m) after m votes?", share_of_votes),
        ("with an odd number of votes one vote less than half counts as a majority. What is n // 2 for three votes?",
         WEIGHT, "1.0 if k >= n // 2 else 0.0"),
        ("half of the weight of k = n // 2 is added also where n is odd. Is there a tie among three votes?",
         WEIGHT, "1.0 if 2 * k > n else 0.5 if k == n // 2 else 0.0"),
        ("with probability ρ all votes are alike, else they are independent: that has the same correlation, but another law. Which law was asked for?",
         common_cause),
        ("the votes are replaced by fewer independent ones. Is the law of k then still the beta-binomial?", fewer_independent),
        ("the number of ways to choose the k voters is left out. Do the probabilities sum to 1?", "ways = log(math.comb(n, k))", "ways = 0.0"),
        ("that is the probability that all votes are right.", WEIGHT, "1.0 if k == n else 0.0"),
        ("that is the probability that most votes are wrong.", WEIGHT, "1.0 if 2 * k < n else 0.5 if 2 * k == n else 0.0"),
        ("that is the probability of exactly the smallest majority. Which other numbers of right votes win?",
         WEIGHT, "1.0 if k == n // 2 + 1 else 0.5 if 2 * k == n else 0.0"),
        ("with correlation 1 a majority is still counted as if votes differed. Who decides then?",
         "if correlation == 1 or p in (0, 1):\n        return p", "correlation = min(correlation, 0.5)\n    if p in (0, 1):\n        return p"),
    ),
)  # fmt: skip
