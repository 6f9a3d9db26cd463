"""Random choices that give the same corpus on every Python version: only `Random.random()` is promised to."""

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

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


def check_size(n: int, what: str) -> None:
    """Refuse a negative number of things to draw.

    Raises:
        ValueError: n is below zero.
    """
    if n < 0:
        raise ValueError(f"the number of {what} must not be negative, got {n}")
