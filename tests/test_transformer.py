"""Layers and stacks against torch's own modules on copied weights, in values and in float64 gradients."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lecture_lib.attention import Context, causal_mask, padding_mask
from lecture_lib.embedding import RotaryScaling
from lecture_lib.transformer import (
    FeedForward,
    InputEmbedding,
    ModelConfig,
    TransformerLayer,
    TransformerStack,
    initialise,
    layer_norm,
    make_context,
    parameter_count,
    rms_norm,
)

TINY = ModelConfig(vocab_size=11, d_model=12, n_heads=3, n_layers=2, context_length=9, d_ff=20)
LAYER_MASKS = {
    "none": None,
    "causal": causal_mask(5),
    "padding": padding_mask(torch.tensor([5, 2])),
    "both": causal_mask(5) & padding_mask(torch.tensor([5, 2])),
    "per row": torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(3)) > 0.3,
    "one token nowhere": torch.arange(5)[:, None].expand(5, 5) != 3,
}


def config(**changes):
    return dataclasses.replace(TINY, **changes)


def copy_attention(ours, theirs):
    maps = (ours.W_q, ours.W_k, ours.W_v)
    theirs.in_proj_weight.data = torch.cat([m.weight.data for m in maps])
    theirs.in_proj_bias.data = torch.cat([m.bias.data for m in maps])
    theirs.out_proj.load_state_dict(ours.W_o.state_dict())


def copy_layer(ours, theirs):
    """Copy our weights into torch's encoder or decoder layer; norms get random gains so that they matter."""
    norms = [ours.attention_norm, ours.feed_forward_norm]
    copy_attention(ours.attention, theirs.self_attn)
    if ours.cross_attention is not None:
        norms.insert(1, ours.cross_attention_norm)
        copy_attention(ours.cross_attention, theirs.multihead_attn)
    for i, norm in enumerate(norms, start=1):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        getattr(theirs, f"norm{i}").load_state_dict(norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.W_in.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.W_out.state_dict())


# --- the lecture's example: Algorithm 12.3, line by line ------------------------------------------------------------
def test_the_layer_is_algorithm_12_3():
    layer = TransformerLayer(TINY)
    X = torch.randn(2, 5, 12)
    Z = layer.attention_norm(layer.attention(X) + X)
    assert_close(layer(X), layer.feed_forward_norm(layer.feed_forward(Z) + Z))


def test_bert_large_counts_334_6_million_below_its_heads():
    bert_large = ModelConfig(
        vocab_size=30_000,
        d_model=1024,
        n_heads=16,
        n_layers=24,
        context_length=512,
        n_segments=2,
        embedding_norm=True,
    )
    n = parameter_count(InputEmbedding, bert_large) + parameter_count(TransformerStack, bert_large)
    pooler = 1024 * 1024 + 1024
    assert n + pooler == 334_607_360
    assert bert_large.d_head == 64 and bert_large.d_ff == 4096


# --- independent oracles --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.1])
def test_norms_equal_the_fused_kernels(eps):
    x, gain, bias = 3 + 2 * torch.randn(4, 5, 6), torch.randn(6), torch.randn(6)
    assert_close(layer_norm(x, gain, bias, eps), F.layer_norm(x, (6,), gain, bias, eps), atol=1e-5, rtol=1e-5)
    assert_close(rms_norm(x, gain, eps), F.rms_norm(x, (6,), gain, eps), atol=1e-5, rtol=1e-5)


