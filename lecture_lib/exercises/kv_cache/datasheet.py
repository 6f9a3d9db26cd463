"""Judge a datasheet: the bandwidth that a speed needs, and which explanations of it are impossible."""

import random
from fractions import Fraction

from lecture_lib.checks.exercise import Case, Exercise

CARD_24 = {"memory": 24e9, "bandwidth": 1.008e12, "flop_rate": 165e12}
CARD_80 = {"memory": 80e9, "bandwidth": 3.35e12, "flop_rate": 989e12}


def explain(
    tokens_per_second: float,
    n_params: int,
    bits: int,
    context: int,
    token_bytes: int,
    card: dict[str, float],
    claims: list[dict[str, int]],
) -> tuple[float, list[int]]:
    """Hold every claim to three limits; the mistakes below are changes of these lines."""
    plain = {"bits": bits, "context": context, "batch": 1, "cards": 1, "tokens_a_step": 1}
    least = (n_params * bits / 8 + context * token_bytes) * tokens_per_second
    impossible = []
    for place, claim in enumerate(claims):
        said = plain | claim
        read = n_params * said["bits"] / 8 + said["batch"] * said["context"] * token_bytes
        steps = tokens_per_second / (said["batch"] * said["tokens_a_step"])
        fits = read <= said["cards"] * card["memory"]
        is_read = read * steps <= said["cards"] * card["bandwidth"]
        is_computed = 2 * n_params * tokens_per_second <= said["cards"] * card["flop_rate"]
        if not (fits and is_read and is_computed):
            impossible.append(place)
    return least, impossible


def by_seconds(tokens_per_second, n_params, bits, context, token_bytes, card, claims):
    """The seconds that a step may take against those that it must take, in exact fractions, each card with its share."""
    speed = Fraction(tokens_per_second)
    memory, bandwidth, rate = (Fraction(card[key]) for key in ("memory", "bandwidth", "flop_rate"))
    cached = Fraction(context * token_bytes)
    least = (Fraction(n_params * bits, 8) + cached) / (1 / speed)
    wrong = []
    for place, claim in enumerate(claims):
        rows, cards = claim.get("batch", 1), claim.get("cards", 1)
        share = Fraction(n_params * claim.get("bits", bits), 8)
        share = (share + rows * claim.get("context", context) * token_bytes) / cards
        tokens = rows * claim.get("tokens_a_step", 1)
        allowed = tokens / speed
        needed = max(share / bandwidth, Fraction(2 * n_params * tokens, cards) / rate)
        if share > memory or needed > allowed:
            wrong.append(place)
    return float(least), wrong


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
    claims = [
        {},
        {"context": context // 4},
        {"context": 3 * context, "cards": 3},
        {"tokens_a_step": 8, "context": 4 * context},
        {"batch": 8, "context": 4 * context},
    ]
    draw.shuffle(claims)
    return Case(f"texts of {context} tokens and more", (speed, n, 16, context, token, card, claims))


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
    return Case("a datasheet", (speed, n, bits, context, token, card, claims))


def datasheet_cases(seed: int) -> list[Case]:
    """The lecture's card and its riddle, limits that are met exactly, and fresh datasheets."""
    draw = random.Random(seed)
    return [
        lecture_case(),
        riddle_case(),
        edges(draw),
        arithmetic(draw),
        long_texts(draw),
        *(sheet(draw) for _ in range(24)),
    ]


EXPLAIN = Exercise(
    name="kv_cache.explain",
    points=4, difficulty=3, minutes=30,
    against="the seconds a step may take and must take, in exact fractions",
    reference=by_seconds,
    right=explain,
    cases=datasheet_cases,
    kind="judge",
    entry="place",
    mistakes=(
        ("nobody asks whether weights and cache fit into memory. How many gigabytes has a card?",
         "fits and is_read", "is_read"),
        ("nobody asks whether memory is fast enough. How often are the weights read in a second?",
         "fits and is_read and", "fits and"),
        ("nobody asks whether the cards compute fast enough. How many operations does a token take?",
         " and is_computed", ""),
        ("only the weights have to fit. What else stands in memory?",
         "fits = read", "fits = n_params * said['bits'] / 8"),
        ("the memory is counted for one row. Where are the caches of the other rows?",
         "fits = read", "fits = n_params * said['bits'] / 8 + said['context'] * token_bytes"),
        ("only the weights are read. What does a token look back at?",
         "read * steps <=", "n_params * said['bits'] / 8 * steps <="),
        ("all rows share one cache. Whose text does a row continue?",
         "said['batch'] * said['context']", "said['context']"),
        ("the speed is taken for that of each row. Whose speed is stated?",
         "(said['batch'] * said['tokens_a_step'])", "said['tokens_a_step']"),
        ("a step gives one token a row, whatever was drafted. How many does the claim say?",
         "(said['batch'] * said['tokens_a_step'])", "said['batch']"),
        ("more rows, or drafted tokens, save arithmetic too. Does a token that shares the weights need fewer operations?",
         "2 * n_params * tokens_per_second", "2 * n_params * steps"),
        ("fewer bits are taken to mean fewer operations. How many operations does a weight take?",
         "2 * n_params * tokens_per_second", "2 * n_params * said['bits'] / bits * tokens_per_second"),
        ("the operations are multiplied by the rows. Whose tokens does the stated speed count?",
         "2 * n_params * tokens_per_second", "2 * n_params * said['batch'] * tokens_per_second"),
        ("every card has to hold everything. What does it mean to cut a model into parts?",
         "said['cards'] * card['memory']", "card['memory']"),
        ("several cards read no faster than one. Who reads which part?",
         "said['cards'] * card['bandwidth']", "card['bandwidth']"),
        ("several cards compute no faster than one. Who computes which part?",
         "said['cards'] * card['flop_rate']", "card['flop_rate']"),
        ("the bits of the sheet are used where a claim says others.",
         "n_params * said['bits']", "n_params * bits"),
        ("the context of the sheet is used where a claim says another.",
         "said['context'] * token_bytes", "context * token_bytes"),
        ("more cards share the weights, and each holds the whole cache. What do the cards share by the table?",
         "fits = read <= said['cards'] * card['memory']",
         "fits = n_params * said['bits'] / 8 / said['cards'] + said['batch'] * said['context'] * token_bytes <= card['memory']"),
        ("drafted tokens read the cache once for each of them. How often does a step read it?",
         "said['batch'] * said['context'] * token_bytes", "said['batch'] * said['context'] * token_bytes * said['tokens_a_step']"),
        ("what one claim says is used for the claims after it as well. Which number holds where a claim is silent?",
         "said = plain | claim", "said = plain = plain | claim"),
        ("what is computed just fast enough is called impossible. Which comparison leaves room for an equal number?",
         "tokens_per_second <= said", "tokens_per_second < said"),
        ("what just fits is called impossible. Which comparison leaves room for an equal number?",
         "fits = read <=", "fits = read <"),
        ("the least bandwidth leaves the cache out. What is read beside the weights?",
         "(n_params * bits / 8 + context * token_bytes)", "n_params * bits / 8"),
        ("the possible claims are listed. Which are asked for?",
         "not (fits", "(fits"),
        ("the claims are counted from 1. Which number has the first?",
         "append(place)", "append(place + 1)"),
    ),
)  # fmt: skip
