"""The queue before a batch: theory against counting, the simulation against the engine, Little's law for every way."""

import itertools
import math

import numpy as np
import pytest
from helpers import seeded

from lecture_lib.decoder import Decoder
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving import Engine, Request
from lecture_lib.serving.queues import at_random, capacity, mean_of_longest, mean_time, serve
from lecture_lib.transformer import ModelConfig

WAYS = [
    dict(continuous=True),
    dict(continuous=False),
    dict(continuous=True, pace=lambda n: max(1, n / 3), prompt=2.0),
    dict(continuous=False, pace=lambda n: max(1, n / 3), prompt=2.0),
    dict(continuous=False, pace=lambda n: max(1, n / 3), padded=False),
]


def test_four_answers_in_two_rows_by_hand():
    assert serve([0] * 4, [3, 9, 4, 8], 2, continuous=False).ended.tolist() == [3, 9, 13, 17]
    log = serve([0] * 4, [3, 9, 4, 8], 2)
    assert log.ended.tolist() == [3, 9, 7, 15]
    assert log.slot.tolist() == [0, 1, 0, 0] and log.begun.tolist() == [0, 0, 3, 7]


@pytest.mark.parametrize(("mean", "n"), [(2, 2), (5, 3), (60, 16)])
def test_the_mean_of_the_longest_by_inclusion_and_exclusion(mean, n):
    q = 1 - 1 / mean
    exact = sum((-1) ** (k + 1) * math.comb(n, k) / (1 - q**k) for k in range(1, n + 1))
    assert mean_of_longest(mean, n) == pytest.approx(exact, rel=1e-9)


def test_the_lecture_s_batch():
    """The two capacities of the chapter, and the harmonic number that is nearly their ratio."""
    static, continuous = capacity(60, 16, continuous=False), capacity(60, 16)
    assert static == pytest.approx(0.0793, abs=5e-5) and continuous == pytest.approx(0.2667, abs=5e-5)
    harmonic = sum(1 / k for k in range(1, 17))
    assert continuous / static == pytest.approx(harmonic, rel=0.01)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: ", ".join(way))
def test_little_s_law_is_an_identity(way):
    log = serve(*at_random(0.11, 300, 20, seed=1), 5, **way)
    assert log.in_system == pytest.approx(log.rate * log.mean_time, rel=1e-12)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: ", ".join(way))
def test_a_full_line_is_served_at_capacity(way):
    found = []
    for seed in range(6):
        log = serve(*at_random(math.inf, 3000, 12, seed), 6, **way)
        last = log.begun.max()
        found.append((log.ended <= last).sum() / last)
    assert np.mean(found) == pytest.approx(capacity(12, 6, **way), rel=0.03)


def test_the_mean_time_far_below_capacity_is_erlang_s():
    """Long answers, so that geometric is nearly exponential and a step is short."""
    found = np.mean([serve(*at_random(0.009, 6000, 200, seed), 3).mean_time for seed in range(8)])
    assert found == pytest.approx(mean_time(0.009, 200, 3), rel=0.05)
    assert mean_time(0.3, 60, 16) == math.inf and mean_time(1e-9, 60, 16) == pytest.approx(60)


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_the_simulation_is_the_engine(rows):
    """Requests that come at whole steps, one token of prompt: every answer ends at the same step."""
    draw = np.random.default_rng(rows)
    asked, lengths = np.sort(draw.integers(0, 30, 15)), draw.geometric(0.15, 15)
    config = ModelConfig(20, 8, 2, 1, context_length=64, positions="rotary")
    engine = Engine(Decoder(config, seeded(0)).eval(), n_blocks=99, block_size=4, max_running=rows)
    due = dict(enumerate(asked))
    for t in itertools.count():
        for i in [i for i, when in due.items() if when == t]:
            engine.add(Request((i + 1,), int(lengths[i]), SamplingParameters(temperature=0)))
            del due[i]
        if not due and not engine.alive:
            break
        engine.step()
    ends = {number: step + 1 for step, what, number, *_ in engine.events if what == "length"}
    log = serve(asked, lengths, rows)
    assert [ends[i] for i in range(15)] == log.ended.tolist()