def test_norms_have_the_gradients_of_the_fused_kernels():
    x, gain, bias = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 6), (6,), (6,)))
    direction = torch.randn(3, 6, dtype=torch.float64)
    for ours, theirs, wrt in (
        (layer_norm(x, gain, bias), F.layer_norm(x, (6,), gain, bias), (x, gain, bias)),
        (rms_norm(x, gain), F.rms_norm(x, (6,), gain, 1e-6), (x, gain)),
    ):
        a = torch.autograd.grad((ours * direction).sum(), wrt)
        b = torch.autograd.grad((theirs * direction).sum(), wrt)
        assert_close(a, b, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("mask", LAYER_MASKS.values(), ids=LAYER_MASKS.keys())
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_layer_equals_torchs_encoder_layer(mask, norm_first, activation):
    ours = TransformerLayer(config(norm_first=norm_first, activation=activation)).double()
    theirs = nn.TransformerEncoderLayer(
        12, 3, 20, 0.0, activation, batch_first=True, norm_first=norm_first
    ).double()
    copy_layer(ours, theirs)
    X = torch.randn(2, 5, 12, dtype=torch.float64, requires_grad=True)
    src_mask = None if mask is None else ~mask.expand(2, 3, 5, 5).flatten(0, 1)
    out, expected = ours(X, Context(mask=mask)), theirs(X, src_mask=src_mask)
    looks_nowhere = 3 if mask is LAYER_MASKS["one token nowhere"] else None
    if looks_nowhere is not None:  # torch's module gives NaN there, ours what W_o makes of zeros
        assert torch.isfinite(out).all()
        keep = torch.arange(5) != looks_nowhere
        out, expected = out[:, keep], expected[:, keep]
        assert_close(out, expected, atol=1e-10, rtol=1e-10)
        return
    assert_close(out, expected, atol=1e-10, rtol=1e-10)
    direction = torch.randn_like(out)
    wrt = (ours.attention.W_o.weight, ours.feed_forward.W_in.weight, ours.attention_norm.weight)
    a = torch.autograd.grad((out * direction).sum(), (X, *wrt))
    wrt = (theirs.self_attn.out_proj.weight, theirs.linear1.weight, theirs.norm1.weight)
    assert_close(a, torch.autograd.grad((expected * direction).sum(), (X, *wrt)), atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_layer_with_memory_equals_torchs_decoder_layer(norm_first, padded):
    ours = TransformerLayer(config(norm_first=norm_first, activation="relu"), cross_attention=True).double()
    theirs = nn.TransformerDecoderLayer(12, 3, 20, 0.0, batch_first=True, norm_first=norm_first).double()
    copy_layer(ours, theirs)
    X = torch.randn(2, 5, 12, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 7, 12, dtype=torch.float64, requires_grad=True)
    memory_mask = padding_mask(torch.tensor([7, 3])) if padded else None
    out = ours(X, Context(is_causal=True), Context(memory=memory, mask=memory_mask))
    hidden = ~memory_mask[:, 0, 0] if padded else None
    expected = theirs(X, memory, tgt_mask=~causal_mask(5), memory_key_padding_mask=hidden)
    assert_close(out, expected, atol=1e-10, rtol=1e-10)
    direction = torch.randn_like(out)
    a = torch.autograd.grad((out * direction).sum(), (X, memory))
    assert_close(a, torch.autograd.grad((expected * direction).sum(), (X, memory)), atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("norm_first", [False, True])
def test_stack_equals_torchs_encoder(norm_first):
    ours = TransformerStack(config(norm_first=norm_first, n_layers=3))
    layer = nn.TransformerEncoderLayer(12, 3, 20, 0.0, "gelu", batch_first=True, norm_first=norm_first)
    theirs = nn.TransformerEncoder(
        layer, 3, nn.LayerNorm(12) if norm_first else None, enable_nested_tensor=False
    )
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        copy_layer(a, b)
    X, lengths = torch.randn(2, 5, 12), torch.tensor([5, 3])
    expected = theirs(X, src_key_padding_mask=~padding_mask(lengths)[:, 0, 0])
    assert_close(ours(X, Context(mask=padding_mask(lengths)))[1, :3], expected[1, :3], atol=1e-5, rtol=1e-5)
    assert_close(ours(X, Context(mask=padding_mask(lengths)))[0], expected[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "f"),
    [
        ("swiglu", F.silu),
        ("geglu", F.gelu),
        ("geglu_tanh", lambda x: F.gelu(x, approximate="tanh")),
        ("reglu", torch.relu),
    ],
)
def test_gated_feed_forward_number_by_number(activation, f):
    network = FeedForward(4, 6, activation, bias=False)
    x = torch.randn(4)
    inside = f(network.W_gate.weight @ x) * (network.W_in.weight @ x)
    assert_close(network(x), network.W_out.weight @ inside)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("gelu", "gelu"),
        ("gelu_tanh", "gelu_new"),
        ("quick_gelu", "quick_gelu"),
        ("silu", "silu"),
        ("tanh", "tanh"),
    ],
)
def test_activations_equal_those_of_transformers(activation, name):
    activations = pytest.importorskip("transformers.activations")
    x = torch.linspace(-5, 5, 50)
    assert_close(FeedForward(2, 3, activation).activation(x), activations.ACT2FN[name](x))


# --- properties -----------------------------------------------------------------------------------------------------
@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.floats(0.01, 100), st.floats(-50, 50))
def test_layer_norm_forgets_scale_and_shift(d, scale, shift):
    x = torch.rand(3, d, dtype=torch.float64) + 2 * torch.arange(d)
    one, zero = torch.ones(d).double(), torch.zeros(d).double()
    out = layer_norm(scale * x + shift, one, zero, eps=1e-12)
    assert_close(out, layer_norm(x, one, zero, eps=1e-12), atol=1e-6, rtol=0)
    assert_close(out.square().mean(-1), torch.ones(3).double(), atol=1e-6, rtol=0)
    assert_close(rms_norm(scale * x, one, 1e-12), rms_norm(x, one, 1e-12), atol=1e-6, rtol=0)


