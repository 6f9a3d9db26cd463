"""One attention layer with a cache: rotary places that go on, grouped queries, any number of new tokens."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.attention import scaled_dot_product_attention
from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.embedding import apply_rotary

Pair = tuple[Tensor, Tensor]


def cached_attention(
    X: Tensor,
    W_q: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    W_o: Tensor,
    d_head: int,
    past: Pair | None = None,
) -> tuple[Tensor, Pair]:
    """Compute new tokens alone; the mistakes below are changes of these lines."""
    n_new = X.shape[-2]
    start = 0 if past is None else past[0].shape[-2]
    positions = torch.arange(start, start + n_new)
    Q, K, V = ((X @ W).unflatten(-1, (-1, d_head)).transpose(-2, -3) for W in (W_q, W_k, W_v))
    Q, K = apply_rotary(Q, positions), apply_rotary(K, positions)
    if past is not None:
        K, V = torch.cat([past[0], K], -2), torch.cat([past[1], V], -2)
    mask = torch.ones(n_new, start + n_new, dtype=torch.bool).tril(start)
    group = Q.shape[-3] // K.shape[-3]
    shared_K, shared_V = (T.repeat_interleave(group, -3) for T in (K, V))
    Y = scaled_dot_product_attention(Q, shared_K, shared_V, mask)
    return Y.transpose(-2, -3).flatten(-2) @ W_o, (K, V)


def at_once(X: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, W_o: Tensor, d_head: int) -> tuple:
    """The layer without a cache: torch's kernel on the whole text, turned in float64 by cosines and sines."""
    dtype, X, W_q, W_k, W_v, W_o = X.dtype, *(T.double() for T in (X, W_q, W_k, W_v, W_o))
    Q, K, V = ((X @ W).view(*X.shape[:2], -1, d_head).transpose(1, 2) for W in (W_q, W_k, W_v))
    half = d_head // 2
    omega = torch.exp(-math.log(10_000) * torch.arange(half, dtype=F64) / half)
    angle = torch.arange(X.shape[1], dtype=F64)[:, None] * omega
    c, s = angle.cos(), angle.sin()
    Q, K = (
        torch.cat([T[..., :half] * c - T[..., half:] * s, T[..., :half] * s + T[..., half:] * c], -1)
        for T in (Q, K)
    )
    Y = F.scaled_dot_product_attention(Q, K, V, is_causal=True, enable_gqa=True)
    return tuple(T.to(dtype) for T in (Y.transpose(1, 2).flatten(2) @ W_o, K, V))


def in_pieces(
    answer: object, X: Tensor, maps: list[Tensor], d_head: int, pieces: list[int], times: int = 1
) -> tuple:
    """Read a text in pieces, each so many times behind what the last one handed on: all results, and what is kept at the end."""
    if answer is at_once:
        return at_once(X, *maps, d_head)
    past, results = None, []
    for piece in X.split(pieces, 1):
        for _ in range(times):
            Y, kept = answer(piece, *maps, d_head, past)
        past = kept
        results.append(Y)
    return torch.cat(results, 1), *past


def layer_cases(seed: int) -> list[Case]:
    """At once, token by token, pieces; each head its own keys, groups, one key for all; two texts, float64."""
    draw = Draw(seed)
    B, kv, group = draw.size(2, 4), draw.size(2, 3), draw.size(2, 3)
    d_head, N = 2 * draw.size(3, 5), draw.size(7, 11)
    first = draw.size(2, 3)

    def call(
        pieces: list[int], kv: int = kv, group: int = group, dtype: torch.dtype = torch.float32
    ) -> tuple:
        D = kv * group * d_head - 3  # no multiple of d_head: heads are not counted by it
        widths = [(D, kv * group * d_head), (D, kv * d_head), (D, kv * d_head), (kv * group * d_head, D)]
        maps = [(1.5 * draw.normal(*shape, dtype=F64) / shape[0] ** 0.5).to(dtype) for shape in widths]
        return draw.normal(B, sum(pieces), D, dtype=dtype), maps, d_head, pieces

    return [
        Case(f"N={N} tokens at once, {kv * group} heads share {kv}", call([N])),
        Case(f"N={N} tokens one by one", call([1] * N)),
        Case(f"a prompt of {N - 2}, then two tokens", call([N - 2, 1, 1])),
        Case("three pieces", call([first, N - first - 1, 4])),
        Case("one by one, each head its own keys", call([1] * 5, kv=3, group=1)),
        Case("two pieces, all heads share one key", call([4, 3], kv=1, group=3)),
        Case("pieces of 1, 3, 2 tokens, float64", call([1, 3, 2], dtype=F64)),
        Case("two pieces, each twice behind the same `past`", call([3, 2]), {"times": 2}),
    ]


