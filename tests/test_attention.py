"""Attention against torch's kernel, torch's own multi-head module, and the laws that hold for any mask."""

import pytest
import torch
from helpers import keep_all
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lecture_lib.attention import (
    Context,
    MultiHeadAttention,
    causal_mask,
    cross_attention,
    merge_heads,
    multi_head_attention,
    padding_mask,
    scaled_dot_product_attention,
    softmax,
    split_heads,
)
from lecture_lib.embedding import apply_rotary, rotary_frequencies, rotary_tables

B, H, N, M, D_K, D_V = 2, 3, 4, 7, 6, 5
nowhere = torch.ones(N, M, dtype=torch.bool)
nowhere[1] = False
MASKS = {
    "none": None,
    "all": torch.ones(N, M, dtype=torch.bool),
    "per query": torch.arange(M) <= torch.arange(N)[:, None] + 2,
    "one query nowhere": nowhere,
    "keys only": torch.tensor([True, False, True, True, False, True, False]),
    "padding": padding_mask(torch.tensor([7, 3])),
    "an empty row": padding_mask(torch.tensor([0, 5]), M),
    "per head": torch.rand(1, H, N, M, generator=torch.Generator().manual_seed(1)) > 0.5,
    "everything": torch.rand(B, H, N, M, generator=torch.Generator().manual_seed(2)) > 0.7,
    "nothing": torch.zeros(N, M, dtype=torch.bool),
}


def random_qkv(seed=0, dtype=torch.float32, size=1.0):
    g = torch.Generator().manual_seed(seed)
    shapes = ((B, H, N, D_K), (B, H, M, D_K), (B, H, M, D_V))
    return tuple(
        (size * torch.randn(s, generator=g, dtype=torch.float64)).to(dtype).requires_grad_() for s in shapes
    )


# --- the lecture's worked example: two tokens, two features ---------------------------------------------------------
def test_two_tokens_by_hand():
    unit = torch.eye(2)
    e = torch.tensor(1 / 2**0.5).exp()
    expected = torch.tensor([[e, 1.0], [1.0, e]]) / (e + 1)
    assert_close(scaled_dot_product_attention(unit, unit, unit), expected)
    assert expected[0, 0].item() == pytest.approx(0.6698, abs=1e-4)


def test_masks_by_hand():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert padding_mask(torch.tensor([2, 3, 0])).tolist() == [
        [[[True, True, False]]],
        [[[True, True, True]]],
        [[[False, False, False]]],
    ]
    assert padding_mask(torch.tensor([1]), 4).shape == (1, 1, 1, 4)
    assert padding_mask(torch.tensor([], dtype=torch.long)).shape == (0, 1, 1, 0)


def test_sixteen_heads_of_64_in_1024():
    attention = MultiHeadAttention(1024, 16)
    assert attention.d_head == 64
    assert sum(p.numel() for p in attention.parameters()) == 4 * (1024 * 1024 + 1024)


