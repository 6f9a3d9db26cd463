"""Sampling and beam search: against transformers, torch.multinomial, enumeration and the chi-square test."""

import doctest
import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel
from transformers.generation import logits_process as theirs

from lecture_lib import sampling
from lecture_lib.sampling import (
    SamplingParameters,
    apply_temperature,
    beam_search,
    constrain,
    draw,
    greedy,
    heat_capacity,
    lookahead_probs,
    min_p,
    process_logits,
    repetition_penalty,
    sample,
    text_log_probs,
    top_k,
    top_p,
)

INF = math.inf
PLAYGROUND = SamplingParameters(temperature=0.7, top_p=0.7, top_k=50, repetition_penalty=1.0)


def gpt2(seed: int = 0, vocab_size: int = 23, **options) -> GPT2LMHeadModel:
    """A tiny random model whose distributions are far from flat."""
    torch.manual_seed(seed)
    sizes = {"n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 24, "initializer_range": 0.5}
    tokens = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocab_size, **{**sizes, **tokens, **options})).eval()


def last_logits(model):
    return lambda ids: model(ids).logits[:, -1]


# The lecture's worked example


def test_the_playground_by_hand():
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    colder = apply_temperature(logits, 0.5)  # p² is 16 : 9 : 4 : 1
    torch.testing.assert_close(colder.softmax(-1), torch.tensor([16, 9, 4, 1]) / 30)
    three = top_k(colder, 3)
    torch.testing.assert_close(three.softmax(-1), torch.tensor([16, 9, 4, 0]) / 29)
    nucleus = top_p(three, 0.7)  # 16/29 = 0.55 does not reach 0.7; 25/29 does
    torch.testing.assert_close(nucleus.softmax(-1), torch.tensor([16, 9, 0, 0]) / 25)
    torch.testing.assert_close(min_p(nucleus, 0.6).softmax(-1), torch.tensor([1.0, 0, 0, 0]))  # 9/16 < 0.6
    knobs = SamplingParameters(temperature=0.5, top_k=3, top_p=0.7)
    assert torch.equal(process_logits(logits, knobs), nucleus)


@pytest.mark.parametrize(
    "module", [sampling.filters, sampling.sampler, sampling.beam], ids=lambda m: m.__name__
)
def test_the_examples_in_the_docstrings(module):
    result = doctest.testmod(module, extraglobs={"torch": torch})
    assert result.attempted and not result.failed


# An independent oracle: transformers

