"""Judge: which of five lists of merges cannot come from training?"""

import random

from lecture_lib.checks.chance import until
from lecture_lib.checks.kinds import impossible
from lecture_lib.tokenization import learn_merges

FIRST, LENGTH, KINDS = 256, 6, ("too early", "itself", "twice")
TWICE = ((0, LENGTH - 1), (1, 2), (2, 4), (1, LENGTH - 1))  # where a merge stands that comes twice


def possible(draw: random.Random, turned: bool = False) -> list[tuple[int, int]]:
    """Merges that training gives for some text, merges of merges among them; `turned`: also ab and ba."""

    def merges() -> list[tuple[int, int]]:
        pairs: list[tuple[int, int]] = []
        while len(pairs) < LENGTH:
            ids = [*range(97, 103), *range(FIRST, FIRST + len(pairs))]
            pair = draw.choice(ids), draw.choice(ids)
            pairs += [pair] if pair not in pairs else []
        return pairs

    def bites(pairs: list[tuple[int, int]]) -> bool:
        both = any(a != b and (b, a) in pairs for a, b in pairs)
        return max(map(max, pairs)) >= FIRST and both >= turned and trained(pairs)

    return until(merges, bites)


def trained(pairs: list[tuple[int, int]]) -> bool:
    """Whether training gives these merges for the text of their tokens, the earlier the more often.

    To have both ids is not enough: where bc is merged first, (ab, c) is never met.
    """
    spelled: dict[int, tuple[int, ...]] = {}
    words: dict[tuple[int, ...], int] = {}
    for rank, (left, right) in enumerate(pairs):
        word = spelled.get(left, (left,)) + spelled.get(right, (right,))
        spelled[FIRST + rank] = word
        words[word] = 100 ** (LENGTH - rank)
    return learn_merges(words, LENGTH, FIRST) == pairs


def broken(draw: random.Random, kind: str, turn: int) -> list[tuple[int, int]]:
    """Merges with one that uses an id before it is made, or the id that it makes, or a pair for the second time.

    By turns in the first, the last and other places, with the wrong id on either side, and just too early or far.
    """
    merges = possible(draw)
    if kind == "twice":
        first, again = TWICE[turn]
        merges[again] = merges[first]
        return merges
    place = (0, LENGTH - 2, *draw.choices(range(LENGTH - 1), k=2))[turn]
    made = place if kind == "itself" else place + 1 if turn < 2 else draw.randrange(place + 1, LENGTH)
    pair = FIRST + made, draw.randrange(97, 103)
    merges[place] = pair if turn % 2 else pair[::-1]
    return merges


def five(seed: int, each: int) -> tuple[str, list, int]:
    """Four possible lists, and one that is not."""
    draw, (turn, kind) = random.Random(f"{seed} {each}"), divmod(each, 3)
    places = random.Random(seed).sample(range(5), 5)
    place = places[(turn + kind) % 5]  # another one in each turn of a kind, and for each kind in a turn
    lists = [broken(draw, KINDS[kind], turn) if i == place else possible(draw, turn > 1) for i in range(5)]
    return f"five lists of {LENGTH} merges", lists, place


def impossible_merges(lists: list) -> int:
    """Find the list in which a merge uses what is not there yet, or comes twice."""
    for place, merges in enumerate(lists):
        for rank, pair in enumerate(merges):
            made = 256 + rank
            if max(pair) >= made or pair in merges[:rank]:
                return place
    return -1


IMPOSSIBLE = impossible(
    "tokenization.impossible_merges",
    five,
    impossible_merges,
    against="how the lists were drawn",
    points=2, difficulty=2, minutes=10,
    mistakes=(
        ("a pair that comes twice is taken for possible. What is left of a pair after its merge?",
         " or pair in merges[:rank]", ""),
        ("only pairs that come twice are sought. Which ids exist when a merge is learned?",
         "max(pair) >= made or ", ""),
        ("a merge may use its own new id. Which ids exist before it?",
         ">= made", "> made"),
        ("only the first id of a pair is looked at. Which ids must exist?",
         "max(pair)", "pair[0]"),
        ("only the second id of a pair is looked at. Which ids must exist?",
         "max(pair)", "pair[1]"),
        ("every id above 255 is refused. Can a merge use what an earlier one has made?",
         "made = 256 + rank", "made = 256"),
        ("the lists are counted from 1. Which number has the first list?",
         "return place", "return place + 1"),
    ),
)  # fmt: skip
