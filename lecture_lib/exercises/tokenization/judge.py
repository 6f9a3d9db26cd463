"""Judge: which of five lists of merges cannot come from training?"""

import random

from lecture_lib.checks.chance import until
from lecture_lib.checks.kinds import impossible

FIRST, LENGTH, KINDS = 256, 6, ("too early", "itself", "twice")


def possible(draw: random.Random) -> list[tuple[int, int]]:
    """Merges that training could give: each of two ids that exist, no pair twice, merges of merges among them."""

    def merges() -> list[tuple[int, int]]:
        pairs: list[tuple[int, int]] = []
        while len(pairs) < LENGTH:
            ids = [*range(97, 103), *range(FIRST, FIRST + len(pairs))]
            pair = draw.choice(ids), draw.choice(ids)
            pairs += [pair] if pair not in pairs else []
        return pairs

    return until(merges, lambda pairs: max(map(max, pairs)) >= FIRST)


def broken(draw: random.Random, kind: str) -> list[tuple[int, int]]:
    """Merges with one that uses an id before it is made, or the id that it makes, or a pair for the second time."""
    merges, place = possible(draw), draw.randrange(1, LENGTH)
    if kind == "twice":
        merges[place] = merges[draw.randrange(place)]
        return merges
    place = draw.randrange(LENGTH - 1)
    wrong = FIRST + place if kind == "itself" else FIRST + draw.randrange(place + 1, LENGTH)
    other = draw.randrange(97, 103)
    merges[place] = draw.choice([(wrong, other), (other, wrong)])
    return merges


def five(seed: int, each: int) -> tuple[str, list, int]:
    """Four possible lists, and one that is not."""
    draw, place = random.Random(f"{seed} {each}"), (seed + 3 * each) % 5
    lists = [broken(draw, KINDS[each % 3]) if i == place else possible(draw) for i in range(5)]
    return f"five lists of {LENGTH} merges", lists, place


def impossible_merges(lists: list) -> int:
    """Find the list in which a merge uses what is not there yet, or comes twice."""
    for place, merges in enumerate(lists):
        for rank, pair in enumerate(merges):
            made = 256 + rank
            if max(pair) >= made or pair in merges[:rank]:
                return place
    return -1


# fmt: off
IMPOSSIBLE_MISTAKES = (
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
)
# fmt: on

IMPOSSIBLE = impossible(
    "tokenization.impossible_merges",
    five,
    impossible_merges,
    against="how the lists were drawn",
    points=2,
    difficulty=2,
    minutes=10,
    mistakes=IMPOSSIBLE_MISTAKES,
)