CASES = {
    "random": torch.randn(3, 17, generator=seeded(1)) * 3,
    "ties": torch.randint(-2, 3, (5, 11), generator=seeded(2)).float(),
    "all equal": torch.full((2, 11), -1.5),  # 11: no p below is k / 11, where their sum rounds
    "ruled out": torch.randn(4, 9, generator=seeded(3)).masked_fill(
        torch.rand(4, 9, generator=seeded(4)) < 0.4, -INF
    ),
    "one left": torch.tensor([[-INF, 2.0, -INF], [-INF, -INF, -3.0]]),
    "one token": torch.tensor([[0.3], [-0.2]]),
    "far apart": torch.tensor([[1e4, -1e4, 0.0, 9e3, 30.0], [0.0, 1e-30, -1e-30, 5.0, 88.0]]),
    "large vocabulary": torch.randn(2, 5003, generator=seeded(5)) * 2,
}
FILTERS = {
    "temperature": (apply_temperature, theirs.TemperatureLogitsWarper, (0.01, 0.7, 1.0, 3.0)),
    "top_k": (top_k, theirs.TopKLogitsWarper, (1, 2, 5, 17, 100000)),
    "top_p": (top_p, theirs.TopPLogitsWarper, (0.0, 1e-6, 0.1, 0.3, 0.5, 0.7, 0.95, 1.0)),
    "min_p": (min_p, theirs.MinPLogitsWarper, (0.0, 0.05, 0.5, 1.0)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FILTERS)
def test_filters_equal_transformers(name, case):
    ours, warper, values = FILTERS[name]
    logits = CASES[case]
    for value in values:
        for dtype in (torch.float32, torch.float64):
            given_logits = logits.to(dtype)
            expected = warper(value)(None, given_logits.clone())
            result = ours(given_logits, value)
            assert torch.equal(result, expected), (value, dtype)
            assert torch.equal(given_logits, logits.to(dtype))  # the input is left as it was


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3, 10.0])
def test_repetition_penalty_equals_transformers(case, penalty):
    logits = CASES[case]
    ids = torch.randint(0, logits.shape[1], (len(logits), 7), generator=seeded(6))
    expected = theirs.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    assert torch.equal(repetition_penalty(logits, ids, penalty), expected)
    assert torch.equal(repetition_penalty(logits, ids.int(), penalty), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_half_precision_keeps_the_tokens_that_single_precision_keeps(case, dtype):
    logits = CASES[case].to(dtype)
    for name, (ours, warper, values) in FILTERS.items():
        for value in values[1:]:
            result = ours(logits, value)
            assert result.dtype == dtype
            if name == "temperature":
                assert torch.equal(result, warper(value)(None, logits))
            else:
                kept = warper(value)(None, logits.float()) > -INF
                assert torch.equal(result, logits.masked_fill(~kept, -INF)), (name, value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_of_n_equal_tokens_k_of_n_keeps_k(dtype):
    for n in (*range(2, 40), 97, 50_257):
        for k in range(1, n + 1, 1 + n // 20):
            assert (top_p(torch.full((n,), -3.25, dtype=dtype), k / n) > -INF).sum() == k, (n, k)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("offset", [0.0, 5.0, -20.0])
def test_a_nucleus_that_reaches_p_exactly_holds_no_token_more(dtype, offset):
    rng = random.Random(0)
    for _ in range(200):
        weights = sorted(
            (rng.choice([1, 2, 3, 5, 10, 50, 1000]) for _ in range(rng.randint(2, 30))), reverse=True
        )
        sums = [Fraction(total, sum(weights)) for total in itertools.accumulate(weights)]
        logits = (torch.tensor(weights, dtype=torch.float64).log() + offset).to(dtype)
        for p in rng.sample(sums, 2):
            assert (top_p(logits, float(p)) > -INF).sum() == sums.index(p) + 1, (weights, p)
        ratio = rng.choice(weights) / weights[0]
        assert (min_p(logits, ratio) > -INF).sum() == sum(w >= ratio * weights[0] - 1e-9 for w in weights)


def test_beside_an_exact_sum_the_docstring_decides():
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    for dtype, step in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        logits = probs.log().to(dtype)
        kept = [int((top_p(logits, p) > -INF).sum()) for p in (0.8 - step, 0.8, 0.8 + step)]
        assert kept == [2, 2, 3]
    rare = torch.tensor([0.0, -30.0, -60.0])
    assert (top_p(rare, 1.0) > -INF).all() and (top_p(rare, 0.0) > -INF).sum() == 1
    assert (min_p(torch.tensor([1.0, 1.0 - 1e-6]), 1.0) > -INF).sum() == 1


@pytest.mark.parametrize(
    "knobs",
    [
        {"temperature": 0.7, "top_k": 50, "top_p": 0.7},
        {"temperature": 1.7, "top_k": 6, "top_p": 0.8, "min_p": 0.12, "repetition_penalty": 1.4},
        {"top_p": 0.9, "repetition_penalty": 0.8},
        {"temperature": 0.4, "min_p": 0.3},
        {},
    ],
)
def test_the_order_is_that_of_transformers(knobs):
    defaults = {"top_k": 0, "top_p": 1.0, "temperature": 1.0, "repetition_penalty": 1.0}
    config = GenerationConfig(do_sample=True, num_beams=1, **(defaults | knobs))
    processors = gpt2()._get_logits_processor(config, input_ids_seq_length=6)
    for case in CASES.values():
        ids = torch.randint(0, case.shape[1], (len(case), 6), generator=seeded(7))
        expected = processors(ids, case.clone())
        assert torch.equal(process_logits(case, SamplingParameters(**knobs), ids), expected)
        half = case.bfloat16()  # transformers, too, chooses in float32
        expected = processors(ids, half.float())
        assert torch.equal(process_logits(half, SamplingParameters(**knobs), ids), expected)


def test_draws_are_those_of_multinomial():
    logits = torch.randn(5, 301, generator=seeded(8)) * 3
    for seed in range(20):
        expected = torch.multinomial(logits.softmax(-1), 1, generator=seeded(seed))[:, 0]
        assert torch.equal(draw(logits, seeded(seed)), expected)


def test_the_nucleus_against_a_loop_in_exact_fractions():
    probs = [3 / 16, 1 / 16, 8 / 16, 2 / 16, 2 / 16]
    logits = torch.tensor(probs, dtype=torch.float64).log()
    for sixteenths in range(1, 16):
        kept, mass = set(), 0
        for i in sorted(range(5), key=lambda i: (-probs[i], -i)):
            if mass * 16 >= sixteenths:
                break
            kept, mass = kept | {i}, mass + probs[i]
        p = sixteenths / 16 - 1e-9  # beside the boundary: on it, rounding decides
        result = top_p(logits, p)
        assert set((result > -INF).nonzero()[:, 0].tolist()) == kept


# Properties

logits_of_any_kind = st.lists(
    st.lists(st.floats(-30, 30, width=32) | st.just(-INF), min_size=6, max_size=6).filter(
        lambda row: max(row) > -INF
    ),
    min_size=1,
    max_size=4,
).map(torch.tensor)


@settings(max_examples=60, deadline=None)
@given(logits_of_any_kind, st.floats(0.05, 20), st.integers(1, 8), st.floats(0, 1), st.floats(0, 1))
def test_what_filters_keep(logits, temperature, k, p, ratio):
    best = logits.max(-1).values
    for result in (top_k(logits, k), top_p(logits, p), min_p(logits, ratio)):
        kept = result > -INF
        assert torch.equal(result[kept], logits[kept])  # what stays keeps its logit
        assert torch.equal(result.max(-1).values, best)  # the best always stays
    assert ((top_k(logits, k) > -INF).sum(-1) >= (logits > -INF).sum(-1).clamp(max=k)).all()
    probs = logits.double().softmax(-1)
    nucleus = probs.where(top_p(logits, p) > -INF, 0)
    assert (nucleus.sum(-1) >= p - 1e-6).all()
    smallest = nucleus.where(nucleus > 0, INF).min(-1).values
    assert (nucleus.sum(-1) - smallest < p + 1e-6).all()  # without its last token it would not reach p
    assert torch.equal(greedy(apply_temperature(logits.double(), temperature)), greedy(logits.double()))
    token = sample(logits, SamplingParameters(temperature, k, p, ratio), generator=seeded(0))
    assert (logits.gather(-1, token[:, None]) > -INF).all()


def test_any_batch_axes():
    logits = torch.randn(2, 3, 7, generator=seeded(9))
    ids = torch.randint(0, 7, (2, 3, 4), generator=seeded(10))
    lengths = torch.randint(0, 5, (2, 3), generator=seeded(11))
    knobs = SamplingParameters(0.8, 4, 0.9, 0.1, 1.5)
    result = process_logits(logits, knobs, ids, lengths)
    for i, j in itertools.product(range(2), range(3)):
        alone = process_logits(logits[i, j], knobs, ids[i, j, : lengths[i, j]])
        assert torch.equal(result[i, j], alone)
    assert sample(logits, knobs, ids, lengths=lengths).shape == (2, 3)
    assert sample(logits[0, 0], knobs, ids[0, 0]).shape == ()


def test_padding_has_not_appeared():
    logits = torch.tensor([[1.0, 2.0, -1.0], [1.0, 2.0, -1.0], [1.0, 2.0, -1.0]])
    for padding in (0, 2, -100, 99):
        ids = torch.tensor([[1, 2], [1, padding], [padding, padding]])
        result = repetition_penalty(logits, ids, 2.0, torch.tensor([2, 1, 0]))
        assert result.tolist() == [[1, 1, -2], [1, 1, -1], [1, 2, -1]]


def test_top_k_of_one_is_greedy_and_cold_is_greedy():
    logits = torch.randn(50, 9, generator=seeded(12))
    for knobs in (SamplingParameters(top_k=1), SamplingParameters(temperature=1e-6), SamplingParameters(0)):
        assert torch.equal(sample(logits, knobs), logits.argmax(-1))
    best = torch.tensor([[2.0, 1.9]])
    repeated = sample(best, SamplingParameters(0, repetition_penalty=1.2), torch.tensor([[0]]))
    assert repeated.tolist() == [1]  # greedy still heeds the penalty, as in transformers


@pytest.mark.parametrize("knobs", [PLAYGROUND, SamplingParameters(), SamplingParameters(1.5, min_p=0.05)])
def test_sampled_frequencies_pass_the_chi_square_test(knobs):
    logits = torch.randn(40, generator=seeded(13)) * 1.5
    probs = process_logits(logits, knobs).double().softmax(-1)
    n = 40_000
    counts = sample(logits.expand(n, 40), knobs, generator=seeded(14)).bincount(minlength=40)
    assert not counts[probs == 0].any()
    common = probs > 5 / n
    rest = [counts[~common].sum()], [probs[~common].sum() * n]
    observed = torch.cat([counts[common], torch.tensor(rest[0])]).double()
    expected = torch.cat([probs[common] * n, torch.tensor(rest[1])])
    some = expected > 0
    assert chisquare(observed[some], expected[some]).pvalue > 1e-3


@pytest.mark.slow
def test_a_large_flat_vocabulary_is_drawn_evenly():
    tokens = draw(torch.zeros(1000, 20_000), seeded(15))
    assert chisquare((tokens // 1000).bincount(minlength=20)).pvalue > 1e-3
    assert len(tokens.unique()) > 950  # 1000 draws with replacement give 975 different ones on average


def test_reproducible_by_generator_and_row_by_row():
    logits = torch.randn(3, 30, generator=seeded(16))
    assert torch.equal(draw(logits, seeded(3)), draw(logits, seeded(3)))
    assert any(not torch.equal(draw(logits, seeded(3)), draw(logits, seeded(s))) for s in range(4, 8))
    together = draw(logits, [seeded(s) for s in (7, 8, 9)])
    alone = [draw(logits[i], seeded(s)) for i, s in enumerate((7, 8, 9))]
    assert together.tolist() == [int(token) for token in alone]


def test_nothing_asks_the_device_for_a_value():
    logits = torch.empty(3, 7, device="meta")  # has shapes but no values: any look at one raises
    ids, lengths = (torch.empty(shape, dtype=torch.long, device="meta") for shape in ((3, 4), (3,)))
    for knobs in (SamplingParameters(0.7, 5, 0.9, 0.1, 1.2), SamplingParameters(0, repetition_penalty=2.0)):
        assert sample(logits, knobs, ids, lengths=lengths).shape == (3,)
    with pytest.raises((NotImplementedError, RuntimeError)):
        logits.amax().item()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_inside_a_cuda_graph():
    knobs = SamplingParameters(0.7, 50, 0.9, 0.01, 1.1)
    logits, ids = torch.randn(3, 1000, device="cuda"), torch.randint(0, 1000, (3, 8), device="cuda")
    sample(logits, knobs, ids)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tokens = sample(logits, knobs, ids)
    drawn = {(graph.replay(), tuple(tokens.tolist()))[1] for _ in range(20)}
    allowed = process_logits(logits, knobs, ids) > -INF
    assert len(drawn) > 1 and all(allowed[row, token] for draw in drawn for row, token in enumerate(draw))


@pytest.mark.parametrize("said", ["device", torch.float64, torch.bfloat16, torch.float16])
def test_defaults_of_the_reader_do_no_harm(said):
    likely = torch.randn(9, 9, generator=seeded(18))
    knobs = SamplingParameters(
        0.7, 5, 0.9, 0.1, 1.2, bad_words=((1, 2),), suppress_tokens=(3,), forced_last=4
    )

    def outcome():
        ids, lengths = torch.ones(9, 3, dtype=torch.long, device="cpu"), torch.arange(9, device="cpu") % 3
        step = lambda ids: likely[ids[:, -1]]  # noqa: E731
        beams = beam_search(step, ids[0], 3, 4, [5], sampling=knobs)
        return (
            sample(likely, knobs, ids, seeded(1), lengths).tolist(),
            constrain(likely, knobs, ids.tolist(), [0] * 9, False, [5]).tolist(),
            [(text.ids.tolist(), text.score) for text in beams],
        )

    expected = outcome()
    if said == "device":
        with torch.device("meta"):
            assert outcome() == expected
    else:
        torch.set_default_dtype(said)
        try:
            found = outcome()
        finally:
            torch.set_default_dtype(torch.float32)
        assert found[:2] == expected[:2]
        assert [ids for ids, _ in found[2]] == [ids for ids, _ in expected[2]]
        assert [score for _, score in found[2]] == pytest.approx(
            [score for _, score in expected[2]], abs=1e-6
        )


# Constraints

FORBIDDING = {
    "bad words": {"bad_words": ((4,), (1, 2), (3, 1, 5), (2, 2, 2, 2), (8,), (6, 8))},
    "suppressed": {"suppress_tokens": (0, 3, 99)},
    "not first": {"begin_suppress_tokens": (1, 5)},
    "forced first": {"forced_first": 4, "begin_suppress_tokens": (1, 5)},
    "forced last": {"forced_last": 8},
    "not yet": {"min_new_tokens": 3},
    "all": {
        "bad_words": ((4,), (1, 2)),
        "suppress_tokens": (7,),
        "begin_suppress_tokens": (5,),
        "forced_first": 4,
        "forced_last": 8,
        "min_new_tokens": 4,
    },
}
THEIR_NAMES = {
    "bad_words": "bad_words_ids",
    "forced_first": "forced_bos_token_id",
    "forced_last": "forced_eos_token_id",
}


def in_their_words(constraints):
    as_lists = {"bad_words": [list(word) for word in constraints.get("bad_words", ())]}
    known = {**constraints, **(as_lists if as_lists["bad_words"] else {})}
    return {THEIR_NAMES.get(name, name): value for name, value in known.items()}


@pytest.mark.parametrize("name", FORBIDDING)
def test_constraints_are_those_of_transformers(name):
    constraints, generator = FORBIDDING[name], seeded(20)
    longest = 5
    for n_prompt in (
        (1, 4) if "forced_first" not in constraints else (1,)
    ):  # theirs forces after one token only
        config = GenerationConfig(
            max_length=n_prompt + longest, eos_token_id=[8, 2], **in_their_words(constraints)
        )
        config._eos_token_tensor = torch.tensor([8, 2])
        processors = gpt2()._get_logits_processor(config, input_ids_seq_length=n_prompt)
        for n_new in range(longest):
            ids = torch.randint(0, 9, (40, n_prompt + n_new), generator=generator)
            logits = torch.randn(40, 9, generator=generator)
            result = constrain(
                logits,
                SamplingParameters(**constraints),
                ids.tolist(),
                [n_new] * 40,
                n_new == longest - 1,
                [8, 2],
            )
            assert torch.equal(result, processors(ids, logits.clone())), n_new


def test_constraints_row_by_row():
    sampling = SamplingParameters(bad_words=[[1, 2]], forced_first=3, forced_last=0, min_new_tokens=2)
    result = constrain(
        torch.ones(4, 5), sampling, [[9], [1], [9, 1], [1, 1]], [0, 1, 2, 3], [False, False, False, True], {4}
    )
    inf = -INF
    assert result.tolist() == [
        [inf, inf, inf, 0, inf],
        [1, 1, inf, 1, inf],
        [1, 1, inf, 1, 1],
        [0, inf, inf, inf, inf],
    ]
    half = constrain(torch.ones(1, 5).bfloat16(), sampling, [[1]], [1], False)
    assert half.dtype == torch.bfloat16
    assert not SamplingParameters(0.5, 3, 0.5, 0.1, 1.2).constrained and sampling.constrained
    assert all(SamplingParameters(**each).constrained for each in FORBIDDING.values())


def test_constraints_come_in_any_form_and_are_kept_as_tuples():
    sampling = SamplingParameters(
        np.float32(0.5), np.int64(4), np.float64(0.9), 0, 1,
        bad_words=[np.array([1, 2]), (np.int32(3),)], suppress_tokens=torch.tensor([1, 2]), begin_suppress_tokens={5},
    )  # fmt: skip
    assert sampling == SamplingParameters(0.5, 4, 0.9, 0.0, 1.0, ((1, 2), (3,)), (1, 2), (5,))
    assert (
        type(sampling.top_k) is type(sampling.bad_words[0][0]) is int and type(sampling.temperature) is float
    )
    assert hash(sampling) == hash(SamplingParameters(0.5, 4, 0.9, 0.0, 1.0, ((1, 2), (3,)), (1, 2), (5,)))


# Beam search


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("name", [*FORBIDDING, "penalty"])
def test_constrained_beams_equal_transformers(name, early_stopping):
    constraints = {"repetition_penalty": 1.4} if name == "penalty" else FORBIDDING[name]
    model, prompt = gpt2(3, vocab_size=9), torch.tensor([7])
    for width in (2, 3):
        for eos in ([5], [2, 8]):
            expected = model.generate(
                prompt[None],
                attention_mask=torch.ones(1, 1),
                num_beams=width,
                num_return_sequences=width,
                max_new_tokens=6,
                eos_token_id=eos,
                pad_token_id=8,
                do_sample=False,
                early_stopping=early_stopping,
                output_scores=True,
                return_dict_in_generate=True,
                **in_their_words(constraints),
            )
            sampling = SamplingParameters(**constraints)
            beams = beam_search(
                last_logits(model), prompt, width, 6, eos, early_stopping=early_stopping, sampling=sampling
            )
            scores = torch.tensor([text.score for text in beams])
            torch.testing.assert_close(scores, expected.sequences_scores, atol=1e-5, rtol=1e-5)
            for text, row in zip(beams, expected.sequences, strict=True):
                assert torch.equal(text.ids, row[: len(text.ids)])


def test_a_beam_without_a_way_on_is_dropped_and_the_others_live():
    likely = torch.tensor([[0.0, 0.6, 0.4], [0.4, 0.3, 0.3], [0.2, 0.1, 0.7]]).log()
    sampling = SamplingParameters(bad_words=((1, 0), (1, 1), (1, 2)))
    beams = beam_search(lambda ids: likely[ids[:, -1]], torch.tensor([0]), 2, 2, sampling=sampling)
    assert [text.ids.tolist() for text in beams] == [[0, 2, 2], [0, 2, 0]]
    with pytest.raises(ValueError, match="the constraints leave no text"):
        beam_search(lambda ids: likely[ids[:, -1]], torch.tensor([1]), 2, 2, sampling=sampling)


def exhaustive(step, prompt, max_new_tokens, stop, length_penalty):
    """Every finished text with its score, best first."""
    found, beginnings = [], [(prompt.tolist(), 0.0)]
    for length in range(1, max_new_tokens + 1):
        following = []
        for ids, score in beginnings:
            log_probs = step(torch.tensor([ids]))[0].log_softmax(-1)
            for token, log_prob in enumerate(log_probs.tolist()):
                text, total = [*ids, token], score + log_prob
                if token in stop or length == max_new_tokens:
                    found.append((text, total / length**length_penalty))
                else:
                    following.append((text, total))
        beginnings = following
    return sorted(found, key=lambda pair: -pair[1])


@pytest.mark.parametrize("stop", [(), (2,), (0, 3)])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 0.7, 1.0, 2.5])
def test_a_wide_beam_is_exhaustive(stop, length_penalty):
    table = torch.randn(6, 4, 4, 4, generator=seeded(17), dtype=torch.float64) * 2
    step = lambda ids: table[ids.shape[1], ids[:, -2], ids[:, -1]]  # noqa: E731
    prompt = torch.tensor([1, 3])
    found = exhaustive(step, prompt, 4, stop, length_penalty)
    beams = beam_search(step, prompt, 500, 4, stop, length_penalty, early_stopping="never")
    assert len(beams) == len(found)
    assert [text.ids.tolist() for text in beams] == [ids for ids, _ in found]
    assert [text.score for text in beams] == pytest.approx([score for _, score in found], abs=1e-9)


def test_a_narrow_beam_may_miss_the_best_and_a_wider_one_finds_it():
    likely = torch.tensor([[0.0, 0.6, 0.4], [0.4, 0.3, 0.3], [0.95, 0.05, 0.0]]).log()
    step = lambda ids: likely[ids[:, -1]]  # noqa: E731
    narrow, wide = (beam_search(step, torch.tensor([0]), width, 2)[0] for width in (1, 2))
    assert narrow.ids.tolist() == [0, 1, 0] and wide.ids.tolist() == [0, 2, 0]
    assert (narrow.score, wide.score) == pytest.approx((math.log(0.24) / 2, math.log(0.38) / 2))


def test_one_beam_is_greedy():
    model, ids = gpt2(1), torch.tensor([3, 1, 4])
    step = last_logits(model)
    [text] = beam_search(step, ids, 1, 8)
    for _ in range(8):
        ids = torch.cat([ids, greedy(step(ids[None]))])
    assert torch.equal(text.ids, ids)


@torch.no_grad()
@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_beams_equal_transformers(seed, width, early_stopping):
    ended = 0
    model, prompt = gpt2(seed, vocab_size=9), torch.tensor([7, 3, 3 + seed])
    for length_penalty in (-1.0, 0.0, 1.0, 2.0):
        for eos in (None, [5], [2, 4, 7]):
            expected = model.generate(
                prompt[None],
                attention_mask=torch.ones(1, 3),
                num_beams=width,
                num_return_sequences=width,
                max_new_tokens=9,
                eos_token_id=eos,
                pad_token_id=8,
                do_sample=False,
                length_penalty=length_penalty,
                early_stopping=early_stopping,
                output_scores=True,
                return_dict_in_generate=True,
            )
            beams = beam_search(
                last_logits(model), prompt, width, 9, eos or (), length_penalty, early_stopping
            )
            scores = torch.tensor([text.score for text in beams])
            torch.testing.assert_close(scores, expected.sequences_scores, atol=1e-5, rtol=1e-5)
            for text, row in zip(beams, expected.sequences, strict=True):
                assert torch.equal(text.ids, row[: len(text.ids)]) and (row[len(text.ids) :] == 8).all()
                ended += len(text.ids) < 12
    assert ended > 3, ended  # texts of different length were compared


def test_beams_with_tokens_ruled_out():
    only = torch.tensor([[-INF, 0.0, -INF], [0.0, -INF, 0.0], [-INF, 0.0, -INF]])
    beams = beam_search(lambda ids: only[ids[:, -1]], torch.tensor([0]), 5, 3, length_penalty=0.0)
    assert {tuple(text.ids.tolist()) for text in beams} == {(0, 1, 0, 1), (0, 1, 2, 1)}
    assert [text.score for text in beams] == pytest.approx([-math.log(2)] * 2)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: apply_temperature(z, 0.0), "temperature must be positive .*for 0 use `greedy`.*, got 0.0"),
        (lambda z: apply_temperature(z, -1.0), "temperature must be positive"),
        (lambda z: apply_temperature(z, math.nan), "temperature must be positive"),
        (lambda z: top_k(z, 0), "k must be a positive integer, got 0"),
        (lambda z: top_p(z, 1.1), "p must be a probability, 0 to 1, got 1.1"),
        (lambda z: top_p(z.long(), 0.5), r"floating-point numbers, got \(2, 5\) torch.int64"),
        (lambda z: top_p(torch.empty(2, 0), 0.5), r"got \(2, 0\)"),
        (lambda z: min_p(z, -0.1), "p must be a probability, 0 to 1, got -0.1"),
        (lambda z: repetition_penalty(z, torch.ones(2, 3), 0), "penalty must be a positive number, got 0"),
        (lambda z: repetition_penalty(z, torch.tensor([[5], [0]]), 2), "token id 5 is outside the .* of 5"),
        (lambda z: repetition_penalty(z, torch.tensor([[-1], [0]]), 2), "token id -1 is outside"),
        (lambda z: repetition_penalty(z, torch.tensor([1]), 2), r"logits \(2, 5\): got ids \(1,\)"),
        (
            lambda z: repetition_penalty(z, torch.ones(2, 3).long(), 2, torch.tensor([1])),
            r"got ids \(2, 3\), lengths \(1,\)",
        ),
        (
            lambda z: constrain(z, SamplingParameters(forced_first=7), [[1], [2]], [0, 0], False),
            "token id 7 of a constraint is outside the vocabulary of 5 tokens",
        ),
        (
            lambda z: constrain(z, SamplingParameters(bad_words=((1, 5),)), [[1], [2]], [0, 0], False),
            "token id 5 of a constraint",
        ),
        (
            lambda z: constrain(z, SamplingParameters(suppress_tokens=range(5)), [[1], [2]], [0, 0], False),
            "leave no token for text 0",
        ),
        (
            lambda z: constrain(z, SamplingParameters(), [[1]], [0, 0], False),
            r"logits \(2, 5\): got 1 texts, 2 numbers",
        ),
        (lambda z: sample(z, SamplingParameters(repetition_penalty=1.1)), "needs the ids"),
        (lambda z: sample(z / 0, SamplingParameters()), "NaN or"),
        (lambda z: sample(z * math.nan, SamplingParameters(0)), "NaN or"),
        (lambda z: sample(torch.full((2, 5), -INF), SamplingParameters()), "rules every token out"),
        (lambda z: draw(z, [seeded(1)]), r"one generator for each row of logits \(2, 5\): got 1"),
        (lambda z: beam_search(lambda ids: z, torch.ones(2, 3).long(), 2, 2), r"one text.*got \(2, 3\)"),
        (
            lambda z: beam_search(lambda ids: z, torch.tensor([1]), 0, 2),
            "beam_width must be a positive integer, got 0",
        ),
        (
            lambda z: beam_search(lambda ids: z, torch.tensor([1]), 2, 0),
            "max_new_tokens must be a positive integer, got 0",
        ),
        (lambda z: beam_search(lambda ids: z, torch.tensor([1]), 2, 1, early_stopping="x"), "got 'x'"),
        (lambda z: beam_search(lambda ids: z, torch.tensor([1]), 2, 1), r"ids \(1, 1\): got \(2, 5\)"),
        (lambda z: beam_search(lambda ids: z[:1] * math.nan, torch.tensor([1]), 2, 1), "NaN"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(2, 5))


@pytest.mark.parametrize(
    "knobs",
    [
        {"temperature": -0.1},
        {"temperature": 1e-9},
        {"temperature": INF},
        {"temperature": math.nan},
        {"top_k": -1},
        {"top_k": 2.5},
        {"top_p": 1.5},
        {"top_p": math.nan},
        {"min_p": -0.5},
        {"repetition_penalty": 0},
        {"repetition_penalty": INF},
        {"top_k": True},
        {"forced_first": -1},
        {"forced_last": 1.5},
        {"min_new_tokens": -1},
        {"suppress_tokens": 3},
        {"suppress_tokens": "ab"},
        {"suppress_tokens": (1, -1)},
        {"begin_suppress_tokens": (0.5,)},
        {"bad_words": (3,)},
        {"bad_words": ((),)},
        {"bad_words": ((1, "b"),)},
    ],
)
def test_parameters_out_of_range(knobs):
    [(name, value)] = knobs.items()
    with pytest.raises(ValueError, match=f"{name} must .*got "):
        SamplingParameters(**knobs)


# ------------------------------------------------------------------------------------------------- Boltzmann's law


@pytest.mark.parametrize("T", [0.3, 1.0, 2.5])
def test_the_heat_capacity_is_the_slope_of_the_mean_energy(T):
    logits = torch.randn(4, 9, generator=seeded(30), dtype=torch.float64)
    logits[0, 3] = -INF

    def energy(T):
        return -((logits / T).softmax(-1) * logits.clamp_min(-1e9)).sum(-1)

    slope = (energy(T + 1e-5) - energy(T - 1e-5)) / 2e-5
    assert torch.allclose(heat_capacity(logits, T), slope, rtol=1e-6)


def test_two_levels_have_the_schottky_anomaly():
    T = torch.linspace(0.2, 1, 8001, dtype=torch.float64)
    C = heat_capacity(torch.stack([1 / T, 0 * T], dim=-1), 1.0)  # only z / T matters
    assert C.max() == pytest.approx(0.4392, abs=1e-4)
    assert T[C.argmax()] == pytest.approx(0.4168, abs=1e-3)


@pytest.mark.parametrize("T", [0.4, 1.0, 1.7])
def test_looking_ahead_draws_whole_texts_from_their_boltzmann_law(T):
    P = torch.randn(3, 3, generator=seeded(31), dtype=torch.float64).mul(2).softmax(-1)
    texts = list(itertools.product(range(3), repeat=4))
    logs = [sum(math.log(P[s, t]) for s, t in itertools.pairwise((1, *text))) for text in texts]
    logs = torch.tensor(logs, dtype=torch.float64)
    assert torch.allclose(text_log_probs(P[1].log(), P.log(), 4), logs, rtol=1e-12)
    exact = (logs / T).softmax(0)
    product = [
        math.prod(float(lookahead_probs(P, (1, *text[:n]), T, 4 - n)[text[n]]) for n in range(4))
        for text in texts
    ]
    assert torch.allclose(torch.tensor(product, dtype=torch.float64), exact, rtol=1e-9)
    if T == 1:
        assert torch.allclose(lookahead_probs(P, [2], T, 5), P[2])


def test_a_temperature_of_zero_is_refused_for_texts_too():
    with pytest.raises(ValueError, match="temperature"):
        lookahead_probs(torch.eye(2), [0], 0, 2)
