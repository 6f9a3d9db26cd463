"""Judge a datasheet: the bandwidth that a speed needs, and which explanations of it are impossible."""

from fractions import Fraction

from lecture_lib.checks.exercise import Exercise
from lecture_lib.exercises.kv_cache.claims import datasheet_cases


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


EXPLAIN = Exercise(
    name="kv_cache.explain",
    points=4, difficulty=3, minutes=30,
    against="the seconds a step may take and must take, in exact fractions",
    reference=by_seconds,
    right=explain,
    cases=datasheet_cases,
    kind="judge",
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
        ("fewer bits of the weights are taken to shrink the cache, too. What says how many bytes a kept token has?",
         "said['batch'] * said['context'] * token_bytes", "said['batch'] * said['context'] * token_bytes * said['bits'] / bits"),
        ("drafted tokens are kept beside the context. Which tokens of a row does `context` count?",
         "said['batch'] * said['context'] * token_bytes", "said['batch'] * (said['context'] + said['tokens_a_step']) * token_bytes"),
        ("all tokens of a step but one are kept beside the context. Which tokens of a row does `context` count?",
         "said['batch'] * said['context'] * token_bytes", "said['batch'] * (said['context'] + said['tokens_a_step'] - 1) * token_bytes"),
        ("one row's cache is read, though all are kept. What does a step read?",
         "is_read = read", "is_read = (n_params * said['bits'] / 8 + said['context'] * token_bytes)"),
        ("a token takes one operation a weight. How many does a product with a sum take?", "2 * n_params * tokens", "n_params * tokens"),
        ("what is read just fast enough is called impossible. Which comparison leaves room for an equal number?",
         "read * steps <=", "read * steps <"),
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
