"""Guesses inside a batch: the tokens of the request alone, the model's own law, and what they save."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from helpers import seeded
from served import Letters, Turns, alone, decoder

from lecture_lib.decoder import Decoder
from lecture_lib.sampling import SamplingParameters, process_logits
from lecture_lib.serving import Engine, Request
from lecture_lib.serving.guide import Pattern
from lecture_lib.tokenization import BytePairTokenizer
from lecture_lib.transformer import ModelConfig

GREEDY = SamplingParameters(temperature=0)
WARM = SamplingParameters(temperature=0.8, top_k=4, repetition_penalty=1.1)


def small(vocab_size, seed):
    config = ModelConfig(vocab_size=vocab_size, d_model=8, n_heads=2, n_layers=1, context_length=16)
    return Decoder(config, seeded(seed)).double().eval()


@pytest.mark.slow
def test_a_draft_that_is_the_model_is_always_right():
    """5 guesses and the token behind them each step, drawn or greedy, whatever depends on the text."""
    model = decoder()
    for sampling in (GREEDY, WARM):
        for guide in (None, lambda: Turns(25)):
            engine = Engine(model, 32, 4, draft=copy.deepcopy(model))
            request = Request((1, 2, 3), 25, sampling, guide=guide, guesser="draft", n_guesses=5)
            number = engine.add(request)
            assert engine.run()[number] == alone(model, request)
            assert engine.counters.guesses["kept"] == engine.counters.guesses["guessed"] == 20
            assert engine.counters.steps == 1 + 24 // 6  # the prompt gives one token, each step six


@pytest.mark.slow
@pytest.mark.parametrize("guesser", ["lookup", "draft"])
def test_the_law_of_what_is_given_is_the_models(guesser):
    """By chi-squared over all texts of three tokens, 6,000 samples; a false alarm less than once in a million."""
    from scipy.stats import chi2

    model, draft, n = small(4, 0), small(4, 1), 6000
    with torch.no_grad():
        for each in (model, draft):
            each.head.weight.mul_(20)  # far from uniform, and from one another
    sampling, prompt = SamplingParameters(temperature=1.5), (1, 2, 3, 1, 2)
    engine = Engine(model, 400, 8, 1, 400, draft=draft)  # the 60 samples of one request at a time
    for seed in range(0, n, 60):
        engine.add(Request(prompt, 3, sampling, n=60, seed=seed, guesser=guesser, n_guesses=2))
    given = [tuple(tokens) for each in engine.run().values() for tokens in each]
    expected, seen = [], []
    for text in itertools.product(range(4), repeat=3):
        with torch.no_grad():
            laws = process_logits(model(torch.tensor([[*prompt, *text]]))[0], sampling).softmax(-1)
        expected.append(n * float(torch.stack([laws[4 + i, token] for i, token in enumerate(text)]).prod()))
        seen.append(given.count(text))
    rare = [e < 5 for e in expected]
    pairs = [(e, s) for e, s, r in zip(expected, seen, rare, strict=True) if not r]
    pairs.append(tuple(sum(x for x, r in zip(side, rare, strict=True) if r) for side in (expected, seen)))
    assert sum(e for e, _ in pairs) == pytest.approx(n) and len(pairs) > 8
    assert sum((s - e) ** 2 / e for e, s in pairs if e) < chi2.isf(1e-6, len(pairs) - 1)
    kept, guessed = engine.counters.guesses["kept"], engine.counters.guesses["guessed"]
    assert 0.05 * guessed < kept < 0.95 * guessed  # both ways are walked


@pytest.mark.slow
def test_how_often_two_models_draw_the_same():
    r"""The share of guesses kept, 1 / sum_j max(p_j / p_i, q_j / q_i) summed over i, for laws that are known."""
    model, draft = small(5, 0), small(5, 3)
    with torch.no_grad():
        for each in (model, draft):
            each.head.weight.mul_(10)
    engine, n, prompt = Engine(model, 600, 4, 1, 600, draft=draft), 4000, (1, 2)
    for seed in range(0, n, 50):
        engine.add(Request(prompt, 3, n=50, seed=seed, guesser="draft", n_guesses=1))
    engine.run()
    share = 0.0
    with torch.no_grad():
        start = model(torch.tensor([prompt]))[0, -1].softmax(-1)
        for token in range(5):
            ids = torch.tensor([[*prompt, token]])
            p, q = model(ids)[0, -1].softmax(-1), draft(ids)[0, -1].softmax(-1)
            same = sum(1 / float(torch.maximum(p / p[i], q / q[i]).sum()) for i in range(5))
            distance = 0.5 * float((p - q).abs().sum())
            assert (1 - distance) / (1 + distance) <= same + 1e-9 <= 1 - distance + 2e-9
            share += float(start[token]) * same
    kept, guessed = engine.counters.guesses["kept"], engine.counters.guesses["guessed"]
    assert guessed == n and abs(kept / n - share) < 5 * (share * (1 - share) / n) ** 0.5


@pytest.mark.slow
def test_some_guess_while_others_decode():
    model = decoder("gpt2")
    requests = [
        Request((1, 2, 3), 20, GREEDY),
        Request((4, 5) * 4, 20, GREEDY, guesser="lookup", n_guesses=5),
        Request((6, 7, 8), 20, WARM, n=3, guesser="draft"),
        Request((9, 8) * 3, 20, WARM, guesser="lookup", stop=("bb", 3), tokenizer=Letters()),
    ]
    engine = Engine(model, 64, 4, draft=decoder("gpt2", 1))
    numbers = [engine.add(each) for each in requests]
    given = engine.run()
    assert [given[number] for number in numbers] == [alone(model, each) for each in requests]
    guessed = [n for _, what, number, _, n in engine.events if what == "guessed" and number == numbers[1]]
    kept = [n for _, what, number, _, n in engine.events if what == "kept" and number == numbers[1]]
    steps = sum(what == "computed" and number == numbers[1] for _, what, number, _, _ in engine.events)
    assert len(guessed) == len(kept) and max(guessed) <= 5
    assert steps == len(given[numbers[1]][0]) - sum(kept) or given[numbers[1]][0][-1] in (3, 17)
    assert not any(what == "guessed" and number == numbers[0] for _, what, number, _, _ in engine.events)


def test_guesses_take_nothing_from_others():
    """With a budget or a cache that the others fill nothing is guessed, and nobody is thrown out for a guess."""
    model = decoder()
    for blocks, budget in ((64, 1), (10, 64)):
        counts = []
        for guesser in (None, "draft"):
            engine = Engine(model, blocks, 2, 2, budget, draft=decoder("llama", 1))
            for i in range(2):
                engine.add(Request((i, 2, 3, 4), 7, GREEDY, guesser=guesser))
            engine.run()
            counts.append((engine.counters.preempted, engine.counters.guesses["guessed"] > 0))
        assert counts[0][0] == counts[1][0] == 0 and counts[1][1] == (budget > 1)


def test_structured_output_is_guessed_too():
    tokenizer = BytePairTokenizer.train(["yes no maybe " * 20], 270)
    n = max(tokenizer.tokens) + 1
    config = ModelConfig(vocab_size=n, d_model=16, n_heads=2, n_layers=1, context_length=64)
    model = Decoder(config, seeded(0)).double().eval()
    request = Request(
        tuple(tokenizer.encode("yes")),
        30,
        seed=3,
        guide=Pattern("(yes|no|maybe){6}", tokenizer),
        guesser="draft",
    )
    given = []
    for asked in (request, replace(request, guesser=None)):
        engine = Engine(model, 32, 4, draft=copy.deepcopy(model))
        given.append(engine.run() if engine.add(asked) else engine.run())
        kept = engine.counters.guesses
        assert kept["guessed"] == kept["kept"] and (kept["kept"] > 0) == (asked is request)
    assert given[0] == given[1]


def test_what_cannot_guess_is_refused():
    model = decoder()
    with pytest.raises(ValueError, match="the engine has none"):
        Engine(model, 8, 4).add(Request((1,), 1, guesser="draft"))
    with pytest.raises(ValueError, match="guesser must be one of"):
        Request((1,), 1, guesser="luck")
    with pytest.raises(ValueError, match="n_guesses"):
        Request((1,), 1, guesser="lookup", n_guesses=0)
    with pytest.raises(ValueError, match="it has 4 and 16"):
        Engine(model, draft=small(4, 0))
    draft = decoder("gpt2", 1)
    engine = Engine(model, 8, 4, draft=draft)
    engine.add(Request((1, 2), 3))
    engine.step()
    with torch.no_grad():
        draft.head.weight.add_(1)
    with pytest.raises(RuntimeError, match="other weights"):
        engine.step()
