"""Chapter 3's checks beyond the generic ones: examples in docstrings are true, unusual right answers pass, near misses do not."""

import doctest
import inspect
import math

import pytest
import torch
from answers import verdict_of
from torch.nn import functional as F

from lecture_lib import attention, checks
from lecture_lib.checks.message import text
from lecture_lib.checks.watch import resolve

verdict = verdict_of("attention", seed=3)


@pytest.mark.parametrize(
    "task",
    [task for task in checks.chapter("attention").values() if task.kind == "write"],
    ids=lambda task: task.function,
)
def test_the_example_in_the_docstring_is_true(task):
    function = resolve(f"lecture_lib.{task.name}")
    names = {**vars(attention), "torch": torch, task.function: function}
    examples = doctest.DocTestFinder().find(inspect.unwrap(function), task.function, globs=names)
    results = [doctest.DocTestRunner().run(each) for each in examples]
    assert sum(result.attempted for result in results) >= 1
    assert sum(result.failed for result in results) == 0


def softmax_by_loops(x, dim=-1):
    rows = x.movedim(dim, -1)
    out = []
    for row in rows.reshape(-1, rows.shape[-1]):
        largest = max(value.item() for value in row)
        powers = torch.zeros_like(row) if largest == -math.inf else (row - largest).exp()
        out.append(powers / max(1, powers.sum()))
    return torch.stack(out).reshape(rows.shape).movedim(-1, dim)


def softmax_by_logarithms(x, dim=-1):
    return (x - x.logsumexp(dim, keepdim=True)).exp().nan_to_num(0)


def attention_by_keys_that_are_seen(Q, K, V, mask=None):
    attention.check_attention(Q, K, V, mask)
    leading, N, M = Q.shape[:-2], Q.shape[-2], K.shape[-2]
    seen = torch.ones(N, M, dtype=torch.bool) if mask is None else mask
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (Q, K, V, seen.expand(*leading, N, M))]
    out = [
        F.softmax(k[m] @ q / q.numel() ** 0.5, dim=0) @ v[m] if m.any() else 0 * v.sum(0)
        for Qb, k, v, masks in zip(*flat, strict=True)
        for q, m in zip(Qb, masks, strict=True)
    ]
    return torch.stack(out).reshape(*leading, N, V.shape[-1])


def attention_by_torch_softmax(Q, K, V, mask=None):
    attention.check_attention(Q, K, V, mask)
    scores = torch.einsum("...nk,...mk->...nm", Q * Q.shape[-1] ** -0.5, K)
    scores = scores if mask is None else torch.where(mask, scores, -torch.inf)
    return torch.softmax(scores, dim=-1).nan_to_num(0) @ V


def split_by_slices(X, n_heads):
    return torch.stack(X.chunk(n_heads, dim=-1), dim=-3)


def merge_by_joining(X):
    return torch.cat([X[..., h, :, :] for h in range(X.shape[-3])], dim=-1)


def many_heads_by_einsum(X, W_q, W_k, W_v, W_o, n_heads, mask=None):
    Q, K, V = (torch.einsum("...nd,dhk->...hnk", X, W.unflatten(1, (n_heads, -1))) for W in (W_q, W_k, W_v))
    read = attention_by_torch_softmax(Q, K, V, mask)
    return torch.einsum("...hnv,hvd->...nd", read, W_o.unflatten(0, (n_heads, -1)))


