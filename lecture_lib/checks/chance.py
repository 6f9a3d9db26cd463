"""Chance: properties of drawn cases, and randomised answers judged by the exact distribution of what they draw."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from lecture_lib.checks.verdict import CourseError

FALSE_ALARM = 1e-9  # how often a right answer is refused
LEAST_EXPECTED = 10  # outcomes expected less often than this are counted together


def until(draw: Callable[[], object], holds: Callable[[object], bool]) -> object:
    """Draw until a property holds, so that no seed gives a case that hides a mistake."""
    for _ in range(10**5):
        if holds(drawn := draw()):
            return drawn
    raise CourseError("a property of a drawn case never holds")


def frequencies(
    draws: Sequence[Hashable] | Mapping[Hashable, int], law: Mapping[Hashable, float]
) -> str | None:
    """What is wrong with the frequencies of draws, by Pearson's chi-squared test; None if nothing is.

    A right answer is refused about once in 10^9 cases.

    Args:
        draws: independent outcomes, or how often each came.
        law: the exact probability of each outcome; outcomes of probability 0 may be left out.
    """
    counts = Counter(draws)
    n = counts.total()
    if strange := [each for each in counts if not law.get(each)]:
        return f"drew {strange[0]!r}, whose probability is 0"
    common = {each for each, p in law.items() if n * p >= LEAST_EXPECTED}
    cells = [(counts[each], n * law[each]) for each in common]
    rest = [each for each, p in law.items() if p and each not in common]
    if rest:
        cells.append((sum(counts[each] for each in rest), n * sum(law[each] for each in rest)))
    if (
        len(cells) < 2
        or tail(sum((seen - due) ** 2 / due for seen, due in cells), len(cells) - 1) >= FALSE_ALARM
    ):
        return None
    worst = max(common or rest, key=lambda each: abs(counts[each] - n * law[each]) / math.sqrt(n * law[each]))
    return f"{worst!r} came {counts[worst]} times in {n}; its probability {law[worst]:.4g} asks for about {n * law[worst]:.0f}"


def tail(chi2: float, freedom: int) -> float:
    """Probability that a chi-squared number of so many degrees of freedom is at least this large."""
    import torch

    half = torch.tensor([freedom / 2, chi2 / 2], dtype=torch.float64, device="cpu")
    return float(torch.special.gammaincc(*half))


def sampled(answer: Callable, seed: int, n: int, *inputs: object, **named: object) -> tuple[list, list, list]:
    """Draw with ``answer(*inputs, generator=..., **named)``: n times, again from the same seed, and from the next one.

    Returns:
        The three lists; the second should repeat the start of the first, the third should not.
    """
    import torch

    def draws(seed: int, count: int) -> list:
        generator = torch.Generator().manual_seed(seed)
        return [answer(*inputs, generator=generator, **named) for _ in range(count)]

    few = min(n, 50)
    return draws(seed, n), draws(seed, few), draws(seed + 1, few)


def seed_alone(draws: object, again: object, other: object) -> str | None:
    """What is wrong with draws of a generator, those of the same one again, and those of another; None if nothing is."""
    if draws != again:
        return "the same generator gives other draws the second time: is anything else random?"
    return "another generator gives the same draws: is it used?" if other == again else None


def follows(law: Callable) -> Callable:
    """An ``accept`` for `sampled`: the generator is used, and frequencies follow ``law(case)``."""

    def accept(case: object, output: object, _asked: list) -> str | None:
        many, again, other = output
        return seed_alone(many[: len(again)], again, other) or frequencies(many, law(case))

    return accept
