"""Random choices that give the same corpus on every Python version: only `Random.random()` is promised to."""

import random
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TypeVar

from lecture_lib.fields import whole

T = TypeVar("T")


def draw(rng: random.Random, items: Sequence[T]) -> T:
    """Draw one of the items, each with the same probability 1 / n."""
    return items[int(rng.random() * len(items))]


def draw_weighted(rng: random.Random, weights: Mapping[T, float]) -> T:
    """Draw a key with probability weight / sum of the weights."""
    height = rng.random() * sum(weights.values())
    for item, weight in weights.items():
        height -= weight
        if height < 0:
            return item
    return item  # rounding: the last one


def size(n: int, what: str) -> int:
    """Give how many things to draw as Python's integer, and refuse a negative number."""
    return whole(f"the number of {what}", n)


def randomness(seed: int) -> random.Random:
    """Give random numbers that depend on the seed alone; NumPy's integers are seeds too."""
    return random.Random(int(seed) if isinstance(seed, Integral) else seed)
