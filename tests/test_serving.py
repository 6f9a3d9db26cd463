"""The engine: every request as it would be alone, no block lost, nobody starved; speculation with the model's own law."""

import random
from collections import Counter

import pytest
import torch
from helpers import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from served import SHAPES, adapter, alone, decoder, drawn

from lecture_lib import generation
from lecture_lib.decoder import Decoder
from lecture_lib.quantization import quantize_model
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving import (
    BlockPool,
    Draft,
    Engine,
    OutOfBlocks,
    PagedCache,
    PromptLookup,
    QueueFull,
    Request,
    expected_tokens,
    prefix_hashes,
    residual,
    settle,
    speculate,
)
from lecture_lib.serving.blocks import beginning
from lecture_lib.transformer import ModelConfig

SIZES = [
    (40, 4, 8, 16, True),
    (10, 8, 8, 7, True),
    (20, 4, 3, 64, False),
    (70, 1, 8, 16, True),
    (8, 8, 16, 5, True),
]


GUESSERS = (None, "lookup", "draft")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_request_gets_what_it_would_get_alone(name, size):
    rng, model = random.Random(str(size)), decoder(name)
    common = [rng.randrange(40) for _ in range(12)]
    engine = Engine(model, *size[:4], share_prefixes=size[4], draft=decoder(name, rng.choice([0, 1])))
    requests = [drawn(rng, common, guessers=GUESSERS) for _ in range(20)]
    numbers = [engine.add(each) for each in requests]
    given = engine.run()
    for number, request in zip(numbers, requests, strict=True):
        assert given[number] == alone(model, request)
    pool = engine.scheduler.pool
    assert pool.n_free == size[0] and not any(pool.counts)
    if size in (SIZES[1], SIZES[4]):
        assert engine.counters.preempted > 0  # the load is larger than the cache: else nothing was tried
    assert (engine.counters.tokens_found > 0) == size[4]
    assert size != SIZES[0] or engine.counters.guesses["guessed"] > engine.counters.guesses["kept"] > 0


def many(rng, folder):
    """A model, plain or quantized, and none or two adapters of it: model, folders, and each adapter's model."""
    model, folders, adapted = decoder(rng.choice(list(SHAPES)), rng.randrange(3)), {}, {}
    bits = rng.choice([None, None, 8, 4])
    if bits:
        quantize_model(model, bits, rng.choice([None, 8]), progress=False)
    for i, targets in enumerate([["W_q", "W_v"], "all-linear"][: rng.choice([0, 2])]):
        folders[f"adapter {i}"] = folder / f"{rng.randrange(10**9)}"
        adapted[f"adapter {i}"] = adapter(model, folders[f"adapter {i}"], targets, 1 + 2 * i, seed=i)
    return model, folders, adapted


@pytest.mark.slow
def test_many_random_requests(tmp_path):
    """Ten thousand requests of every kind in engines of every size, some cancelled: each as alone, no block lost."""
    rng, done, guesses = random.Random(0), 0, Counter()
    while done < 10_000:
        (model, folders, adapted), size = many(rng, tmp_path), rng.choice(SIZES)
        draft = rng.choice([None, model, decoder(rng.choice(list(SHAPES)), rng.randrange(3))])
        common = [rng.randrange(40) for _ in range(12)]
        engine = Engine(model, *size[:4], share_prefixes=size[4], adapters=folders, draft=draft)
        guessers = GUESSERS if draft else GUESSERS[:2]
        asked = [drawn(rng, common, list(folders), guessers) for _ in range(250)]
        requests = {engine.add(each): each for each in asked}
        cancelled = set(rng.sample(sorted(requests), 20))
        given = {number: {} for number in requests}
        while engine.alive:
            for output in engine.step():
                given[output.request].setdefault(output.sample, []).append(output.token)
            if cancelled and rng.random() < 0.3:
                engine.cancel(cancelled.pop())
        for number in rng.sample(sorted(requests), 25):  # all are served, a tenth is computed again alone
            expected = alone(model, requests[number], adapted)
            for i, tokens in given[number].items():
                assert tokens == expected[i][: len(tokens)]
        assert engine.scheduler.pool.n_free == size[0]
        done += len(requests)
        guesses += engine.counters.guesses
    assert guesses["guessed"] > guesses["kept"] > 1000