# --- independent oracles --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("size", [1.0, 1000.0, 1e30])
def test_softmax_equals_torch_on_any_axis(dim, size):
    x = size * torch.randn(3, 4, 5)
    x[0, 0, 0] = -torch.inf
    assert_close(softmax(x, dim), torch.softmax(x, dim))


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
@pytest.mark.parametrize("size", [1.0, 100.0])
def test_attention_equals_the_fused_kernel(mask, size):
    Q, K, V = random_qkv(size=size)
    expected = F.scaled_dot_product_attention(
        Q, K, V, attn_mask=None if mask is None else torch.atleast_2d(mask)
    )
    assert_close(scaled_dot_product_attention(Q, K, V, mask), expected, atol=1e-5 * size, rtol=1e-5)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_attention_equals_float64_loops(mask):
    Q, K, V = (x.detach() for x in random_qkv(dtype=torch.float64))
    seen = torch.ones(B, H, N, M, dtype=torch.bool) if mask is None else mask.expand(B, H, N, M)
    out = scaled_dot_product_attention(Q, K, V, mask)
    for b in range(B):
        for h in range(H):
            for n in range(N):
                allowed = [m for m in range(M) if seen[b, h, n, m]]
                powers = [float((Q[b, h, n] @ K[b, h, m] / D_K**0.5).exp()) for m in allowed]
                mixed = sum(
                    (p * V[b, h, m] for p, m in zip(powers, allowed, strict=True)), torch.zeros(D_V).double()
                )
                assert_close(out[b, h, n], mixed / sum(powers) if powers else mixed)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_gradients_are_finite_and_equal_the_fused_kernel(mask):
    Q, K, V = random_qkv(dtype=torch.float64)
    direction = torch.randn(B, H, N, D_V, dtype=torch.float64)
    ours = torch.autograd.grad((scaled_dot_product_attention(Q, K, V, mask) * direction).sum(), (Q, K, V))
    fused = F.scaled_dot_product_attention(
        Q, K, V, attn_mask=None if mask is None else torch.atleast_2d(mask)
    )
    theirs = torch.autograd.grad((fused * direction).sum(), (Q, K, V))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.isfinite(a).all()
        assert_close(a, b, atol=1e-12, rtol=1e-10)


def test_gradient_where_a_query_looks_nowhere_or_at_one_key_only():
    mask = torch.tensor([[False, False, False], [False, True, False], [True, True, True]])
    inputs = [torch.randn(3, w, dtype=torch.float64, requires_grad=True) for w in (4, 4, 2)]
    assert torch.autograd.gradcheck(lambda Q, K, V: scaled_dot_product_attention(Q, K, V, mask), inputs)
    grad = torch.autograd.grad(scaled_dot_product_attention(*inputs, mask)[0].sum(), inputs)
    assert all(g.abs().max() == 0 for g in grad)


def torch_attention(ours, bias=True):
    """Copy our weights into torch's module."""
    theirs = nn.MultiheadAttention(ours.d_model, ours.n_heads, bias=bias, batch_first=True)
    maps = (ours.W_q, ours.W_k, ours.W_v)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([m.weight for m in maps]))
        theirs.out_proj.weight.copy_(ours.W_o.weight)
        if bias:
            theirs.in_proj_bias.copy_(torch.cat([m.bias for m in maps]))
            theirs.out_proj.bias.copy_(ours.W_o.bias)
    return theirs.to(ours.W_o.weight.dtype)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize("kind", ["none", "per query", "padding", "keys only"])
