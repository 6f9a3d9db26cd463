"""Memory in blocks for many texts, with a count for each block; judged by scripts of calls."""

import random

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.script import scripted


class Blocks:
    """Blocks of memory that texts take one by one and may share; the mistakes below are changes of these lines."""

    def __init__(self, n_blocks: int, block_size: int) -> None:
        self.size, self.counts = block_size, [0] * n_blocks
        self.tables: dict[str, list[int]] = {}
        self.lengths: dict[str, int] = {}

    def extend(self, text: str, n: int) -> tuple[int, int] | None:
        """Make room for n more tokens; a pair (block, its copy), or None."""
        table, length = self.tables.get(text, []), self.lengths.get(text, 0)
        copies = length % self.size > 0 and self.counts[table[-1]] > 1
        more = -(-(length + n) // self.size) - len(table)
        free = [block for block, count in enumerate(self.counts) if count == 0]
        if more + copies > len(free):
            raise MemoryError(f"{more + copies} blocks are needed, {len(free)} are free")
        for block in free[: more + copies]:
            self.counts[block] = 1
        old = table[-1] if copies else None
        if copies:
            self.counts[old] -= 1
            table = table[:-1]
        self.tables[text] = table + free[: more + copies]
        self.lengths[text] = length + n
        return (old, free[0]) if copies else None

    def fork(self, text: str, other: str) -> None:
        """Begin a new text as a copy of another one."""
        self.tables[other] = list(self.tables[text])
        self.lengths[other] = self.lengths[text]
        for block in self.tables[text]:
            self.counts[block] += 1

    def free(self, text: str) -> None:
        """Forget a text."""
        for block in self.tables.pop(text):
            self.counts[block] -= 1
        del self.lengths[text]

    def table(self, text: str) -> list[int]:
        """The numbers of a text's blocks, in the order of its tokens."""
        return list(self.tables[text])

    def n_free(self) -> int:
        """Number of blocks that no text holds."""
        return self.counts.count(0)


class Recounted:
    """Without counts: who holds what is read from all tables, each time anew."""

    def __init__(self, n_blocks: int, block_size: int) -> None:
        self.every, self.size = range(n_blocks), block_size
        self.texts: dict[str, tuple[int, ...]] = {}
        self.ends: dict[str, int] = {}

    def holders(self, block: int) -> list[str]:
        """Texts that hold a block."""
        return [text for text, held in self.texts.items() if block in held]

    def extend(self, text: str, n: int) -> tuple[int, int] | None:
        """As `Blocks.extend`."""
        held, end = self.texts.get(text, ()), self.ends.get(text, 0)
        places = {place // self.size for place in range(end + n)}
        kept = tuple(
            block
            for i, block in enumerate(held)
            if (i + 1) * self.size <= end or self.holders(block) == [text]
        )
        free = [block for block in self.every if not self.holders(block)]
        wanted = len(places) - len(kept)
        if wanted > len(free):
            raise MemoryError("too few")
        self.texts[text], self.ends[text] = kept + tuple(free[:wanted]), end + n
        return (held[len(kept)], free[0]) if len(kept) < len(held) else None

    def fork(self, text: str, other: str) -> None:
        """As `Blocks.fork`."""
        self.texts[other], self.ends[other] = self.texts[text], self.ends[text]

    def free(self, text: str) -> None:
        """As `Blocks.free`."""
        del self.texts[text], self.ends[text]

    def table(self, text: str) -> list[int]:
        """As `Blocks.table`."""
        return list(self.texts[text])

    def n_free(self) -> int:
        """As `Blocks.n_free`."""
        return sum(not self.holders(block) for block in self.every)


def shown(*calls: tuple) -> list[tuple]:
    """Calls, after each the number of free blocks."""
    return [each for call in calls for each in (call, ("n_free",))]


def drawn(seed: int, n_blocks: int, size: int) -> list[tuple]:
    """A random script: texts grow, split and end, some calls ask for too much, some for an unknown text."""
    draw, script, names, made = random.Random(seed), [], [], 0
    for _ in range(40):
        what = draw.choice(["extend", "extend", "extend", "fork", "free"]) if names else "new"
        if what in ("new", "fork") or draw.random() < 0.15:
            name, made = f"t{made}", made + 1
            parent = draw.choice(names) if what == "fork" else None
            script.append(("fork", parent, name) if parent else ("extend", name, draw.randint(1, 2 * size)))
            names.append(name)
        elif what == "extend":
            script.append(("extend", draw.choice(names), draw.randint(1, draw.choice([1, size, 3 * size]))))
        else:
            script.append(("free", names.pop(draw.randrange(len(names)))))
        if names:
            script.append(("table", draw.choice(names)))
        script.append(("n_free",))
    return script


def block_cases(seed: int) -> list[Case]:
    """Each rule by itself in a few calls, then random scripts with many texts in few blocks."""
    draw = random.Random(seed)
    size = draw.randint(3, 6)
    part, n = draw.randint(1, size - 1), 9
    grow = [
        ("extend", "a", size),
        ("extend", "a", 1),
        ("table", "a"),
        ("extend", "a", size - 1),
        ("table", "a"),
    ]
    both = [("table", "a"), ("table", "b")]
    shared = [("extend", "a", size + part), ("fork", "a", "b"), *both]
    return [
        Case(f"one text grows, blocks of {size}", ((n, size), shown(*grow, ("extend", "a", 2 * size), ("table", "a")))),
        Case("two texts; a block that is given back is taken again", ((n, size), shown(
            ("extend", "a", size), ("extend", "b", size + 1), ("free", "a"), ("extend", "b", size), ("table", "b"),
            ("table", "a")))),
        Case("a shared block that is partly full", ((n, size), shown(
            *shared, ("extend", "a", 1), *both, ("extend", "b", 1), *both))),
        Case("a shared block that is full", ((n, size), shown(
            ("extend", "a", 2 * size), ("fork", "a", "b"), ("extend", "b", 1), *both, ("extend", "a", 1), *both))),
        Case("three texts share, one ends", ((n, size), shown(
            *shared, ("fork", "b", "c"), ("free", "a"), ("extend", "c", 1), ("table", "c"), ("free", "b"), ("free", "c")))),
        Case("no room: nothing changes", ((4, size), shown(
            ("extend", "a", size + part), ("extend", "b", 3 * size), ("fork", "a", "b"), ("extend", "b", 3 * size), *both,
            ("extend", "b", 2 * size - part), *both, ("extend", "a", size), *both))),
        Case("no room for a copy", ((2, size), shown(
            *shared, ("extend", "a", 1), *both, ("free", "b"), ("extend", "a", 1), ("table", "a"), ("table", "b")))),
        Case("no room for a new text", ((3, size), shown(
            ("extend", "a", 4 * size), ("table", "a"), ("free", "a"), ("extend", "b", size), ("fork", "a", "c"), ("extend", "a", 1),
            ("table", "a"), ("table", "b")))),
        Case("a name that is used again", ((n, size), shown(
            ("extend", "a", size + part), ("free", "a"), ("extend", "a", 1), ("table", "a"), ("extend", "a", size), ("table", "a")))),
        Case("unknown texts", ((n, size), shown(("free", "x"), ("fork", "x", "y"), ("table", "y"), ("free", "y")))),
        *(Case(f"40 calls on {k} blocks of {s}", ((k, s), drawn(seed * 10 + i, k, s)))
          for i, (k, s) in enumerate(((12, 4), (8, 3), (25, 1), (6, 7)))),
    ]  # fmt: skip


BLOCKS = Exercise(
    name="serving.Blocks",
    points=5, difficulty=3, minutes=35,
    against="an allocator without counts, which reads from all tables who holds what",
    reference=Recounted,
    right=Blocks,
    use=scripted,
    cases=block_cases,
    entry="call",
    mistakes=(
        ("a shared block is written without a copy. Whose tokens stand in it?",
         "length % self.size > 0 and self.counts[table[-1]] > 1", "False"),
        ("a block is copied although nobody else holds it. When is a copy needed?",
         "self.counts[table[-1]] > 1", "self.counts[table[-1]] > 0"),
        ("a shared block is copied although it is full. Where does the next token go?",
         "length % self.size > 0 and", "length > 0 and"),
        ("a fork does not raise the counts. How many texts hold the blocks now?",
         "self.counts[block] += 1", "self.counts[block] += 0"),
        ("a block is free as soon as one of its holders ends. Who else reads it?",
         "self.counts[block] -= 1\n        del", "self.counts[block] = 0\n        del"),
        ("the block that was copied keeps its old count, so that it is never free again. Who gave it up?",
         "self.counts[old] -= 1", "self.counts[old] -= 0"),
        ("the room that is left in the last block is not used. How many blocks do all tokens of the text need?",
         "more = -(-(length + n) // self.size) - len(table)", "more = -(-n // self.size)"),
        ("a block more than needed is taken. How many blocks do exactly 2 block_size tokens need?",
         "-(-(length + n) // self.size)", "((length + n) // self.size + 1)"),
        ("the last tokens have no block. How many blocks do block_size + 1 tokens need?",
         "-(-(length + n) // self.size)", "((length + n) // self.size)"),
        ("the copy is not counted when it is asked whether there is room. How many blocks does this call take?",
         "if more + copies > len(free)", "if more > len(free)"),
        ("what fits is taken before the error. What should a failed call leave behind?",
         "raise MemoryError(", "self.tables[text] = table + free\n            for block in free:\n                self.counts[block] = 1\n"
         "            raise MemoryError("),
        ("no error is raised where blocks are missing. What should happen with three texts in two blocks?",
         "if more + copies > len(free)", "if False"),
        ("both texts of a fork have one table, the same list. What does one of them see when the other grows?",
         "self.tables[other] = list(self.tables[text])", "self.tables[other] = self.tables[text]",
         "self.tables[text] = table + free[:more + copies]",
         "self.tables.setdefault(text, [])[:] = table + free[:more + copies]"),
        ("a fork takes the blocks, but not the number of tokens. Where does its next token go?",
         "self.lengths[other] = self.lengths[text]", "self.lengths[other] = len(self.tables[text]) * self.size"),
        ("a text that was forgotten leaves its number of tokens behind. How many has a new text of the same name?",
         "del self.lengths[text]", "pass"),
        ("blocks are taken from the end of the line. Which free block has the smallest number?",
         "if count == 0]", "if count == 0][::-1]"),
        ("the block that has been free for longest is taken first. Which free block has the smallest number?",
         "self.counts[block] -= 1\n        del", "self.counts[block] -= 1\n            self.__dict__.setdefault('ended', []).append(block)\n        del",
         "if count == 0]", "if count == 0]\n        ended = self.__dict__.get('ended', [])\n"
         "        free.sort(key=lambda block: max((i for i, each in enumerate(ended) if each == block), default=-1))"),
        ("a name that is not known is freed without an error. What should be raised?",
         "self.tables.pop(text)", "self.tables.pop(text, [])", "del self.lengths[text]", "self.lengths.pop(text, None)"),
        ("a table is given for a name that is not known. What should be raised?",
         "return list(self.tables[text])", "return list(self.tables.get(text, []))"),
        ("a new text is known already when there turns out to be no room for it. What should a failed call leave behind?",
         "table, length = (self.tables.get(text, []), self.lengths.get(text, 0))",
         "table, length = (self.tables.setdefault(text, []), self.lengths.setdefault(text, 0))"),
        ("the pair is the wrong way round. Which block is copied, and which is its copy?",
         "return (old, free[0])", "return (free[0], old)"),
        ("the copy stands at the end of the table, behind the new blocks. Whose place does it take?",
         "table + free[:more + copies]", "table + free[copies:more + copies] + free[:copies]"),
    ),
)  # fmt: skip
