"""The exercises of the cache beyond what holds for all: other ways to a right answer pass, near misses do not."""

import pytest
import torch
from answers import verdict_of
from torch.nn import functional as F

from lecture_lib.attention import Context
from lecture_lib.checks.message import text
from lecture_lib.decoder import Decoder
from lecture_lib.embedding import apply_rotary
from lecture_lib.exercises.kv_cache.claims import riddle_case
from lecture_lib.exercises.kv_cache.datasheet import explain
from lecture_lib.exercises.kv_cache.speed import predicted_speed
from lecture_lib.kv_cache import KVCache
from lecture_lib.roofline import StepCost, step_cost
from lecture_lib.transformer import ModelConfig

verdict = verdict_of("kv_cache")


def room_in_bits(
    n_params, memory, n_layers, n_heads, n_kv_heads, d_head, context, bits=16, kv_bits=16, least=0, slack=0
):
    left = 8 * memory - n_params * bits
    if left < -slack:
        raise ValueError("too large")
    tokens = left // (2 * n_layers * n_kv_heads * d_head * kv_bits)
    return max(tokens, least), max(tokens, least) // context


def layer_by_torch(X, W_q, W_k, W_v, W_o, d_head, past=None, turned=True, view=True):
    """The kernel with groups, a mask from places; `turned` and `view` false are near misses."""
    start = 0 if past is None else past[0].shape[2]
    at = start + torch.arange(X.shape[1])
    cut = lambda T: T.view(*T.shape[:2], -1, d_head) if view else T.view(*T.shape[:2], d_head, -1).mT  # noqa: E731
    Q, K, V = (cut(X @ W).transpose(1, 2) for W in (W_q, W_k, W_v))
    Q = apply_rotary(Q, at)
    K = apply_rotary(K, at if turned else at - start)
    if past is not None:
        K, V = torch.cat((past[0], K), 2), torch.cat((past[1], V), 2)
    mask = at[:, None] >= torch.arange(K.shape[2])
    Y = F.scaled_dot_product_attention(Q, K, V, attn_mask=mask, enable_gqa=True)
    return Y.transpose(1, 2).flatten(2) @ W_o, (K, V)


def layer_with_heads_of_the_model(X, W_q, W_k, W_v, W_o, d_head, past=None):
    """Count the query heads by the model's width."""
    n_heads = X.shape[-1] // d_head
    return layer_by_torch(X, W_q[:, : n_heads * d_head], W_k, W_v, W_o[: n_heads * d_head], d_head, past)


def layer_with_a_memory():
    """A layer that looks at what it kept itself, and not at `past`."""
    kept = []

    def layer(*given):
        past = kept.pop() if given[6] is not None else None
        Y, pair = layer_by_torch(*given[:6], past)
        kept[:] = [pair]
        return Y, pair

    return layer


def layer_that_spoils_past(*given):
    Y, pair = layer_by_torch(*given)
    for each in given[6] or ():
        each.zero_()
    return Y, pair


def chunks_by_the_library(model, ids, chunk_size, rest=True):
    cache, logits = KVCache(model.config, len(ids), ids.shape[1]), []
    for chunk in ids.split(chunk_size, 1):
        logits.append(model(chunk, here=cache.begin(chunk.shape[1])))
        if not rest and len(logits) > 1:  # forgets every second chunk
            cache.truncate(0)
    return torch.cat(logits, 1)


def chunks_with_lists(model, ids, chunk_size, per_row=False):
    keys, values, logits = {}, {}, []

    def keep(layer, K, V):
        keys.setdefault(layer, []).append(K)
        values.setdefault(layer, []).append(V)
        return torch.cat(keys[layer], 2), torch.cat(values[layer], 2)

    for start in range(0, ids.shape[1], chunk_size):
        chunk = ids[:, start : start + chunk_size]
        mask = torch.ones(chunk.shape[1], start + chunk.shape[1], dtype=torch.bool).tril(start)
        places = start + torch.arange(chunk.shape[1])
        logits.append(model(chunk, here=Context(places, mask, keep=keep)))
    return torch.cat(logits, 1)


def speed_by_hand(P, L, H, KV, D, B, N, M, bandwidth, rate, bits=16, kv_bits=16, seen=None, tie="memory"):
    read = P * bits / 8 + B * L * KV * D * (M + N) * kv_bits / 4
    flops = B * sum(2 * P + 4 * L * H * D * (M + 1 + i if seen is None else seen) for i in range(N))
    memory, arithmetic = read / bandwidth, flops / rate
    limit = "memory" if memory > arithmetic else "arithmetic" if arithmetic > memory else tie
    return B * N / max(memory, arithmetic), limit