def test_multi_head_equals_torch_in_values_and_gradients(bias, cross, kind):
    ours = MultiHeadAttention(12, 3, qkv_bias=bias, out_bias=bias).double()
    theirs = torch_attention(ours, bias)
    X = torch.randn(2, 5, 12, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 7, 12, dtype=torch.float64, requires_grad=True) if cross else None
    m = 7 if cross else 5
    rows = {
        "padding": padding_mask(torch.tensor([m, 3]), m)[:, 0, 0],
        "keys only": (torch.arange(m) != 2).expand(2, m),
    }
    mask = {
        "none": None,
        "per query": torch.arange(m) <= torch.arange(5)[:, None],
        "padding": padding_mask(torch.tensor([m, 3]), m),
        "keys only": torch.arange(m) != 2,
    }[kind]
    out = ours(X, memory, mask)
    keys = X if memory is None else memory
    expected, weights = theirs(
        *(X, keys, keys),
        attn_mask=~mask if kind == "per query" else None,
        key_padding_mask=~rows[kind] if kind in rows else None,
        average_attn_weights=False,
    )
    assert_close(out, expected, atol=1e-10, rtol=1e-10)
    assert_close(ours.weights(X, memory, mask), weights, atol=1e-10, rtol=1e-10)
    wrt = [X] if memory is None else [X, memory]
    direction = torch.randn_like(out)
    for a, b in zip(
        torch.autograd.grad((out * direction).sum(), [*wrt, ours.W_q.weight, ours.W_o.weight]),
        torch.autograd.grad(
            (expected * direction).sum(), [*wrt, theirs.in_proj_weight, theirs.out_proj.weight]
        ),
        strict=True,
    ):
        assert_close(a, b[: a.shape[0]], atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("mask", [None, causal_mask(5), padding_mask(torch.tensor([5, 0]))])
def test_the_definition_equals_the_module_and_a_loop_over_heads(mask):
    module = MultiHeadAttention(12, 3, qkv_bias=False, out_bias=False)
    W_q, W_k, W_v, W_o = (W.weight.mT for W in (module.W_q, module.W_k, module.W_v, module.W_o))
    X = torch.randn(2, 5, 12)
    out = multi_head_attention(X, W_q, W_k, W_v, W_o, 3, mask)
    assert_close(out, module(X, mask=mask), atol=1e-5, rtol=0)
    mask = None if mask is None else mask.expand(2, 1, 5, 5)[:, 0]
    heads = [
        F.scaled_dot_product_attention(X @ W_q[:, s], X @ W_k[:, s], X @ W_v[:, s], attn_mask=mask)
        for s in (slice(0, 4), slice(4, 8), slice(8, 12))
    ]
    assert_close(out, torch.cat(heads, dim=-1) @ W_o, atol=1e-5, rtol=0)


@pytest.mark.parametrize("lengths", [None, torch.tensor([7, 3]), torch.tensor([0, 5])])
def test_cross_attention_equals_the_module(lengths):
    module = MultiHeadAttention(12, 3, qkv_bias=False, out_bias=False)
    maps = [W.weight.mT for W in (module.W_q, module.W_k, module.W_v, module.W_o)]
    X, memory = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    mask = None if lengths is None else padding_mask(lengths, 7)
    out = cross_attention(X, memory, *maps, 3, lengths)
    assert_close(out, module(X, memory, mask), atol=1e-5, rtol=0)


def test_values_may_be_wider_than_keys_and_leading_axes_many():
    X, W_k, W_v, W_o = torch.randn(2, 3, 5, 12), torch.randn(12, 8), torch.randn(12, 6), torch.randn(6, 12)
    out = multi_head_attention(X, W_k, W_k, W_v, W_o, 2)
    assert out.shape == X.shape
    assert_close(out[1, 2], multi_head_attention(X[1, 2], W_k, W_k, W_v, W_o, 2), atol=1e-4, rtol=1e-5)


def test_grouped_query_equals_full_attention_with_repeated_heads():
    grouped = MultiHeadAttention(12, 6, n_kv_heads=2, d_head=4)
    full = MultiHeadAttention(12, 6, d_head=4)
    full.W_q.load_state_dict(grouped.W_q.state_dict())
    full.W_o.load_state_dict(grouped.W_o.state_dict())
    with torch.no_grad():
        for ours, theirs in ((grouped.W_k, full.W_k), (grouped.W_v, full.W_v)):
            theirs.weight.copy_(ours.weight.unflatten(0, (2, 4)).repeat_interleave(3, dim=0).flatten(0, 1))
            theirs.bias.copy_(ours.bias.unflatten(0, (2, 4)).repeat_interleave(3, dim=0).flatten())
    X = torch.randn(2, 5, 12)
    for mask in (None, causal_mask(5), padding_mask(torch.tensor([0, 4]), 5)):
        assert_close(grouped(X, mask=mask), full(X, mask=mask), atol=1e-5, rtol=0)
        assert_close(grouped.weights(X, mask=mask), full.weights(X, mask=mask), atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_rotary_and_normalised_queries_equal_the_readable_functions(n_kv_heads):
    attention = MultiHeadAttention(12, 4, n_kv_heads, d_head=6, qk_norm_eps=1e-6)
    nn.init.normal_(attention.q_norm.weight)
    nn.init.normal_(attention.k_norm.weight)
    X = torch.randn(2, 5, 12)
    positions = torch.tensor([[0, 1, 2, 3, 4], [9, 3, 3, 70, 1]])
    out = attention(
        X, Context(rotary=rotary_tables(positions[:, None], rotary_frequencies(6)), is_causal=True)
    )

    def heads(linear, norm=None):
        split = linear(X).view(2, 5, -1, 6)
        if norm is not None:
            split = split / (split.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight
        split = split.transpose(1, 2)
        return split if norm is None else apply_rotary(split, positions[:, None])

    repeat = 4 // n_kv_heads
    K = heads(attention.W_k, attention.k_norm).repeat_interleave(repeat, 1)
    V = heads(attention.W_v).repeat_interleave(repeat, 1)
    mixed = scaled_dot_product_attention(heads(attention.W_q, attention.q_norm), K, V, causal_mask(5))
    assert_close(out, attention.W_o(mixed.transpose(1, 2).reshape(2, 5, 24)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("chunks", [(6,), (1, 5), (2, 3, 1), (1, 1, 1, 1, 1, 1)])
def test_a_cache_gives_the_same_in_any_chunks(chunks):
    attention = MultiHeadAttention(8, 2, n_kv_heads=1)
    X = torch.randn(3, 6, 8)
    cos, sin = rotary_tables(torch.arange(6), rotary_frequencies(4))
    expected = attention(X, Context(is_causal=True, rotary=(cos, sin)))
    keep, start, outs = keep_all(), 0, []
    for n in chunks:
        now = slice(start, start + n)
        mask = causal_mask(6)[now, : start + n]
        outs.append(attention(X[:, now], Context(mask=mask, rotary=(cos[now], sin[now]), keep=keep)))
        start += n
    assert_close(torch.cat(outs, 1), expected, atol=1e-5, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernels_of_a_gpu_give_zeros_to_a_query_that_looks_nowhere(dtype):
    attention = MultiHeadAttention(128, 2, out_bias=False).to("cuda", dtype)
    X = torch.randn(2, 40, 128, device="cuda", dtype=dtype)
    mask = padding_mask(torch.tensor([0, 33], device="cuda"), 40)
    out = attention(X, mask=mask)
    assert torch.isfinite(out).all() and out[0].abs().max() == 0
    assert_close(
        attention.weights(X, mask=mask)[1].sum(-1),
        torch.ones(2, 40, device="cuda", dtype=dtype),
        atol=0.02,
        rtol=0,
    )


# --- properties -----------------------------------------------------------------------------------------------------
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 10**6))
def test_weights_are_probabilities_and_unmasked_keys_alone_matter(n, m, seed):
    g = torch.Generator().manual_seed(seed)
    Q, K, V = (torch.randn(s, generator=g) for s in ((n, 4), (m, 4), (m, 3)))
    mask = torch.rand(n, m, generator=g) > 0.4
    weights = scaled_dot_product_attention(Q, K, torch.eye(m), mask)
    assert (weights >= 0).all() and (weights[~mask] == 0).all()
    assert_close(weights.sum(-1), mask.any(-1).float())
    hidden = ~mask.any(0)
    K, V = K.clone(), V.clone()
    before = scaled_dot_product_attention(Q, K, V, mask)
    K[hidden], V[hidden] = 1e4, -1e4
    assert_close(scaled_dot_product_attention(Q, K, V, mask), before)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10**6))
def test_self_attention_does_not_know_the_order(n, seed):
    g = torch.Generator().manual_seed(seed)
    attention = MultiHeadAttention(8, 2)
    X, order = torch.randn(1, n, 8, generator=g), torch.randperm(n, generator=g)
    assert_close(attention(X[:, order]), attention(X)[:, order], atol=1e-5, rtol=0)


def test_causal_attention_cannot_see_the_future():
    attention = MultiHeadAttention(8, 2)
    X = torch.randn(2, 6, 8)
    for here in (Context(is_causal=True), Context(mask=causal_mask(6))):
        before = attention(X, here)
        for n in range(6):
            changed = X.clone()
            changed[:, n] += 1
            after = attention(changed, here)
            assert_close(after[:, :n], before[:, :n])
            assert not torch.allclose(after[:, n], before[:, n])


def test_causal_together_with_a_mask_means_both():
    attention = MultiHeadAttention(8, 2)
    X, mask = torch.randn(2, 5, 8), padding_mask(torch.tensor([5, 2]))
    assert_close(attention(X, Context(mask=mask, is_causal=True)), attention(X, mask=mask & causal_mask(5)))


def test_split_and_merge_are_inverse_and_keep_heads_apart():
    X = torch.arange(2 * 5 * 6.0).view(2, 5, 6)
    heads = split_heads(X, 3)
    assert heads.shape == (2, 3, 5, 2)
    assert_close(heads[1, 2, 4], X[1, 4, 4:6])
    assert_close(merge_heads(heads), X)
    assert split_heads(torch.zeros(4, 6), 2).shape == (2, 4, 3)


def test_dtype_follows_the_input():
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        Q, K, V = random_qkv(dtype=dtype)
        assert scaled_dot_product_attention(Q, K, V, MASKS["one query nowhere"]).dtype == dtype
        assert softmax(Q.detach()).dtype == dtype


# --- errors ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("q", "k", "v", "mask", "message"),
    [
        ((4, 6), (7, 5), (7, 5), None, r"share D_k: got queries \(4, 6\), keys \(7, 5\)"),
        (
            (4, 6),
            (7, 6),
            (6, 5),
            None,
            r"one value for each: got queries \(4, 6\), keys \(7, 6\) and values \(6, 5\)",
        ),
        ((4, 6), (0, 6), (0, 5), None, "at least one key"),
        ((6,), (7, 6), (7, 5), None, "one row a token"),
        ((2, 4, 6), (3, 7, 6), (3, 7, 5), None, "axes before the tokens"),
        ((4, 6), (7, 6), (7, 5), torch.ones(7, 4, dtype=torch.bool), r"\(4, 7\): got \(7, 4\)"),
        (
            (2, 4, 6),
            (2, 7, 6),
            (2, 7, 5),
            torch.ones(2, 1, 1, 7, dtype=torch.bool),
            r"\(2, 4, 7\): got \(2, 1, 1, 7\)",
        ),
        ((4, 6), (7, 6), (7, 5), torch.ones(4, 7), "boolean.*got torch.float32"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_shapes(q, k, v, mask, message):
    with pytest.raises(ValueError, match=message):
        scaled_dot_product_attention(torch.randn(q), torch.randn(k), torch.randn(v), mask)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MultiHeadAttention(10, 3), "3 heads must divide d_model 10"),
        (lambda: MultiHeadAttention(12, 4, 3), "3 key-value heads must divide 4 heads"),
        (lambda: MultiHeadAttention(12, 4, 0), "0 key-value heads"),
        (lambda: MultiHeadAttention(12, 0), "0 heads"),
        (lambda: split_heads(torch.zeros(2, 7), 3), "3 heads must divide the width 7"),
        (lambda: MultiHeadAttention(12, 4)(torch.zeros(5, 12)), r"\(B, N, 12\).*got \(5, 12\)"),
        (lambda: MultiHeadAttention(12, 4)(torch.zeros(2, 5, 8)), r"\(B, N, 12\).*got \(2, 5, 8\)"),
        (
            lambda: MultiHeadAttention(12, 4)(torch.zeros(2, 5, 12), torch.zeros(3, 5, 12)),
            r"\(2, 5, 12\) and \(3, 5, 12\)",
        ),
        (
            lambda: MultiHeadAttention(12, 4)(torch.zeros(2, 5, 12), mask=causal_mask(4)),
            r"\(2, 4, 5, 5\): got \(4, 4\)",
        ),
        (lambda: MultiHeadAttention(12, 4)(torch.zeros(2, 5, 12), mask=torch.zeros(5, 5)), "boolean"),
        (lambda: padding_mask(torch.tensor([3, 6]), 5), r"0 ... 5, got \[3, 6\]"),
        (lambda: padding_mask(torch.tensor([3, -1])), r"got \[3, -1\]"),
        (lambda: padding_mask(torch.tensor([[3]])), r"\(B,\) integers, got \(1, 1\)"),
        (lambda: padding_mask(torch.tensor([3.0])), "float32"),
    ],
)
def test_wrong_calls_get_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
