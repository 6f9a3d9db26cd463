"""A queue before a batch, in steps of a model: requests come at random times, each of B slots writes one token a step.

A static batch is filled, runs until its longest answer has ended, and is filled again; a continuous one gives a slot to the
next request as soon as it is free. The first holds B answers for the time of the longest, so it serves B / E[max] requests
a step, the second B / mean. For geometric lengths E[max] is nearly mean * H_B, with the harmonic number H_B.

Source: Little (1961); Erlang's formula as in Kleinrock (1975), section 3.5; Yu et al. (2022) for batches that change.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Log:
    """When each of n requests was asked, begun and ended, in steps, and the slot that it had."""

    asked: np.ndarray
    begun: np.ndarray
    ended: np.ndarray
    slot: np.ndarray

    @property
    def mean_time(self) -> float:
        """W: mean time from asking to the end."""
        return float((self.ended - self.asked).mean())

    @property
    def rate(self) -> float:
        """Lambda: requests a step, from the first that was asked to the last that ended."""
        return len(self.asked) / float(self.ended.max() - self.asked.min())

    @property
    def in_system(self) -> float:
        """L: mean number of requests that have been asked and have not ended, counted from event to event."""
        times = np.concatenate([self.asked, self.ended])
        change = np.repeat([1, -1], len(self.asked))
        order = np.argsort(times, kind="stable")
        counts, gaps = np.cumsum(change[order])[:-1], np.diff(times[order])
        return float((counts * gaps).sum() / gaps.sum())


def at_random(rate: float, n: int, mean: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw n requests: times of a Poisson process, and geometric lengths of 1, 2, 3 ... tokens.

    Args:
        rate: requests a step; infinite: all are there at the beginning.
        n: number of requests.
        mean: of the lengths.
        seed: of the generator.
    """
    draw = np.random.default_rng(seed)
    return np.cumsum(draw.exponential(1 / rate, n)), draw.geometric(1 / mean, n)


def serve(
    asked: Sequence[float],
    lengths: Sequence[int],
    batch: int,
    continuous: bool = True,
    pace: Callable[[int], float] = lambda rows: 1.0,
    prompt: float = 0.0,
    padded: bool = True,
) -> Log:
    """Serve requests in the order in which they were asked.

    Args:
        asked: (n,) times, rising.
        lengths: (n,) tokens of each answer.
        batch: number of slots B.
        continuous: whether a free slot is given away at once, or when all are free.
        pace: time of a step with so many rows.
        prompt: time in which nothing is written, for each prompt that is read.
        padded: whether rows of a static batch that have ended are still computed.
    """
    n, log = len(asked), Log(np.array(asked, dtype=float), *(np.zeros(len(asked)) for _ in range(3)))
    rows: list[tuple[int, int]] = []  # (number of the step that is its last, request)
    free, clock, step, new, opened = list(range(batch)), 0.0, 0, 0, 0
    while new < n or rows:
        if not rows:
            clock = max(clock, float(asked[new]))
        if continuous or not rows:
            first = new
            while new < n and free and asked[new] <= clock:
                log.begun[new], log.slot[new] = clock, heapq.heappop(free)
                heapq.heappush(rows, (step + int(lengths[new]), new))
                new += 1
            clock, opened = clock + prompt * (new - first), len(rows)
        each = pace(opened if padded and not continuous else len(rows))
        steps = rows[0][0] - step  # until a row ends, or somebody comes for a free slot
        if continuous and free and new < n:
            steps = min(steps, max(1, math.ceil((asked[new] - clock) / each)))
        clock, step = clock + steps * each, step + steps
        while rows and rows[0][0] == step:
            _, done = heapq.heappop(rows)
            log.ended[done] = clock
            heapq.heappush(free, int(log.slot[done]))
    return log


def mean_of_longest(mean: float, n: int) -> float:
    r"""Mean of the longest of n geometric lengths: $\sum_{t \ge 0} 1 - (1 - q^t)^n$ with q = 1 - 1 / mean.

    Example:
        >>> mean_of_longest(2, 1), round(mean_of_longest(2, 2), 4)
        (2.0, 2.6667)
    """
    return float((1 - (1 - still_writing(mean, n)) ** n).sum())


def still_writing(mean: float, n: int) -> np.ndarray:
    """(T,) chance q^t that an answer is longer than t = 0, 1, ... tokens, until it is of no account for n answers."""
    q = 1 - 1 / mean
    most = 1 if q <= 0 else math.ceil(math.log(1e-18 / n) / math.log(q))
    return q ** np.arange(most)


def capacity(
    mean: float,
    batch: int,
    continuous: bool = True,
    pace: Callable[[int], float] = lambda rows: 1.0,
    prompt: float = 0.0,
    padded: bool = True,
) -> float:
    """Requests a step that can be served at most, as `serve` with geometric lengths and a queue that never empties.

    Example:
        >>> round(capacity(60, 16), 3), round(capacity(60, 16, continuous=False), 3)
        (0.267, 0.079)
    """
    if continuous:
        return 1 / (mean * pace(batch) / batch + prompt)
    if padded:
        return batch / (mean_of_longest(mean, batch) * pace(batch) + batch * prompt)
    q, time = still_writing(mean, batch), 0.0
    for rows in range(1, batch + 1):  # the number of rows that still write is binomial
        time += pace(rows) * math.comb(batch, rows) * float((q**rows * (1 - q) ** (batch - rows)).sum())
    return batch / (time + batch * prompt)


def mean_time(rate: float, mean: float, batch: int) -> float:
    """Mean time in a continuous batch, by Erlang's formula for B servers and exponential lengths; infinite beyond capacity.

    Example:
        >>> mean_time(0.5, 1, 1)
        2.0
    """
    load = rate * mean
    if load >= batch:
        return math.inf
    term = total = 1.0
    for k in range(1, batch):
        term *= load / k
        total += term
    full = term * load / batch / (1 - load / batch)
    return mean + full / (total + full) * mean / (batch - load)