def test_input_embedding_adds_its_parts():
    ids, segments = torch.tensor([[3, 1, 4], [1, 5, 9]]), torch.tensor([[0, 0, 1], [0, 1, 1]])
    learned = InputEmbedding(config(n_segments=2, embedding_norm=True))
    parts = learned.tokens.weight[ids] + learned.positions.weight[:3] + learned.segments.weight[segments]
    assert_close(learned(ids, segments=segments), F.layer_norm(parts, (12,)))
    assert_close(learned(ids), learned(ids, segments=torch.zeros_like(ids)))
    fixed = InputEmbedding(config(positions="sinusoidal", scale_embedding=True))
    angle = torch.tensor(7.0)
    expected = fixed.tokens.weight[4, :2] * math.sqrt(12) + torch.stack([angle.sin(), angle.cos()])
    assert_close(fixed(torch.tensor([[4]]), torch.tensor([7]))[0, 0, :2], expected)
    rotary = InputEmbedding(config(positions="rotary"))
    assert_close(rotary(ids), rotary.tokens.weight[ids])


def test_rotary_stack_sees_distances_alone():
    stack = TransformerStack(
        config(positions="rotary", rope_scaling=RotaryScaling(2.0), qk_norm=True, n_kv_heads=1)
    )
    X = torch.randn(2, 5, 12)
    out = stack(X, Context(is_causal=True))
    assert_close(stack(X, make_context(stack.config, X, is_causal=True)), out)
    shifted = torch.arange(5) + torch.tensor([[0], [100]])
    assert_close(stack(X, Context(shifted, is_causal=True)), out, atol=1e-4, rtol=0)
    assert not torch.allclose(stack(X, Context(2 * torch.arange(5), is_causal=True)), out, atol=1e-3)


def test_a_stack_keeps_to_its_window_whoever_made_the_context():
    stack = TransformerStack(config(sliding_window=2, n_layers=1))
    X = torch.randn(2, 5, 12)
    for here in (
        Context(is_causal=True),
        Context(mask=causal_mask(5)),
        Context(torch.arange(5), is_causal=True),
    ):
        assert_close(stack(X, here), stack(X, make_context(stack.config, X, is_causal=True)))
    changed = X.clone()
    changed[:, 0] += 1
    assert_close(stack(changed, Context(is_causal=True))[:, 2:], stack(X, Context(is_causal=True))[:, 2:])


def test_initial_weights_are_those_of_gpt2():
    deep = config(d_model=48, d_head=16, d_ff=192, n_layers=8, norm_first=True)
    model = nn.ModuleList([InputEmbedding(deep), TransformerStack(deep)])
    initialise(model, deep, torch.Generator().manual_seed(0))
    layer = model[1].layers[3]
    assert model[0].tokens.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert layer.attention.W_q.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert layer.attention.W_o.weight.std().item() == pytest.approx(0.02 / 4, rel=0.1)
    assert layer.feed_forward.W_out.weight.std().item() == pytest.approx(0.02 / 4, rel=0.1)
    assert layer.attention.W_q.bias.abs().max() == 0
    first = layer.attention.W_o.weight.clone()
    initialise(model, deep, torch.Generator().manual_seed(0))
    assert torch.equal(first, layer.attention.W_o.weight)


