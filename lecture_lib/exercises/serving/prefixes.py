"""Names of full blocks, so that a text finds what was computed for another one; judged by which names are equal."""

import hashlib
import random
from collections.abc import Callable

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug


def prefix_hashes(ids: list[int], block_size: int) -> list[bytes]:
    """Name every full block of a text, so that equal names mean equal keys and values.

    Args:
        ids: N tokens.
        block_size: tokens in a block.

    Returns:
        N // block_size names, one for each full block.
    """
    hashes, before = [], b""
    for start in range(0, len(ids) - block_size + 1, block_size):
        tokens = ",".join(map(str, ids[start : start + block_size]))
        before = hashlib.sha256(before + tokens.encode()).digest()
        hashes.append(before)
    return hashes


def whole_beginnings(ids: list[int], block_size: int) -> list[tuple[int, ...]]:
    """No hash at all: the name of a block is the whole text up to its end."""
    return [tuple(ids[:end]) for end in range(block_size, len(ids) + 1, block_size)]


def which_are_equal(answer: Callable, texts: list[list[int]], block_size: int) -> list[list[int]]:
    """Number the names of all blocks of some texts in the order in which they first occur."""
    numbers: dict[object, int] = {}
    return [
        [numbers.setdefault(name, len(numbers)) for name in answer(list(ids), block_size)] for ids in texts
    ]


def whole_text(ids: list[int], block_size: int) -> list[bytes]:
    """Name every block by the whole text."""
    name = hashlib.sha256(",".join(map(str, ids)).encode()).digest()
    return [name + bytes([place]) for place in range(len(ids) // block_size)]


def by_place(ids: list[int], block_size: int) -> list[str]:
    """Name a block by its tokens and its place."""
    return [
        f"{place} {ids[place * block_size : (place + 1) * block_size]}"
        for place in range(len(ids) // block_size)
    ]


def by_neighbour(ids: list[int], block_size: int) -> list[tuple[int, ...]]:
    """Name a block by its own tokens and those of the block before it."""
    ends = range(block_size, len(ids) + 1, block_size)
    return [tuple(ids[max(0, end - 2 * block_size) : end]) for end in ends]


def in_any_order(ids: list[int], block_size: int) -> list[int]:
    """Name a block by the sum of the hashes of all blocks up to it."""
    return [sum(hash(tuple(ids[at : at + block_size])) for at in range(0, end, block_size))
            for end in range(block_size, len(ids) + 1, block_size)]  # fmt: skip


def hash_cases(seed: int) -> list[Case]:
    """Texts that share a beginning, a middle, an end; the same block twice; digits that run together; full to the token."""
    draw = random.Random(seed)
    size = draw.randint(2, 5)
    a, b, c, d, e = (draw.sample(range(100, 1000), size) for _ in range(5))
    x, y = draw.randint(1, 9), draw.randint(1, 9)
    digits = [[x, 10 * y + 1, *a[2:]], [10 * x + y, 1, *a[2:]]]  # "1" "23" and "12" "3"
    border = [[*a[1:], x, 10 * y + 1, *b[1:]], [*a[1:], 10 * x + y, 1, *b[1:]]]
    texts = [[*a, *b, *c], [*a, *b, *d, e[0]], [*e, *b, *c], [*a, *d, *c, *e]]
    return [
        Case("equal beginnings, then other tokens", ([[*a, *b, *c], [*a, *b, *d], [*a, *e]], size)),
        Case("the same block behind other ones", ([[*a, *c, *d], [*b, *c, *d]], size)),
        Case("the same block twice in a text", ([[*a, *a, *a], [*a, *b, *a]], size)),
        Case("the same neighbour, two blocks apart", ([[*a, *c, *d, *e], [*b, *c, *d, *e]], size)),
        Case("lengths around a multiple of a block", ([[*a, *b][:n] for n in range(2 * size + 1)], size)),
        Case("the order within a block", ([[*a, *b], [*reversed(a), *b]], size)),
        Case(
            "only the last token of a block differs",
            ([[*a, *b], [*a, *b[:-1], b[-1] + 1], [*a[:-1], a[-1] + 1, *b]], size),
        ),
        Case("numbers with the same digits", ([[*each, *b] for each in digits], size)),
        Case("numbers with the same digits, at the border of two blocks", (border, size)),
        Case("the same blocks in another order", ([[*a, *b, *c], [*b, *a, *c]], size)),
        Case("numbers that differ by 65536", ([[*a, *b], [a[0] + 2**16, *a[1:], *b]], size)),
        Case("four texts", (texts, size)),
        Case("blocks of one token", ([a, b, [*a[:1], *b]], 1)),
        Case("2000 blocks", ([[draw.randrange(1000) for _ in range(2000)]], 1)),
    ]


HASHES = Exercise(
    name="serving.prefix_hashes",
    points=2, difficulty=1, minutes=12,
    against="the whole beginnings of the texts, compared token by token",
    reference=whole_beginnings,
    right=prefix_hashes,
    use=which_are_equal,
    cases=hash_cases,
    owned=("lecture_lib.serving.prefix_hashes",),
    mistakes=(
        ("a block is known by its own tokens alone. On what else do its keys and values depend?",
         "before + tokens.encode()", "tokens.encode()"),
        ("a block is known by its tokens and its place. What stands before it?", by_place),
        ("a block is known by its own tokens and those of the block before it. How far back does a token look?", by_neighbour),
        ("a block is known by its place, its own tokens and those of the block before it. How far back does a token look?",
         "ids[start:start + block_size]", "ids[max(0, start - block_size):start + block_size]",
         "before + tokens.encode()", "str(start).encode() + tokens.encode()"),
        ("the name holds what comes behind the block. May a token that is not written yet change it?", whole_text),
        ("a block that is not full has a name too. What will stand in its free places?",
         "len(ids) - block_size + 1", "len(ids)"),
        ("a last block that is exactly full has no name. Which length is too short?",
         "len(ids) - block_size + 1", "len(ids) - block_size"),
        ("the digits of the tokens run together. Are 1, 23 and 12, 3 the same text?",
         "','.join", "''.join"),
        ("the last token of a block and the first one of the next run together. Are 1 | 23 and 12 | 3 the same text?",
         "hashlib.sha256(before + tokens.encode()).digest()", "before + tokens.encode()"),
        ("the order of the blocks does not matter. Does it to the model?", in_any_order),
        ("the order of the tokens in a block does not matter. Does it to the model?",
         "map(str, ids[start:start + block_size])", "map(str, sorted(ids[start:start + block_size]))"),
    ),
)  # fmt: skip
MENDED_HASHES = find_the_bug(
    HASHES,
    "serving.mended_hashes",
    hint="a block is known by its own",
    imports="import hashlib",
    points=2,
    difficulty=1,
    minutes=12,
)