def explain_by_speeds(
    tokens_per_second,
    n_params,
    bits,
    context,
    token_bytes,
    card,
    claims,
    per_row=False,
    gib=1.0,
    copied=False,
):
    """The largest speed of each claim."""
    wrong = []
    for i, claim in enumerate(claims):
        b, c = claim.get("bits", bits), claim.get("context", context)
        rows, cards, more = (claim.get(key, 1) for key in ("batch", "cards", "tokens_a_step"))
        size = n_params * b / 8 + rows * c * token_bytes
        held = size / cards if not copied else n_params * b / 8 / cards + rows * c * token_bytes
        best = min(cards * card["bandwidth"] / size * rows * more, cards * card["flop_rate"] / (2 * n_params))
        if held > card["memory"] * gib or best < tokens_per_second * (rows if per_row else 1):
            wrong.append(i)
    return tokens_per_second * (n_params * bits / 8 + context * token_bytes), wrong


RIGHT = {
    "room_on_card": [room_in_bits],
    "cached_attention": [layer_by_torch],
    "read_in_chunks": [chunks_by_the_library, chunks_with_lists],
    "predicted_speed": [speed_by_hand],
    "explain": [explain_by_speeds],
}


def near(answer, **named):
    return lambda *inputs, **more: answer(*inputs, **more, **named)


NEAR_MISSES = [
    ("room_on_card", near(room_in_bits, least=1)),
    ("room_on_card", near(room_in_bits, slack=8)),
    ("room_on_card", lambda *a, **k: tuple(map(float, room_in_bits(*a, **k)))),
    ("cached_attention", near(layer_by_torch, turned=False)),
    ("cached_attention", near(layer_by_torch, view=False)),
    ("cached_attention", layer_with_heads_of_the_model),
    ("cached_attention", layer_with_a_memory()),
    ("cached_attention", layer_that_spoils_past),
    ("read_in_chunks", near(chunks_by_the_library, rest=False)),
    ("read_in_chunks", lambda model, ids, n: chunks_with_lists(model, ids, n + 1)),
    ("read_in_chunks", lambda model, ids, n: chunks_with_lists(model, ids, max(1, n - 1))),
    ("predicted_speed", near(speed_by_hand, seen=1000)),
    ("predicted_speed", near(speed_by_hand, tie="arithmetic")),
    ("predicted_speed", lambda *a, kv_bits=16, **k: speed_by_hand(*a, kv_bits=8 * (kv_bits // 8), **k)),
    ("predicted_speed", lambda *a, **k: (speed_by_hand(*a, **k)[0], "memory")),
    ("explain", near(explain_by_speeds, per_row=True)),
    ("explain", near(explain_by_speeds, copied=True)),
    ("explain", lambda s, n, b, c, t, card, claims: explain_by_speeds(s, n, b, c, t, card | {"flop_rate": card["flop_rate"] * (1 - 1e-9)}, claims)),
    ("explain", near(explain_by_speeds, gib=1.0737)),
    ("explain", near(explain_by_speeds, gib=1.001)),
    ("explain", lambda *a: (explain_by_speeds(*a)[0], explain_by_speeds(*a)[1][::-1])),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "answer"), [(name, each) for name in RIGHT for each in RIGHT[name]])
def test_other_ways_to_a_right_answer_pass(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("name", "answer"), NEAR_MISSES)
def test_near_misses_do_not_pass(name, answer, seed):
    assert not verdict(name, answer, seed).passed


def test_the_predicted_speed_is_that_of_the_library():
    """A model without embeddings' rows, biases and norms has its products alone."""
    config = ModelConfig(50, 24, 6, 3, context_length=64, n_kv_heads=2, positions="rotary", norm_first=True)
    model = Decoder(config).half()
    for batch, context, n_new in ((1, 20, 1), (5, 20, 1)):
        cost = step_cost(model, context, batch, n_new)
        products = cost.flops / (2 * batch) - 2 * 3 * 6 * 4 * context
        shape = (int(products), 3, 6, 2, 4, batch, n_new, context - n_new)
        assert predicted_speed(*shape, 1e15, 1e9)[0] == pytest.approx(cost.tokens_per_second(1e15, 1e9))
        weights = int(cost.weight_bytes / 2)
        assert predicted_speed(weights, *shape[1:], 1e9, 1e18)[0] == pytest.approx(
            cost.tokens_per_second(1e9, 1e18)
        )


def test_the_riddle_needs_six_cards_for_their_bandwidth():
    least, impossible = explain(*riddle_case().inputs)
    cost = StepCost(weight_bytes=140e9, kv_bytes=400 * 327_680, flops=0, batch=1)
    assert least == pytest.approx(cost.bandwidth_for(145.38)) and 6 < least / 3.35e12 < 7
    assert impossible == [0, 3]
