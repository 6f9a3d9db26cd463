"""The decoder: what it may see, what the cache protocol promises, and GPT-3's size."""

import dataclasses

import pytest
import torch
from helpers import keep_all
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lecture_lib.attention import Context
from lecture_lib.decoder import Decoder
from lecture_lib.embedding import RotaryScaling
from lecture_lib.transformer import ModelConfig, parameter_count, rotary

GPT = ModelConfig(
    vocab_size=11,
    d_model=12,
    n_heads=4,
    n_layers=2,
    context_length=9,
    d_ff=20,
    norm_first=True,
    activation="gelu_tanh",
)
LLAMA = dataclasses.replace(
    GPT,
    n_kv_heads=2,
    d_head=6,
    norm="rms",
    activation="swiglu",
    positions="rotary",
    rope_scaling=RotaryScaling(4.0, 1.0, 4.0, 16),
    qkv_bias=False,
    out_bias=False,
    mlp_bias=False,
    qk_norm=True,
    tied_head=False,
)
IDS = torch.tensor([[1, 4, 2, 9, 5, 3], [1, 7, 3, 0, 0, 0]])


def make(config, seed=0):
    config = dataclasses.replace(config, init_std=0.3)
    return Decoder(config, generator=torch.Generator().manual_seed(seed)).eval()


# --- the lecture's numbers ------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_gpt3_has_175_billion_parameters():
    gpt3 = ModelConfig(
        vocab_size=50_257, d_model=12_288, n_heads=96, n_layers=96, context_length=2048, norm_first=True
    )
    d = 12_288
    # 4 d^2 of attention, 8 d^2 of the feed-forward network, biases and two norms.
    layer = 12 * d * d + 13 * d
    assert parameter_count(Decoder, gpt3) == 96 * layer + (50_257 + 2048) * d + 2 * d == 174_604_259_328


def test_gpt2_small_has_124_million_parameters():
    gpt2 = ModelConfig(
        vocab_size=50_257, d_model=768, n_heads=12, n_layers=12, context_length=1024, norm_first=True
    )
    assert parameter_count(Decoder, gpt2) == 124_439_808


# --- independent oracle: layer by layer with written-out masks ------------------------------------------------------
@pytest.mark.parametrize("config", [GPT, LLAMA])
def test_logits_are_the_heads_view_of_a_masked_stack(config):
    model = make(config)
    mask = torch.tensor([[j <= i for j in range(6)] for i in range(6)])
    X = model.stack(model.embedding(IDS), Context(mask=mask))
    assert_close(model(IDS), X @ model.head.weight.T, atol=1e-5, rtol=0)
    assert_close(model.features(IDS), X, atol=1e-5, rtol=0)


# --- properties -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("config", [GPT, LLAMA])
def test_the_future_is_hidden(config):
    model = make(config)
    before = model(IDS)
    for n in range(6):
        changed = IDS.clone()
        changed[:, n] = (changed[:, n] + 1) % 11
        after = model(changed)
        assert_close(after[:, :n], before[:, :n], atol=1e-5, rtol=0)
        assert (after[:, n] - before[:, n]).abs().max() > 1e-3


@pytest.mark.parametrize("config", [GPT, LLAMA])
def test_padding_on_the_right_changes_nothing(config):
    model = make(config)
    assert_close(model(IDS, torch.tensor([6, 3]))[1:, :3], model(IDS[1:, :3]), atol=1e-5, rtol=0)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([GPT, LLAMA]), st.lists(st.integers(1, 3), min_size=2, max_size=3))
def test_a_cache_gives_the_same_logits_in_any_chunks(config, chunks):
    model, keep, start, logits = make(config), keep_all(), 0, []
    ids = torch.randint(0, 11, (2, sum(chunks)), generator=torch.Generator().manual_seed(1))
    for n in chunks:
        positions = torch.arange(start, start + n)
        mask = torch.arange(start + n) <= positions[:, None]
        here = Context(positions, mask, rotary=rotary(config, positions), keep=keep)
        logits.append(model(ids[:, start : start + n], here=here))
        start += n
    assert_close(torch.cat(logits, 1), model(ids), atol=1e-5, rtol=0)


def test_positions_may_be_given_to_every_row():
    model = make(GPT)
    positions = torch.tensor([[0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 7, 8]])
    shifted = model(IDS, positions=positions)
    assert_close(shifted[0], model(IDS)[0], atol=1e-5, rtol=0)
    assert not torch.allclose(shifted[1], model(IDS)[1], atol=1e-3)


def test_a_tied_head_learns_through_both_uses():
    model = make(GPT)
    assert model.head.weight is model.embedding.tokens.weight
    assert sum(name.endswith("tokens.weight") for name, _ in model.named_parameters()) == 1
    model(IDS)[..., 10].sum().backward()
    assert model.embedding.tokens.weight.grad[10].abs().max() > 0  # as output
    assert model.embedding.tokens.weight.grad[4].abs().max() > 0  # as input
    untied = make(LLAMA)
    assert untied.head.weight is not untied.embedding.tokens.weight


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("config", [GPT, LLAMA])
def test_dtype_follows_the_model(config, dtype):
    assert make(config).to(dtype)(IDS).dtype == dtype


# --- errors ---------------------------------------------------------------------------------------------------------
def test_wrong_calls_get_one_sentence():
    model = make(GPT)
    for call, message in (
        (
            lambda: model(torch.zeros(1, 10, dtype=torch.long)),
            "text has 10 tokens, but the context of the model is 9",
        ),
        (lambda: model(IDS - 1), "token id -1 is outside the vocabulary of 11"),
        (lambda: model(IDS.float()), "token ids must be integers"),
        (lambda: model(IDS[0]), r"ids must be \(B, N\)"),
        (lambda: model(IDS, torch.tensor([7, 2])), "every length"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