def cross_row_by_row(X, memory, W_q, W_k, W_v, W_o, n_heads, lengths=None):
    out = []
    for row, (x, m) in enumerate(zip(X, memory, strict=True)):
        m = m if lengths is None else m[: lengths[row]]
        if len(m) == 0:
            out.append(0 * x)
            continue
        heads = zip(*(W.chunk(n_heads, dim=1) for W in (W_q, W_k, W_v)), strict=True)
        read = [attention.scaled_dot_product_attention(x @ q, m @ k, m @ v) for q, k, v in heads]
        out.append(torch.cat(read, dim=-1) @ W_o)
    return torch.stack(out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("softmax", softmax_by_loops),
        ("softmax", softmax_by_logarithms),
        ("scaled_dot_product_attention", attention_by_keys_that_are_seen),
        ("scaled_dot_product_attention", attention_by_torch_softmax),
        ("split_heads", split_by_slices),
        ("merge_heads", merge_by_joining),
        ("multi_head_attention", many_heads_by_einsum),
        ("cross_attention", cross_row_by_row),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_an_unusual_right_answer_passes(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


def additive_mask(Q, K, V, mask=None):
    """Right in its values; a query that looks nowhere spoils the gradient of every query."""
    bias = 0 if mask is None else torch.zeros(mask.shape, dtype=Q.dtype).masked_fill(~mask, -torch.inf)
    return torch.softmax(Q @ K.mT / Q.shape[-1] ** 0.5 + bias, dim=-1).nan_to_num(0) @ V


def first_head_mask(X, *maps, mask=None):
    mask = maps[5] if len(maps) > 5 else mask
    mask = mask if mask is None or mask.ndim < 3 else mask[..., :1, :, :]
    return attention_by_many(X, *maps[:5], mask)


def finite_stand_in(Q, K, V, mask=None):
    attention.check_attention(Q, K, V, mask)
    if mask is None:
        return attention_by_torch_softmax(Q, K, V)
    scores = (Q @ K.mT / Q.shape[-1] ** 0.5).masked_fill(~mask, -1e30)
    return torch.softmax(scores, dim=-1).masked_fill(~mask.any(-1, keepdim=True), 0) @ V


def nowhere_by_counting(Q, K, V, mask=None):
    read = attention_by_torch_softmax(Q, K, V, mask)
    none = torch.tensor(False) if mask is None else (~mask).sum(-1, keepdim=True) == K.shape[-2]
    return (
        torch.where(none, torch.zeros_like(read), read) if mask is None or mask.shape[-1] > 1 else none * read
    )


def same_mask_for_all_heads(X, *maps, mask=None):
    mask = maps[5] if len(maps) > 5 else mask
    mask = mask if mask is None or mask.ndim < 4 else mask[:, :1]
    return attention_by_many(X, *maps[:5], mask)


def attention_by_many(X, W_q, W_k, W_v, W_o, n_heads, mask):
    return many_heads_by_einsum(X, W_q, W_k, W_v, W_o, n_heads, mask)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("softmax", lambda x, dim=-1: softmax_by_loops(x.float(), dim).to(x.dtype)),
        ("softmax", lambda x, dim=-1: softmax_by_loops(x.clamp(-50, 50), dim)),
        ("softmax", lambda x, dim=-1: softmax_by_loops(x, dim) * (softmax_by_loops(x, dim) > 1e-6)),
        ("scaled_dot_product_attention", additive_mask),
        (
            "scaled_dot_product_attention",
            lambda Q, K, V, mask=None: attention_by_torch_softmax(Q.detach(), K, V, mask),
        ),
        (
            "scaled_dot_product_attention",
            lambda Q, K, V, mask=None: attention_by_torch_softmax(Q, K, V, mask).squeeze(),
        ),
        ("split_heads", lambda X, n_heads: torch.stack(X.chunk(n_heads, dim=-1))),
        ("merge_heads", lambda X: X.permute(0, 2, 1, 3).flatten(2)),
        ("scaled_dot_product_attention", finite_stand_in),
        ("scaled_dot_product_attention", nowhere_by_counting),
        (
            "softmax",
            lambda x, dim=-1: softmax_by_loops(x.clamp_min(-1e4), dim) * (x > -math.inf).any(dim, True),
        ),
        ("multi_head_attention", first_head_mask),
        ("multi_head_attention", same_mask_for_all_heads),
        (
            "cross_attention",
            lambda X, memory, *maps, lengths=None: cross_row_by_row(X, memory, *maps[:5], lengths=lengths),
        ),
    ],
)
def test_a_near_miss_is_rejected(name, answer):
    assert not verdict(name, answer).passed