class Machine(RuleBasedStateMachine):
    """Any order of asking, stepping and cancelling keeps every block accounted for."""

    @initialize(
        blocks=st.integers(6, 30),
        size=st.integers(1, 6),
        budget=st.integers(1, 30),
        running=st.integers(1, 6),
    )
    def start(self, blocks, size, budget, running):
        self.engine = Engine(MODEL, blocks, size, running, budget, max_waiting=6, draft=DRAFT)
        self.steps = {}

    @rule(seed=st.integers(0, 10**6))
    def ask(self, seed):
        request = drawn(random.Random(seed), range(12), guessers=GUESSERS)
        try:
            self.steps[self.engine.add(request)] = 0
        except (ValueError, QueueFull):
            assert (
                len(request.prompt) + request.max_new_tokens - 1 > self.room()
                or len(self.engine.scheduler.waiting) >= 6
            )

    def room(self):
        return min(64, self.engine.scheduler.pool.n_blocks * self.engine.cache.block_size)

    @rule(n=st.integers(1, 8))
    def go(self, n):
        for _ in range(n):
            self.engine.step()

    @rule(which=st.integers(0, 30))
    def cancel(self, which):
        self.engine.cancel(which)

    @rule()
    def finish(self):
        """Nothing starves, and nothing waits for ever: the work is bounded."""
        for _ in range(5000):
            if not self.engine.alive:
                break
            self.engine.step()
        assert (
            not self.engine.alive and self.engine.scheduler.pool.n_free == self.engine.scheduler.pool.n_blocks
        )

    @invariant()
    def every_block_is_counted(self):
        if not hasattr(self, "engine"):
            return
        scheduler, pool = self.engine.scheduler, self.engine.scheduler.pool
        held = [block for text in [*scheduler.running, *scheduler.waiting] for block in text.table]
        for text in self.engine.alive.values():
            for each in text:
                assert each in scheduler.running or not each.table
        assert [held.count(block) for block in range(pool.n_blocks)] == pool.counts
        assert {block for block, count in enumerate(pool.counts) if count == 0} == set(pool.free)
        assert {pool.by_hash[known]: known for known in pool.by_hash} == pool.hash_of
        for text in scheduler.running:
            assert len(text.table) == -(-text.computed // self.engine.cache.block_size) and not text.guess


MODEL, DRAFT = decoder(), decoder("gpt2", 1)
TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None, derandomize=True)


def test_a_stored_beginning_is_not_computed_again():
    engine = Engine(MODEL, n_blocks=32, block_size=4)
    prompt = tuple(range(20))
    first = engine.add(Request(prompt, 4, SamplingParameters(temperature=0)))
    one = engine.run()[first]
    computed = engine.counters.tokens_computed
    second = engine.add(Request((*prompt, 30), 4, SamplingParameters(temperature=0)))
    engine.run()
    assert engine.counters.tokens_found == 20 and engine.counters.tokens_computed == computed + 1 + 3
    third = engine.add(
        Request(prompt, 4, SamplingParameters(temperature=0))
    )  # its last token is computed in any case
    assert engine.run()[third] == one and engine.counters.tokens_found == 20 + 16
    assert second != third


def test_samples_share_the_blocks_of_their_prompt():
    engine = Engine(MODEL, n_blocks=32, block_size=4)
    engine.add(Request(tuple(range(18)), 5, n=4))
    engine.step()
    tables = [text.table for text in engine.scheduler.running]
    assert len(tables) == 4 and len({tuple(table[:4]) for table in tables}) == 1
    assert engine.scheduler.pool.counts[tables[0][0]] == 4
    engine.step()
    lasts = [text.table[4] for text in engine.scheduler.running]
    assert len(set(lasts)) == 4  # written into: copied


def test_waste_is_less_than_a_block_a_text():
    engine = Engine(MODEL, n_blocks=64, block_size=4)
    for i in range(8):
        engine.add(Request(tuple(range(1, 20 + i)), 12))
    engine.run()
    assert 0 < max(engine.counters.waste) < 3 / 19


