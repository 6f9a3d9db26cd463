"""Replace a pair of neighbours by one id."""

import random
from collections.abc import Callable, Sequence

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.tokenization import merge


def replaced(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Use Python's own str.replace, on a string with one character an id."""
    return [ord(c) for c in "".join(map(chr, ids)).replace("".join(map(chr, pair)), chr(new_id))]


def new_list(result: object, ids: object) -> object:
    """A result that is not the caller's own list: whoever changes one of the two would change the other."""
    if result is ids and isinstance(ids, list):
        raise ValueError("the very list that was handed in comes back; return a new one, list(ids)")
    return result


def merged_anew(answer: Callable, ids: Sequence[int], pair: tuple[int, int], new_id: int) -> object:
    """Merge, and look whether the list is a new one."""
    return new_list(answer(ids, pair, new_id), ids)


def merge_cases(seed: int) -> list[Case]:
    """Runs, ends, both orders, ids of several digits, large ids, a word as a tuple, and next to nothing."""
    draw = random.Random(seed)
    a, b, c = draw.sample(range(1, 256), 3)
    new = 256 + draw.randrange(1000)
    odd = 2 * draw.randrange(1, 4) + 1
    mixed = [*(draw.choice((a, b)) for _ in range(draw.randrange(30, 40))), a, b, b, a]

    def million(first: int, other: int) -> list[int]:
        return [first, int("1000000"), other, first, int("1000000")]

    digits = [11, 2, 1, 12, draw.choice((1, 2)), 112]
    return [
        Case("the pair twice", ([a, b, c, a, b], (a, b), new)),
        Case("the pair in the other order between two of the right order", ([a, b, b, a, a, b], (a, b), new)),
        Case("a run of 3 times the same id", ([a, a, a], (a, a), new)),
        Case(f"a run of {odd} times the same id", ([a] * odd, (a, a), new)),
        Case(f"a run of {odd + 1} times the same id", ([a] * (odd + 1), (a, a), new)),
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
        Case("the id 0, which counts as false", ([0, b, 0, 0, b], (0, b), new)),
        Case("a new id that is part of the pair", ([a, b, b, a, b], (a, b), a)),
        Case("a new id that is the second of the pair", ([a, a, b, c, a, a, a, b], (a, b), b)),
        Case("a large id, not one object but equal ones", (million(a, b), (a, int("1000000")), 10**6 + 1)),
    ]


def only_first(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Merge one place."""
    ids = list(ids)
    for i in range(len(ids) - 1):
        if tuple(ids[i : i + 2]) == pair:
            return [*ids[:i], new_id, *ids[i + 2 :]]
    return ids


def by_digits(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Compare ids as text."""
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return [int(word) for word in text.split()]


def from_the_right(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Read a word from its end."""
    return merge(ids[::-1], pair[::-1], new_id)[::-1]


MERGE = Exercise(
    name="tokenization.merge",
    points=2, difficulty=1, minutes=8,
    against="Python's str.replace on a string with one character an id",
    reference=replaced,
    cases=merge_cases,
    use=merged_anew,
    entry="id",
    mistakes=(
        ("the second id of a merged pair is looked at once more. How far must the place move after a merge?",
         "+= 2", "+= 1"),
        ("only the first occurrence is merged. What about the rest of the word?",
         only_first),
        ("the word is read from right to left, so that a run of three merges at its end. Where do readers start?",
         from_the_right),
        ("the pair counts in either order. Is (a, b) the same as (b, a)?",
         "tuple(ids[i:i + 2]) == pair", "sorted(ids[i:i + 2]) == sorted(pair)"),
        ("the last id is lost unless a pair ends there. Which places does your loop visit?",
         "(ids)", "(ids) - 1"),
        ("the new id is put beside the pair instead of in its place. How long is the word after a merge?",
         "append(new_id)", "extend((*pair, new_id))"),
        ("the pair is taken out and nothing put in its place. Which id stands for the two?",
         "merged.append(new_id)", "pass"),
        ("pairs are looked for at even places only. Can a pair begin at the second id?",
         "append(ids[i])\n            i += 1", "extend(ids[i:i + 2])\n            i += 2"),
        ("ids are compared as text, so that 12 contains 2. Do you join digits anywhere?",
         by_digits),
        ("the first id of the pair alone decides. Which ids have to be compared?",
         "tuple(ids[i:i + 2]) == pair", "ids[i] == pair[0]"),
        ("where there is no pair, the list that was handed in comes back itself. What happens to it when "
         "somebody changes your result?",
         "i = 0\n", "i = 0\n    if pair not in zip(ids, ids[1:]):\n        return ids\n"),
    ),
)  # fmt: skip
