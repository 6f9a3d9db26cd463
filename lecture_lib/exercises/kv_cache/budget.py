"""How many tokens a card has room for, beside the weights."""

import random

import torch

from lecture_lib.checks.exercise import Case, Exercise

DTYPES = {8: torch.int8, 16: torch.float16, 32: torch.float32}


def room_on_card(
    n_params: int,
    memory: int,
    n_layers: int,
    n_heads: int,
    n_kv_heads: int,
    d_head: int,
    context: int,
    bits: int = 16,
    kv_bits: int = 16,
) -> tuple[int, int]:
    """Divide a card's memory; the mistakes below are changes of these lines."""
    weight_bytes = n_params * bits / 8
    if weight_bytes > memory:
        raise ValueError(f"the weights take {weight_bytes:.4g} bytes, the card has {memory}")
    token_bytes = 2 * n_layers * n_kv_heads * d_head * kv_bits / 8
    tokens = int((memory - weight_bytes) // token_bytes)
    return tokens, tokens // context


def stored(bits: int, *shape: int) -> int:
    """Bytes of a tensor that is never made; two numbers of 4 bits share a byte."""
    if bits == 4:
        return torch.empty(*shape[:-1], shape[-1] // 2, dtype=torch.uint8, device="meta").nbytes
    return torch.empty(*shape, dtype=DTYPES[bits], device="meta").nbytes


def by_bisection(n_params, memory, n_layers, n_heads, n_kv_heads, d_head, context, bits=16, kv_bits=16):
    """Look for the longest cache, as a tensor, that fits beside the weights, and then for the most rows."""
    left = memory - stored(bits, n_params)
    if left < 0:
        raise ValueError("too large")
    tokens = most(lambda n: stored(kv_bits, 2, n_layers, n, n_kv_heads, d_head) <= left)
    return tokens, most(lambda rows: rows * context <= tokens)


def most(fits: object) -> int:
    """The largest number that fits."""
    low, high = 0, 1
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def budget_cases(seed: int) -> list[Case]:
    """The lecture's card, grouped queries, other bits, cards that are full to the byte, weights that do not fit."""
    draw = random.Random(seed)
    layers, d_head, kv = draw.randint(3, 80), 2 * draw.randint(9, 64), draw.randint(2, 8)
    shape, context = (layers, kv * draw.randint(2, 8), kv, d_head), draw.randint(50, 90)
    n = 2 * draw.randint(10**8, 10**10)
    token = 4 * layers * kv * d_head
    tokens = context * draw.randint(3, 90)
    exact = 2 * n + tokens * token
    cut = token // 3
    llama = (32, 32, 32, 128)
    kv_of = {"kv_bits": 8}
    return [
        Case("7 B weights of 16 bits on 24 GB", (7 * 10**9, 24 * 10**9, *llama, 4096)),
        Case("grouped queries, 80 GB", (n, 80 * 10**9, *shape, context)),
        Case(f"room for exactly {tokens} tokens, whole texts", (n, exact, *shape, context)),
        Case("one byte less", (n, exact - 1, *shape, context)),
        Case("two thirds of a token more", (n, exact + token - cut, *shape, context)),
        Case("weights of 4 bits", (n, 40 * 10**9, *shape, context), {"bits": 4}),
        Case("weights of 32 bits, a cache of 8", (n, 99 * 10**9, *shape, context), {"bits": 32} | kv_of),
        Case("a cache of 4 bits", (n, 60 * 10**9, *shape, context), {"kv_bits": 4}),
        Case("the weights fill the card", (n, 2 * n, *shape, context)),
        Case("one byte too small: ValueError", (n, 2 * n - 1, *shape, context)),
        Case("far too small: ValueError", (70 * 10**9, 24 * 10**9, *shape, context)),
    ]


BUDGET = Exercise(
    name="kv_cache.room_on_card",
    points=2, difficulty=1, minutes=12,
    against="torch's bytes of tensors that are never made, and a search for the most that fits",
    reference=by_bisection,
    right=room_on_card,
    cases=budget_cases,
    mistakes=(
        ("only the keys are kept, or only the values. How many vectors does a head keep for each token?",
         "2 * n_layers", "n_layers"),
        ("one layer alone is counted. Which layers look back?",
         "2 * n_layers * n_kv_heads", "2 * n_kv_heads"),
        ("every query head has keys of its own. Which heads are kept when several queries share a key?",
         "n_layers * n_kv_heads", "n_layers * n_heads"),
        ("keys are counted for every query head, and values for the heads that are kept. How many keys do queries need that share one?",
         "2 * n_layers * n_kv_heads", "n_layers * (n_heads + n_kv_heads)"),
        ("the queries are kept, too. Who asks for the query of an old token?",
         "2 * n_layers * n_kv_heads", "n_layers * (n_heads + 2 * n_kv_heads)"),
        ("the number of queries that share a key is taken for the number of keys. Which argument counts the keys?",
         "2 * n_layers * n_kv_heads", "2 * n_layers * (n_heads // n_kv_heads)"),
        ("a gigabyte is taken as 2³⁰ bytes, though `memory` is in bytes already.",
         "(memory - weight_bytes) // token_bytes", "(memory / 10 ** 9 * 2 ** 30 - weight_bytes) // token_bytes"),
        ("the bits of a kept number are taken for bytes. How many bits has a byte?",
         "kv_bits / 8", "kv_bits"),
        ("weights of 4 bits take no room: 4 // 8 is 0. How many bytes do two of them take?",
         "n_params * bits / 8", "n_params * (bits // 8)"),
        ("the cache is counted with the bits of the weights. Which argument says how keys are stored?",
         "d_head * kv_bits", "d_head * bits"),
        ("the weights are counted with the bits of the cache. Which argument says how weights are stored?",
         "n_params * bits", "n_params * kv_bits"),
        ("the weights take no room. What is left for the cache?",
         "(memory - weight_bytes) // token_bytes", "memory // token_bytes"),
        ("the tokens are rounded to the nearest whole number. Does half a token fit?",
         "int((memory - weight_bytes) // token_bytes)", "round((memory - weight_bytes) / token_bytes)"),
        ("a text that fits in part is counted. How many texts fit whole?",
         "tokens // context", "-(-tokens // context)"),
        ("weights that fill the card exactly are refused. When do they not fit?",
         "weight_bytes > memory", "weight_bytes >= memory"),
        ("weights that do not fit are not refused. What should happen with 140 GB on a card of 24 GB?",
         "weight_bytes > memory", "False"),
    ),
)  # fmt: skip
