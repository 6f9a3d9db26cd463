"""The roofline's prediction for any forward: B rows with N new tokens each, behind texts that are kept."""

import random
from fractions import Fraction

from lecture_lib.checks.exercise import Case, Exercise


def predicted_speed(
    n_params: int,
    n_layers: int,
    n_heads: int,
    n_kv_heads: int,
    d_head: int,
    batch: int,
    n_new: int,
    context: int,
    bandwidth: float,
    flop_rate: float,
    bits: int = 16,
    kv_bits: int = 16,
) -> tuple[float, str]:
    """Compare the two times; the mistakes below are changes of these lines."""
    token_bytes = 2 * n_layers * n_kv_heads * d_head * kv_bits / 8
    read = n_params * bits / 8 + batch * (context + n_new) * token_bytes
    pairs = n_new * context + n_new * (n_new + 1) // 2  # (new token, token it looks at)
    flops = batch * (2 * n_params * n_new + 4 * n_layers * n_heads * d_head * pairs)
    waits = {"memory": read / bandwidth, "arithmetic": flops / flop_rate}
    limit = max(waits, key=waits.get)
    return batch * n_new / waits[limit], limit


def token_by_token(
    n_params, n_layers, n_heads, n_kv_heads, d_head, batch, n_new, context, *rates, bits=16, kv_bits=16
) -> tuple[float, str]:
    """Count every row, head and token for itself, in exact fractions of a byte."""
    read, flops = Fraction(n_params * bits, 8), 0
    for _ in range(batch):
        for _ in range(n_kv_heads):
            read += Fraction(n_layers * (context + n_new) * (d_head + d_head) * kv_bits, 8)
        for i in range(n_new):
            seen = context + i + 1
            scores = mixing = seen * (d_head + d_head)  # a product and a sum for each feature
            flops += 2 * n_params + n_layers * n_heads * (scores + mixing)
    bandwidth, flop_rate = map(Fraction, rates)
    memory, arithmetic = read / bandwidth, flops / flop_rate
    limit = "memory" if memory >= arithmetic else "arithmetic"
    return float(batch * n_new / max(memory, arithmetic)), limit


def speed_cases(seed: int) -> list[Case]:
    """Decoding and reading, one row and many, under both roofs; few bits; long texts, in which attention counts."""
    draw = random.Random(seed)
    layers, kv, group = draw.randint(3, 9), draw.randint(2, 4), draw.randint(3, 5)
    d_head = draw.randint(20, 40)
    heads = (kv * group, kv, d_head)
    shape = (2 * draw.randint(5 * 10**4, 15 * 10**4), layers, *heads)  # even: 4 bits make whole bytes
    B, N, M = draw.randint(3, 9), draw.randint(11, 40), draw.randint(1000, 3000)
    slow, fast = draw.uniform(1e9, 9e9), draw.uniform(1e15, 9e15)
    one, many = (*shape, 1, 1), (*shape, B, 1)
    return [
        Case("70 B, one row, on 3.35 TB/s", (70 * 10**9, 80, 64, 8, 128, 1, 1, 400, 3.35e12, 989e12)),
        Case("one row, memory is slow", (*one, M, slow, fast)),
        Case("one row, arithmetic is slow", (*one, M, fast, slow)),
        Case("many rows, memory is slow", (*many, M, slow, fast)),
        Case("many rows, arithmetic is slow", (*many, M, fast, slow)),
        Case(f"a prompt of {N} tokens, nothing kept, arithmetic is slow", (*shape, 1, N, 0, fast, slow)),
        Case(f"{B} chunks of {N} tokens behind {M}, arithmetic is slow", (*shape, B, N, M, fast, slow)),
        Case(f"{B} chunks of {N} tokens behind {M}, memory is slow", (*shape, B, N, M, slow, fast)),
        Case("weights of 4 bits", (*many, M, slow, fast), {"bits": 4}),
        Case("weights of 4 bits, arithmetic is slow", (*many, M, fast, slow), {"bits": 4}),
        Case("a cache of 4 bits", (*many, M, slow, fast), {"kv_bits": 4}),
        nearly_alike("memory is a little slower", (*shape, 20, 1, M), 1.2),
        nearly_alike("arithmetic is a little slower", (*shape, 20, 1, M), 1 / 1.2),
        # Powers of two: 2^22 bytes and 2^24 operations, whatever the order in which they are counted.
        Case("both at the same time", (2**20, 4, 8, 2, 16, 4, 1, 1023, 2.0**30, 2.0**32)),
    ]


