"""Replace a pair of neighbours by one id."""

import random
from collections.abc import Sequence

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered
from lecture_lib.tokenization import merge


def _replaced(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Python's own str.replace, on a string with one character an id."""
    return [ord(c) for c in "".join(map(chr, ids)).replace("".join(map(chr, pair)), chr(new_id))]


def _merge_cases(seed: int) -> list[Case]:
    draw = random.Random(seed)
    a, b, c = draw.sample(range(1, 256), 3)
    new = 256 + draw.randrange(1000)
    odd = 2 * draw.randrange(1, 4) + 1
    mixed = [draw.choice((a, b)) for _ in range(draw.randrange(30, 40))]

    def million(first: int, other: int) -> list[int]:
        return [first, int("1000000"), other, first, int("1000000")]

    digits = [11, 2, 1, 12, draw.choice((1, 2)), 112]
    return [
        Case("the pair twice", ([a, b, c, a, b], (a, b), new)),
        Case("the pair in the other order between two of the right order", ([a, b, b, a, a, b], (a, b), new)),
        Case(f"a run of {odd} times the same id", ([a] * odd, (a, a), new)),
        Case("two runs in one word, a pair of equals", ([b, *[a] * (odd + 2), c, a, a, b], (a, a), new)),
        Case("the pair at the odd places", ([c, a, b, c, c, a, b], (a, b), new)),
        Case("only the two ends of the pair, never side by side", ([a, c, b, c, a], (a, b), new)),
        Case("a word that ends in the first id of the pair", ([a, b, c, a], (a, b), new)),
        Case("ids of several digits", (digits, (1, 2), 7)),
        Case("ids of several digits that do hold the pair", ([1, 12, 1, 2, 11, 12], (1, 12), 7)),
        Case("a longer word of two ids", (mixed, (a, b), new)),
        Case("a longer word as a tuple", (tuple(mixed), (b, a), new)),
        Case("one id", ([a], (a, a), new)),
        Case("an empty word", ([], (a, b), new)),
        Case("a new id that occurs already", ([new, a, b, new, b], (a, b), new)),
        Case("a large id, not one object but equal ones", (million(a, b), (a, int("1000000")), 10**6 + 1)),
    ]


def _only_first(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    ids = list(ids)
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return ids


def _by_digits(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return [int(word) for word in text.split()]


MERGE = Exercise(
    name="tokenization.merge",
    points=2,
    difficulty=1,
    minutes=8,
    against="Python's str.replace on a string with one character an id",
    reference=_replaced,
    cases=_merge_cases,
    mistakes=(
        Mistake(
            "the second id of a merged pair is looked at once more. How far must the place move after a merge?",
            altered(merge, ("i += 2", "i += 1")),
        ),
        Mistake(
            "only the first occurrence is merged. What about the rest of the word?",
            _only_first,
        ),
        Mistake(
            "the word is read from right to left, so that a run of three merges at its end. Where do readers start?",
            lambda ids, pair, new_id: merge(ids[::-1], pair[::-1], new_id)[::-1],
        ),
        Mistake(
            "the pair counts in either order. Is (a, b) the same as (b, a)?",
            altered(merge, ("tuple(ids[i : i + 2]) == pair", "sorted(ids[i : i + 2]) == sorted(pair)")),
        ),
        Mistake(
            "the last id is lost unless a pair ends there. Which places does your loop visit?",
            altered(merge, ("i < len(ids)", "i < len(ids) - 1")),
        ),
        Mistake(
            "the new id is put beside the pair instead of in its place. How long is the word after a merge?",
            altered(merge, ("merged.append(new_id)", "merged.extend((*pair, new_id))")),
        ),
        Mistake(
            "the pair is taken out and nothing put in its place. Which id stands for the two?",
            altered(merge, ("merged.append(new_id)", "pass")),
        ),
        Mistake(
            "pairs are looked for at even places only. Can a pair begin at the second id?",
            altered(
                merge,
                ("merged.append(ids[i])", "merged.extend(ids[i : i + 2])"),
                ("            i += 1", "            i += 2"),
            ),
        ),
        Mistake(
            "ids are compared as text, so that 12 contains 2. Do you join digits anywhere?",
            _by_digits,
        ),
        Mistake(
            "the first id of the pair alone decides. Which ids have to be compared?",
            altered(merge, ("tuple(ids[i : i + 2]) == pair", "ids[i] == pair[0]")),
        ),
    ),
)