def test_what_can_never_fit_is_refused_at_once():
    engine = Engine(MODEL, n_blocks=4, block_size=4, max_waiting=1)
    with pytest.raises(ValueError, match="do not fit: the context has 64, the cache 16"):
        engine.add(Request((1,) * 10, 8))
    with pytest.raises(ValueError, match="0 ... 39"):
        engine.add(Request((40,), 1))
    with pytest.raises(ValueError, match="at least one token"):
        Request((), 1)
    with pytest.raises(ValueError, match="tokenizer"):
        Request((1,), 1, stop="x")
    engine.add(Request((1,), 1))
    with pytest.raises(QueueFull, match="try again"):
        engine.add(Request((1,), 1))
    with pytest.raises(ValueError, match="eval"):
        Engine(
            Decoder(
                ModelConfig(vocab_size=4, d_model=4, n_heads=1, n_layers=1, context_length=4, dropout=0.1)
            )
        )


def test_other_weights_are_noticed():
    model = decoder()
    engine = Engine(model, n_blocks=8, block_size=4)
    engine.add(Request((1, 2), 3))
    engine.step()
    with torch.no_grad():
        model.head.weight.add_(1)
    with pytest.raises(RuntimeError, match="other weights"):
        engine.step()


def test_a_consumer_that_stops_reading_frees_its_blocks():
    engine = Engine(MODEL, n_blocks=16, block_size=4)
    reading = engine.stream(Request((1, 2, 3), 20))
    assert [next(reading).token for _ in range(3)]
    reading.close()
    assert engine.scheduler.pool.n_free == 16 and not engine.alive
    request = Request((1, 2, 3), 6, seed=5)
    assert [each.token for each in engine.stream(request)] == alone(MODEL, request)[0]


def test_a_text_without_a_token_left_ends_alone():
    engine = Engine(MODEL, n_blocks=16, block_size=4)
    none = SamplingParameters(suppress_tokens=tuple(range(40)))
    bad, good = engine.add(Request((1, 2), 3, none)), Request((1, 2), 3, seed=4)
    number = engine.add(good)
    outputs = []
    while engine.alive:
        outputs += engine.step()
    assert [(each.token, each.finished) for each in outputs if each.request == bad] == [(-1, "error")]
    assert [each.token for each in outputs if each.request == number] == alone(MODEL, good)[0]
    assert engine.scheduler.pool.n_free == 16


def test_end_tokens_of_one_text_are_not_ruled_out_for_another():
    sampling = SamplingParameters(temperature=1.0, min_new_tokens=6)
    one = Request((1, 2, 3), 8, sampling, seed=1, stop=tuple(range(20)))
    two = Request((1, 2, 3), 8, sampling, seed=2, stop=tuple(range(20, 40)))
    engine = Engine(MODEL, n_blocks=16, block_size=4)
    numbers = [engine.add(one), engine.add(two)]
    given = engine.run()
    assert [given[number] for number in numbers] == [alone(MODEL, one), alone(MODEL, two)]


def test_events_tell_the_story_of_a_request():
    engine = Engine(MODEL, n_blocks=16, block_size=4, budget=4)
    number = engine.add(Request(tuple(range(10)), 3, SamplingParameters(temperature=0)))
    engine.run()
    assert [(what, n) for _, what, _, _, n in engine.events] == [
        ("asked", 10),
        *[("computed", n) for n in (4, 4, 2, 1, 1)],
        ("length", 3),
    ]
    assert set(engine.counters.first_token) == {number}


def test_blocks():
    pool = BlockPool(3)
    a, b = pool.take(), pool.take()
    pool.remember(a, b"x")
    pool.give_back(a)
    pool.give_back(b)
    assert pool.find([b"x", b"y"]) == [a]
    assert pool.take() == b  # nothing worth keeping goes first, then what was unused for longest
    pool.share(a)
    assert pool.n_free == 1 and pool.find([b"x"]) == [a]
    pool.give_back(a)
    assert {pool.take(), pool.take()} == {a, 2} and pool.find([b"x"]) == []
    with pytest.raises(OutOfBlocks, match="all 3 blocks"):
        pool.take()
    with pytest.raises(ValueError, match="held by nobody"):
        BlockPool(1).give_back(0)


@given(st.lists(st.integers(0, 3), max_size=20), st.lists(st.integers(0, 3), max_size=20), st.integers(1, 5))
def test_hashes_are_equal_exactly_for_equal_beginnings(a, b, size):
    for i, (x, y) in enumerate(zip(prefix_hashes(a, size), prefix_hashes(b, size), strict=False)):
        assert (x == y) == (a[: (i + 1) * size] == b[: (i + 1) * size])


def test_hashes_do_not_run_tokens_together():
    assert prefix_hashes([1, 23], 2) != prefix_hashes([12, 3], 2)