def nearly_alike(what: str, sizes: tuple, rate: float) -> Case:
    """A forward that waits for memory `rate` times as long as for arithmetic; a cache as long as this one moves the ridge."""
    bandwidth = 1e9
    of_memory, _ = token_by_token(*sizes, bandwidth, 1e30)
    of_arithmetic, _ = token_by_token(*sizes, 1e30, 1.0)
    return Case(f"both nearly alike, {what}", (*sizes, bandwidth, rate * of_memory / of_arithmetic))


SPEED = Exercise(
    name="kv_cache.predicted_speed",
    points=3, difficulty=2, minutes=18,
    against="a count token by token and head by head, in exact fractions",
    reference=token_by_token,
    right=predicted_speed,
    cases=speed_cases,
    mistakes=(
        ("every row reads the weights for itself. What is shared in a step?",
         "n_params * bits / 8 + batch * (context + n_new) * token_bytes",
         "batch * (n_params * bits / 8 + (context + n_new) * token_bytes)"),
        ("every new token reads the weights for itself. What is shared in a forward?",
         "n_params * bits / 8 +", "n_new * n_params * bits / 8 +"),
        ("the rows share one cache. Whose keys does a row look at?",
         "batch * (context + n_new) * token_bytes", "(context + n_new) * token_bytes"),
        ("the cache is left out of what is read. How large is it for a long text?",
         " + batch * (context + n_new) * token_bytes", ""),
        ("the keys and values of the new tokens themselves are not read. What does the last new token look at?",
         "(context + n_new) * token_bytes", "context * token_bytes"),
        ("a token keeps keys, or values, but not both. How many vectors?",
         "2 * n_layers * n_kv_heads", "n_layers * n_kv_heads"),
        ("a multiplication and the addition behind it count as one operation. How many are they?",
         "2 * n_params", "n_params"),
        ("the weights' operations are counted once a row, however many new tokens it has. Which tokens go through the weights?",
         "2 * n_params * n_new", "2 * n_params"),
        ("the rows share the operations of the weights. What do they share, the reading or the computing?",
         "batch * (2 * n_params * n_new + 4 * n_layers * n_heads * d_head * pairs)",
         "2 * n_params * n_new + batch * 4 * n_layers * n_heads * d_head * pairs"),
        ("looking back is counted in one layer. Which layers look back?",
         "4 * n_layers * n_heads", "4 * n_heads"),
        ("looking back costs no operations. How many does one score take?",
         " + 4 * n_layers * n_heads * d_head * pairs", ""),
        ("the scores are counted, the mix of the values is not. What follows the softmax?",
         "4 * n_layers", "2 * n_layers"),
        ("every new token looks at all new ones. What does the causal mask leave out?",
         "n_new * (n_new + 1) // 2", "n_new * n_new"),
        ("new tokens do not look at each other. Does a token look at itself?",
         "n_new * context + n_new * (n_new + 1) // 2", "n_new * context"),
        ("all query heads read keys of their own. How many heads are kept?",
         "n_kv_heads * d_head", "n_heads * d_head"),
        ("only one query of a group computes. Who looks at the keys?",
         "n_heads * d_head * pairs", "n_kv_heads * d_head * pairs"),
        ("the operations of one row are counted. How many rows are there?",
         "batch * (2 * n_params", "1 * (2 * n_params"),
        ("the speed of one row is given. How many tokens does a forward take in?",
         "batch * n_new / waits", "n_new / waits"),
        ("forwards a second are given. How many tokens does one take in?",
         "batch * n_new / waits", "1 / waits"),
        ("the shorter time counts. Which of the two does a machine wait for?",
         "max(waits", "min(waits"),
        ("the two times are added, as if memory stood still while the machine computes.",
         "n_new / waits[limit]", "n_new / sum(waits.values())"),
        ("the wrong roof is named. Which time is the longer one?",
         "waits[limit], limit", "waits[limit], min(waits, key=waits.get)"),
        ("at equal times arithmetic is named. Which roof is asked for then?",
         "{'memory': read / bandwidth, 'arithmetic': flops / flop_rate}", "{'arithmetic': flops / flop_rate, 'memory': read / bandwidth}"),
        ("numbers of 4 bits take no room: 4 // 8 is 0. How many bytes do two of them take?",
         "kv_bits / 8", "(kv_bits // 8)"),
        ("weights of 4 bits are not read: 4 // 8 is 0. How many bytes do two of them take?",
         "n_params * bits / 8", "n_params * (bits // 8)"),
        ("fewer bits are taken to mean fewer operations. How many operations does a weight take in each row?",
         "2 * n_params * n_new", "2 * n_params * n_new * bits / 16"),
        ("bits are taken for bytes. How many bits has a byte?",
         "n_params * bits / 8", "n_params * bits"),
        ("kept numbers have the bits of the weights. Which argument says how keys are stored?",
         "d_head * kv_bits", "d_head * bits"),
    ),
)  # fmt: skip
