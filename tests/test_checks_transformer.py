"""The transformer exercises beyond what holds for all: unusual right answers pass, disguised borrowings do not."""

import pytest
import torch
from answers import verdict_of
from torch import nn
from torch.nn import functional as F

from lecture_lib import checks
from lecture_lib.checks.message import text
from lecture_lib.transformer import ModelConfig, TransformerLayer, parameter_count, rms_norm

verdict = verdict_of("transformer")


def norm_by_pairs(x, gain, bias, eps=1e-5):
    """The variance is half the mean squared difference of two features."""
    pairs = x[..., :, None] - x[..., None, :]
    variance = pairs.square().mean((-1, -2))[..., None] / 2
    return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(variance + eps) * gain + bias


def norm_by_projection(x, gain, bias, eps=1e-5):
    D = x.shape[-1]
    centred = x @ (torch.eye(D, dtype=x.dtype) - 1 / D)
    return (
        torch.einsum("...d,d->...d", centred / (centred.square().mean(-1, keepdim=True) + eps) ** 0.5, gain)
        + bias
    )


def norm_token_by_token(x, gain, bias, eps=1e-5):
    rows = [
        gain * (row - row.mean()) / torch.sqrt(row.var(correction=0) + eps) + bias
        for row in x.reshape(-1, x.shape[-1])
    ]
    return torch.stack(rows).reshape(x.shape)


def network_by_columns(X, W_in, b_in, W_out, b_out):
    """Tokens as columns, and Φ from the complementary error function."""
    hidden = W_in.mT @ X.reshape(-1, X.shape[-1]).mT + b_in[:, None]
    return (W_out.mT @ (hidden * torch.erfc(-hidden / 2**0.5) / 2) + b_out[:, None]).mT.reshape(X.shape)


def network_of_torch(X, W_in, b_in, W_out, b_out):
    return F.linear(nn.GELU()(F.linear(X, W_in.mT, b_in)), W_out.mT, b_out)


def layer_text_by_text(X, attention, feed_forward, attention_norm, feed_forward_norm, mask=None):
    def one(x):
        z = attention_norm(torch.add(x, attention(x, mask)))
        return feed_forward_norm(torch.add(z, feed_forward(z)))

    return torch.cat([one(x[None]) for x in X])


def stack_by_recursion(X, layers, final_norm, mask=None):
    if not layers:
        return final_norm(X)
    first, *others = layers
    Z = first.attention(first.attention_norm(X), mask=mask) + X
    return stack_by_recursion(first.feed_forward(first.feed_forward_norm(Z)) + Z, others, final_norm, mask)


def count_by_modules(d_model, n_heads, d_ff, n_kv_heads=None, gated=False, bias=True):
    width = d_model * (n_kv_heads or n_heads) // n_heads
    shapes = [(d_model, d_model), (d_model, width), (d_model, width), (d_model, d_model), (d_ff, d_model)]
    maps = [nn.Linear(*shape, bias, device="meta") for shape in shapes + [(d_model, d_ff)] * (1 + gated)]
    return sum(parameter.numel() for part in maps for parameter in part.parameters()) + 4 * d_model


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("layer_norm", norm_by_pairs),
        ("layer_norm", norm_by_projection),
        ("layer_norm", norm_token_by_token),
        ("feed_forward", network_by_columns),
        ("feed_forward", network_of_torch),
        ("post_ln_layer", layer_text_by_text),
        ("pre_ln_stack", stack_by_recursion),
        ("layer_parameter_count", count_by_modules),
    ],
)
def test_a_right_answer_of_another_kind_passes(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


def torch_norm(x, gain, bias, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], gain, bias, eps)


def torch_norm_below(x, gain, bias, eps=1e-5):
    return torch.ops.aten.native_layer_norm.default(x, x.shape[-1:], gain, bias, eps)[0]


def library_rms_norm(x, gain, bias, eps=1e-5):
    return rms_norm(x - x.mean(-1, keepdim=True), gain, eps) + bias


def count_of_the_library(d_model, n_heads, d_ff, n_kv_heads=None, gated=False, bias=True):
    sizes = {"d_model": d_model, "n_heads": n_heads, "d_ff": d_ff, "n_kv_heads": n_kv_heads}
    biases = dict.fromkeys(("qkv_bias", "out_bias", "mlp_bias"), bias)
    activation = "swiglu" if gated else "gelu"
    config = ModelConfig(vocab_size=1, n_layers=1, context_length=1, activation=activation, **sizes, **biases)
    return parameter_count(TransformerLayer, config)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("layer_norm", torch_norm),
        ("layer_norm", torch_norm_below),
        ("layer_norm", library_rms_norm),
        ("layer_parameter_count", count_of_the_library),
    ],
)
def test_what_others_have_written_is_refused(name, answer):
    found = verdict(name, answer)
    assert not found.passed
    assert "write that yourself" in text(found)


@pytest.mark.slow
def test_a_check_leaves_the_readers_random_numbers_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for task in checks.chapter("transformer").values():
        cases = task.cases(0)
        task.judge(cases, [task.call(task.mistakes[0].function, case) for case in cases])
    assert torch.equal(torch.get_rng_state(), before)