def test_a_chain_of_hashes_goes_on_where_it_ended():
    ids = [random.Random(0).randrange(50) for _ in range(23)]
    whole = prefix_hashes(ids, 5)
    assert len(whole) == 4
    for n in range(1, 4):
        assert prefix_hashes(ids[: 5 * n], 5) + prefix_hashes(ids[5 * n :], 5, whole[n - 1]) == whole
    others = [beginning(each) for each in (None, "a", "b")]
    assert len({prefix_hashes(ids, 5, each)[0] for each in others}) == 3


@pytest.mark.parametrize("name", SHAPES)
def test_a_paged_forward_is_the_plain_one(name):
    model, size = decoder(name), 4
    cache = PagedCache(model.config, 12, size, torch.float64)
    ids = torch.randint(40, (2, 11), generator=seeded(2))
    tables = [[7, 2, 9], [0, 11, 5]]
    with torch.inference_mode():
        first = model.features(ids[:, :6], here=cache.begin(tables, [0, 0], [6, 4]))
        second = model.features(
            torch.stack([ids[0, 6:11], ids[1, 4:9]]), here=cache.begin(tables, [6, 4], [5, 5])
        )
        whole = model.features(ids)
    assert torch.allclose(first[0], whole[0, :6]) and torch.allclose(first[1, :4], whole[1, :4])
    assert torch.allclose(second[0], whole[0, 6:]) and torch.allclose(second[1], whole[1, 4:9])


# --- speculation ---


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("guesser", ["draft", "itself", "lookup"])
def test_greedy_speculation_gives_the_models_tokens(name, guesser):
    model, greedy = decoder(name), SamplingParameters(temperature=0)
    made = {
        "draft": Draft(decoder(name, 1), greedy),
        "itself": Draft(model, greedy),
        "lookup": PromptLookup(40),
    }[guesser]
    for seed in range(4):
        ids = torch.randint(40, (7,), generator=seeded(seed)).tolist() * 2
        want = generation.generate(model, ids, 20, greedy, stop=[5]).tolist()
        done = speculate(model, made, ids, 20, 3, greedy, stop=[5])
        assert done.ids == want
        if guesser == "itself":
            assert done.kept == done.guessed and done.looks <= 6


def test_the_law_of_a_speculated_token_is_the_models():
    """Exactly: sum over guesses and coins, for laws drawn at random."""
    for seed in range(20):
        p, q = torch.rand(2, 6, generator=seeded(seed), dtype=torch.float64).softmax(-1) ** (1 + seed % 4)
        p, q = p / p.sum(), q / q.sum()
        kept = torch.minimum(torch.ones(6), p / q)
        law = q * kept + (q * (1 - kept)).sum() * residual(p, q)
        assert torch.allclose(law, p)
        assert torch.isclose((q * kept).sum(), 1 - 0.5 * (p - q).abs().sum())  # kept with 1 - TV(p, q)


@pytest.mark.slow
def test_settle_draws_that_law():
    """By chi-squared over 20,000 draws of two places; false alarms less than once in a million."""
    from scipy.stats import chi2

    p = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6]], dtype=torch.float64)
    q = torch.tensor([[0.2, 0.6, 0.2], [0.6, 0.3, 0.1]], dtype=torch.float64)
    generator, n, first, second = seeded(1), 20_000, torch.zeros(3), torch.zeros(3)
    for _ in range(n):
        guess = [int(torch.multinomial(row, 1, generator=generator)) for row in q]
        settled = settle(p, q, guess, generator)
        first[settled[0][0]] += 1
        if len(settled) > 1:
            second[settled[1][0]] += 1
    for seen, law in ((first, p[0]), (second, p[1])):
        expected = law * seen.sum()
        assert ((seen - expected) ** 2 / expected).sum() < chi2.isf(1e-6, 2)


def test_expected_tokens_is_the_mean_of_settled_ones():
    for a in (0.0, 0.3, 0.9, 1.0):
        for n in (0, 1, 5):
            exact = sum((k + 1) * a**k * (1 - a) for k in range(n)) + (n + 1) * a**n
            assert expected_tokens(a, n) == pytest.approx(exact)


def test_speculation_refuses_what_depends_on_the_text():
    with pytest.raises(ValueError, match="guessing ahead"):
        speculate(MODEL, PromptLookup(40), [1], 3, sampling=SamplingParameters(repetition_penalty=1.2))
