"""Datasheets and what five people say of each: the lecture's card and riddle, limits that are just met, fresh ones."""

import random

from lecture_lib.checks.exercise import Case

CARD_24 = {"memory": 24e9, "bandwidth": 1.008e12, "flop_rate": 165e12}
CARD_80 = {"memory": 80e9, "bandwidth": 3.35e12, "flop_rate": 989e12}


def lecture_case() -> Case:
    """Seven billion weights on the lecture's card."""
    claims = [
        {"context": 38_000, "cards": 2},  # possible, because they share the cache too
        {"bits": 8},
        {"context": 19_100},
        {"context": 19_000},
        {"batch": 4, "context": 4_700},
    ]
    model = 30.0, 7 * 10**9, 16, 1000, 524_288
    return Case("7 B weights on the lecture's card of 24 GB", (*model, CARD_24, claims))


def riddle_case() -> Case:
    """The lecture's riddle, as five answers to it."""
    claims = [
        {},
        {"cards": 8},
        {"cards": 2, "bits": 4},
        {"bits": 4},
        {"cards": 2, "bits": 8, "tokens_a_step": 3},
    ]
    return Case("145.38 tokens/s of 70 B weights", (145.38, 70 * 10**9, 16, 400, 327_680, CARD_80, claims))


def edges(draw: random.Random) -> Case:
    """Powers of two, so that every limit is met to the byte: what just fits is possible."""
    card = {"memory": 2.0**33, "bandwidth": 2.0**40, "flop_rate": 2.0**39}
    n, token = 2**31, 2**18  # 4 GiB in 16 bits, then room for 2^14 tokens
    claims = [
        {"context": 2**14},  # memory and bandwidth both to the byte at 128 steps a second
        {"context": 2**14 + 1},
        {"context": 2**13, "batch": 2},  # 256 of all rows would be needed for the same steps
        {"bits": 8, "context": 2**13},  # room in memory, but no arithmetic to spare
        {"context": 2**13, "batch": 3},  # does not fit, unless the rows share what they keep
    ]
    order = draw.sample(range(5), 5)
    return Case("a card that is met to the byte", (128.0, n, 16, 64, token, card, [claims[k] for k in order]))


def arithmetic(draw: random.Random) -> Case:
    """Many rows on cards with little arithmetic: the third limit decides, and more rows do not help."""
    n, rows = draw.randint(10**9, 9 * 10**9), draw.randint(200, 400)
    speed = draw.uniform(2000, 6000)
    rate = 2 * n * speed / draw.uniform(2.2, 2.8)
    card = {"memory": 4e12, "bandwidth": 1e15, "flop_rate": rate}
    claims = [
        {"cards": 2, "tokens_a_step": 4, "bits": 4},
        {"cards": 2},
        {"batch": rows},
        {"batch": rows, "cards": 3},
        {"tokens_a_step": 4, "cards": 3},
    ]
    draw.shuffle(claims)
    return Case("a card that computes slowly", (speed, n, 16, 100, 10**5, card, claims))


def long_texts(draw: random.Random) -> Case:
    """Memory without end: a long cache is slow to read, each row has its own, and drafted tokens share it."""
    n, speed = draw.randint(10**9, 9 * 10**9), draw.uniform(20, 60)
    token, context = 131_072, draw.randint(40_000, 90_000)
    read = 2 * n + context * token
    card = {"memory": 4e12, "bandwidth": read * speed * draw.uniform(0.8, 0.95), "flop_rate": 1e16}
    least = int((1.15 * read - n / 2) / token)  # a cache that is too long to be read beside weights of 4 bits
    claims = [
        {"bits": 4, "context": least},
        {"context": context // 4},
        {"context": 3 * context, "cards": 3},
        {"tokens_a_step": 8, "context": 4 * context},
        {"batch": 8, "context": 4 * context},
    ]
    draw.shuffle(claims)
    return Case(f"texts of {context} tokens and more", (speed, n, 16, context, token, card, claims))


def long_drafts(draw: random.Random) -> Case:
    """A small model whose drafts are half as long as its text: they are among the context, and are not kept beside it."""
    n, token, speed = draw.randint(10**8, 2 * 10**8), 131_072, draw.uniform(200, 400)
    context = 2 * n // token  # the cache is as large as the weights
    drafted = context // 2
    card = {"memory": 4.4 * n, "bandwidth": 4 * n * speed * draw.uniform(0.3, 0.6), "flop_rate": 1e15}
    claims = [
        {"tokens_a_step": drafted},
        {},
        {"context": context + drafted, "tokens_a_step": drafted},
        {"context": context + drafted, "tokens_a_step": drafted, "cards": 2},
        {"context": context + drafted, "bits": 8},
    ]
    draw.shuffle(claims)
    return Case("a small model and long drafts", (speed, n, 16, context, token, card, claims))


def sheet(draw: random.Random) -> Case:
    """A fresh datasheet: the claims lie 8 to 40 % on either side of a limit, each for a reason of its own."""
    n, bits, context = draw.randint(10**9, 2 * 10**11), draw.choice([8, 16]), draw.randint(500, 9000)
    token = draw.choice([32_768, 131_072, 327_680])
    whole = n * bits / 8 + context * token
    steps = draw.uniform(5, 60)
    near = lambda: draw.choice([-1, 1]) * draw.uniform(0.08, 0.4)  # noqa: E731
    cards, rows, drafted = draw.randint(3, 9), draw.randint(3, 40), draw.randint(2, 5)
    kind = draw.randrange(4)
    read = {0: whole, 1: n * bits / 8 + rows * context * token, 2: whole, 3: n / 2 + context * token}[kind]
    speed = steps * (rows if kind == 1 else drafted if kind == 2 else 1)
    bandwidth = read * steps * (1 + near()) / (cards if kind == 0 else 1)
    memory = draw.choice([3 * read, read * (1 + near()) / (cards if kind == 0 else 1)])
    card = {"memory": memory, "bandwidth": bandwidth, "flop_rate": 2 * n * speed * draw.uniform(1.1, 90)}
    claims = [
        {"cards": cards},
        {"batch": rows},
        {"tokens_a_step": drafted},
        {"bits": 4},
        {"context": 3 * context, "cards": 2},
    ]
    draw.shuffle(claims)
    what = f"a datasheet: {speed:.0f} tokens/s of {n / 1e9:.1f} B weights of {bits} bits"
    return Case(what, (speed, n, bits, context, token, card, claims))


def datasheet_cases(seed: int) -> list[Case]:
    """The lecture's card and its riddle, limits that are met exactly, and fresh datasheets."""
    draw = random.Random(seed)
    return [
        lecture_case(),
        riddle_case(),
        edges(draw),
        arithmetic(draw),
        long_texts(draw),
        long_drafts(draw),
        *(sheet(draw) for _ in range(24)),
    ]
