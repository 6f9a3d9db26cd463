"""The lecture's prompts: three translations, two puzzles, and as many variants of the puzzles as one likes.

Source: the lecture, "Few-shot learning" and "Chain-of-thought prompting", from Brown et al. (2020), Figure 2.1, and Wei et
al. (2022), Figure 1.
"""

import random
from dataclasses import dataclass

from lecture_lib.fields import whole

TRANSLATIONS = (
    ("sea otter", "loutre de mer"),
    ("peppermint", "menthe poivrée"),
    ("plush girafe", "girafe peluche"),
)
NAMES = ("Roger", "Anna", "Omar", "Mei", "Lucas", "Priya")
BALLS, FRUITS = ("tennis balls", "golf balls", "marbles", "pencils"), ("apples", "pears", "lemons", "plums")


@dataclass(frozen=True)
class Puzzle:
    """A question, its steps in words, and its answer."""

    question: str
    steps: str
    answer: int

    def worked(self) -> str:
        """Give the chain of thought: the steps, then the answer."""
        return f"{self.steps} {self.direct()}"

    def direct(self) -> str:
        """Give the answer alone."""
        return f"The answer is {self.answer}."


def cans(name: str, start: int, n_cans: int, in_a_can: int, item: str) -> Puzzle:
    """Ask as the lecture's first puzzle does: start + cans * contents."""
    more = n_cans * in_a_can
    return Puzzle(
        f"{name} has {start} {item}. {name} buys {n_cans} more cans of {item}. Each can has {in_a_can} {item}. "
        f"How many {item} does {name} have now?",
        f"{name} started with {start} {item}. {n_cans} cans of {in_a_can} {item} each is {more} {item}. "
        f"{start} + {more} = {start + more}.",
        start + more,
    )


def cafeteria(start: int, used: int, bought: int, item: str) -> Puzzle:
    """Ask as the lecture's second puzzle does: start - used + bought."""
    left = start - used
    return Puzzle(
        f"The cafeteria had {start} {item}. If they used {used} to make lunch and bought {bought} more, "
        f"how many {item} do they have?",
        f"The cafeteria had {start} {item}. They used {used}, so they had {start} - {used} = {left}. "
        f"They bought {bought} more, so they have {left} + {bought} = {left + bought}.",
        left + bought,
    )


def lecture_puzzles() -> tuple[Puzzle, Puzzle]:
    """Give the two puzzles with the lecture's numbers: Roger's tennis balls (11) and the cafeteria's apples (9)."""
    return cans("Roger", 5, 2, 3, "tennis balls"), cafeteria(23, 20, 6, "apples")


def puzzle_variants(n_puzzles: int, seed: int) -> list[Puzzle]:
    """Draw variants with other names, things and numbers, of both puzzles in turn; a longer list begins with the shorter one of a seed."""
    rng = random.Random(whole("seed", seed))
    found = []
    for place in range(whole("n_puzzles", n_puzzles, 1)):
        if place % 2 == 0:
            start, n_cans, size = rng.randint(3, 30), rng.randint(2, 9), rng.randint(2, 12)
            found.append(cans(rng.choice(NAMES), start, n_cans, size, rng.choice(BALLS)))
        else:
            start = rng.randint(20, 90)
            found.append(cafeteria(start, rng.randint(5, start), rng.randint(3, 40), rng.choice(FRUITS)))
    return found