LAYER = Exercise(
    name="kv_cache.cached_attention",
    points=4, difficulty=3, minutes=30,
    against="the layer without a cache on the whole text, with torch's kernel (float64)",
    reference=at_once,
    right=cached_attention,
    use=in_pieces,
    cases=layer_cases,
    tolerance=2e-5,
    mistakes=(
        ("every piece begins at place 0. How many tokens stand before it?",
         "torch.arange(start, start + n_new)", "torch.arange(n_new)"),
        ("only the queries of every piece begin at place 0. Which place has a new token, as a query and as a key?",
         "apply_rotary(Q, positions)", "apply_rotary(Q, torch.arange(n_new))"),
        ("the places begin at 1. Which place has the first token of a text?",
         "torch.arange(start, start + n_new)", "torch.arange(start + 1, start + n_new + 1)"),
        ("the places are one too large after the first piece. Which place has the first new token if M are kept?",
         "torch.arange(start, start + n_new)", "torch.arange(start, start + n_new) + (start > 0)"),
        ("the mask starts in its upper left corner, so new tokens look at the oldest only. How far may token 0 of the piece look?",
         ".tril(start)", ".tril()"),
        ("there is no mask: inside a piece a token looks at later ones. When is none needed?",
         ".tril(start)", ""),
        ("only the first piece has a mask: in a later one a token looks at those behind it. When is none needed?",
         ".tril(start)", ".tril(start + n_new if start else 0)"),
        ("the first piece has no mask, only those behind it. Which tokens of a prompt may a token look at?",
         ".tril(start)", ".tril(start or n_new)"),
        ("the mask is upside down. What does True mean?", ".tril(start)", ".triu(start + 1)"),
        ("a new token looks at the tokens of its own piece only. What is kept for?",
         ".tril(start)", ".tril(start) & (torch.arange(start + n_new) >= start)"),
        ("a token may look at the one behind it. Where does the triangle end?",
         ".tril(start)", ".tril(start + 1)"),
        ("keys are not turned. What does a kept key know of its place?",
         "apply_rotary(K, positions)", "K"),
        ("queries are not turned. What does the score of two turned vectors depend on?",
         "apply_rotary(Q, positions)", "Q"),
        ("kept keys are turned once more with every piece. How are they kept?",
         "torch.cat([past[0], K], -2)", "apply_rotary(torch.cat([past[0], K], -2), torch.arange(start + n_new))"),
        ("new keys stand before the old ones. In which order is a text kept?",
         "torch.cat([past[0], K], -2), torch.cat([past[1], V], -2)", "torch.cat([K, past[0]], -2), torch.cat([V, past[1]], -2)"),
        ("old keys stand where old values belong. Which is past[0]?",
         "torch.cat([past[0], K], -2), torch.cat([past[1], V], -2)", "torch.cat([past[1], K], -2), torch.cat([past[0], V], -2)"),
        ("the groups are dealt out like cards: head h reads key h modulo H_kv. Which queries share key 0?",
         "T.repeat_interleave(group, -3)", "T.repeat(1, group, 1, 1)"),
        ("a head takes features that lie apart, not neighbours. Which features of X @ W belong to head 0?",
         ".unflatten(-1, (-1, d_head))", ".unflatten(-1, (d_head, -1)).mT"),
        ("the heads' results are not put side by side for each token. Which axis comes before the features?",
         "Y.transpose(-2, -3).flatten(-2)", "Y.reshape(*X.shape[:-1], -1)"),
        ("only the new keys and values come back. What does the next call need?",
         "W_o, (K, V)", "W_o, (K[..., -n_new:, :], V[..., -n_new:, :])"),
        ("keys are kept as they are before they are turned, and all are turned again in every call. How should they be kept?",
         "apply_rotary(K, positions)", "K", "for T in (K, V)", "for T in (apply_rotary(K, torch.arange(start + n_new)), V)"),
        ("the keys are kept once for every query head. How many heads need to be kept?",
         "W_o, (K, V)", "W_o, (shared_K, shared_V)"),
        ("the scores are divided by the root of the model's width. Whose width counts?",
         "(Q, shared_K", "(Q * (d_head / X.shape[-1]) ** 0.5, shared_K"),
    ),
)  # fmt: skip