def test_dropout_acts_in_training_only():
    layer = TransformerLayer(config(dropout=0.5))
    X = torch.randn(2, 5, 12)
    assert not torch.equal(layer(X), layer(X))
    layer.eval()
    assert torch.equal(layer(X), layer(X))


# --- errors ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be a positive integer, got 0"),
        ({"n_layers": 2.0}, "n_layers must be a positive integer, got 2.0"),
        ({"context_length": True}, "context_length must be a positive integer"),
        ({"d_ff": -1}, "d_ff must be a positive integer"),
        ({"n_heads": 5, "d_head": None}, "5 heads must divide d_model 12"),
        ({"n_kv_heads": 2}, "2 key-value heads must divide 3 heads"),
        ({"norm": "batch"}, "norm must be one of layer, rms; got 'batch'"),
        ({"activation": "swish"}, "activation must be one of .*; got 'swish'"),
        ({"positions": "alibi"}, "positions must be one of"),
        ({"positions": "rotary", "d_head": 5}, "d_head must be even, got 5"),
        ({"positions": "sinusoidal", "d_model": 9, "d_head": 3}, "d_model must be even, got 9"),
        ({"rope_scaling": RotaryScaling(2.0)}, "rope_scaling needs rotary positions, got 'learned'"),
        ({"dropout": 1.0}, "dropout must be a probability below 1, got 1.0"),
        ({"n_segments": -1}, "n_segments must be an integer, 0 or more"),
        ({"tied_head": 1}, "tied_head must be True or False, got 1"),
        ({"norm": ["layer"]}, "norm must be one of"),
        ({"norm_eps": "1e-5"}, "norm_eps must be a positive number, got '1e-5'"),
        ({"rope_theta": float("inf")}, "rope_theta must be a positive number, got inf"),
        ({"init_std": float("nan")}, "init_std must be a positive number, got nan"),
        (
            {"rope_scaling": 2.0, "positions": "rotary"},
            "rope_scaling must be a RotaryScaling or None, got 2.0",
        ),
        ({"norm_eps": 0.0}, "norm_eps must be a positive number, got 0.0"),
        ({"rope_theta": -1.0}, "rope_theta must be a positive number"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_wrong_inputs_get_one_sentence():
    embed, layer = InputEmbedding(TINY), TransformerLayer(TINY)
    ids = torch.zeros(2, 3, dtype=torch.long)
    for call, message in (
        (
            lambda: embed(torch.zeros(2, 10, dtype=torch.long)),
            "text has 10 tokens, but the context of the model is 9",
        ),
        (lambda: embed(torch.zeros(3, dtype=torch.long)), r"ids must be \(B, N\).*got \(3,\)"),
        (lambda: embed(torch.zeros(2, 0, dtype=torch.long)), r"at least one token"),
        (lambda: embed(ids + 11), "token id 11 is outside the vocabulary of 11"),
        (
            lambda: make_context(TINY, ids, positions=torch.tensor([0, 1, 9])),
            r"position 9 is outside the context of 9 tokens \(0 to 8\)",
        ),
        (lambda: make_context(TINY, ids, positions=torch.tensor([-2, 1, 3])), "position -2 is outside"),
        (
            lambda: make_context(TINY, ids, positions=torch.arange(4)),
            r"one position a token: got \(4,\) for ids \(2, 3\)",
        ),
        (lambda: embed(ids, segments=ids), "knows no segments"),
        (lambda: InputEmbedding(config(n_segments=2))(ids, segments=ids + 2), "segment id 2"),
        (
            lambda: layer(torch.zeros(2, 3, 12), there=Context(memory=torch.zeros(2, 4, 12))),
            "no memory: it has no cross-attention",
        ),
        (
            lambda: TransformerLayer(TINY, cross_attention=True)(torch.zeros(2, 3, 12)),
            "a memory to read from",
        ),
        (lambda: FeedForward(3, 4, "swish"), "activation must be one of .* got 'swish'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
