"""Word problems with worked steps: Roger has 5 balls, buys 2 cans of 3, and how many are there now?

Every sentence has seven tokens and every number is one token, so that prompts with the same number of steps
have the same length. Numbers never leave 0 ... 40. Difficulty is the number of steps. Source: the lecture,
"Chain-of-thought prompting"; Wei et al. (2022), Figure 1.
"""

import random
import re
from dataclasses import dataclass

from lecture_lib.corpora.draws import draw, randomness, size
from lecture_lib.fields import whole

LARGEST = 40
NAMES = ("roger", "anna", "omar", "mei", "lucas", "priya")
ITEMS = ("balls", "apples", "pens", "cards", "coins", "shells")
OPERATIONS = ("buy", "give", "find", "double")


@dataclass(frozen=True)
class Problem:
    """A question, the steps that solve it and the answer; `str.split` gives the tokens of all of them."""

    question: str
    steps: tuple[str, ...]
    answer: int

    def worked(self) -> str:
        """Give the chain of thought: the steps, then the answer."""
        return " ".join((*self.steps, self.direct()))

    def direct(self) -> str:
        """Give the answer alone: "the answer is 9 ."."""
        return f"the answer is {self.answer} ."


def problems(n_problems: int, seed: int, n_steps: int = 3) -> list[Problem]:
    """Draw word problems; a longer list begins with the shorter one of the same seed.

    Each of the `n_steps` steps is one of: buy b cans of c (b, c in 2 ... 4), give k or find k (k in 1 ... 7), double; all
    operations that keep the number in 0 ... 40 are equally likely, and so are their numbers.
    """
    n_problems, n_steps = size(n_problems, "problems"), whole("n_steps", n_steps, 1)
    rng = randomness(seed)
    return [_problem(rng, n_steps) for _ in range(n_problems)]


def vocabulary() -> list[str]:
    """Give all tokens of questions, steps and answers: the numbers first, then the words alphabetically."""
    text = "has to start . buys cans of gives then finds more a friend doubles all the how many does have ?"
    text += " answer is + - * ="
    return [str(n) for n in range(LARGEST + 1)] + sorted({*text.split(), *NAMES, *ITEMS})


def solve(question: str) -> int:
    """Read a question and work out its answer, with no look at the steps; what is no question of this grammar is refused."""
    total = 0
    for sentence in re.findall(r"[^.?]+[.?]", question):
        numbers = [int(n) for n in re.findall(r"\d+", sentence)]
        match sentence.split()[1], numbers:
            case "has", [start]:
                total = start
            case "buys", [cans, size]:
                total += cans * size
            case "gives", [k]:
                total -= k
            case "then", [k]:
                total += k
            case "friend", []:
                total *= 2
            case "many", []:
                return total
            case _:
                raise ValueError(f"not a sentence of the word problems: {sentence.strip()!r}")
    raise ValueError(f"the text does not end in a question: {question!r}")


def steps_are_right(steps: str) -> bool:
    """Tell whether a chain of thought has equations of two numbers, "a + b = c", and every one of them is true."""
    equations = re.findall(r"(\d+) ([-+*]) (\d+) = (\d+)", steps)
    value = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    return bool(equations) and all(value[sign](int(a), int(b)) == int(c) for a, sign, b, c in equations)


def _problem(rng: random.Random, n_steps: int) -> Problem:
    name, item = draw(rng, NAMES), draw(rng, ITEMS)
    total = 1 + int(rng.random() * 9)
    sentences, steps = [f"{name} has {total} {item} to start ."], []
    for _ in range(n_steps):
        sentence, step, total = _step(rng, total, name, item)
        sentences.append(sentence)
        steps.append(step)
    return Problem(" ".join([*sentences, f"how many {item} does {name} have ?"]), tuple(steps), total)


def _step(rng: random.Random, total: int, name: str, item: str) -> tuple[str, str, int]:
    """Draw one operation that stays in range: its sentence, its arithmetic, the number after it."""
    cans = [(b, c) for b in (2, 3, 4) for c in (2, 3, 4) if total + b * c <= LARGEST]
    few = [k for k in range(1, 8) if k <= total]
    more = [k for k in range(1, 8) if total + k <= LARGEST]
    possible = {"buy": cans, "give": few, "find": more, "double": [2] if 2 * total <= LARGEST else []}
    operation = draw(rng, [name for name in OPERATIONS if possible[name]])
    if operation == "buy":
        b, c = draw(rng, cans)
        after = total + b * c
        return f"{name} buys {b} cans of {c} .", f"{b} * {c} = {b * c} . {total} + {b * c} = {after} .", after
    if operation == "give":
        k = draw(rng, few)
        friend = draw(rng, [other for other in NAMES if other != name])
        return f"{name} gives {k} {item} to {friend} .", f"{total} - {k} = {total - k} .", total - k
    if operation == "find":
        k = draw(rng, more)
        return f"{name} then finds {k} more {item} .", f"{total} + {k} = {total + k} .", total + k
    return f"a friend doubles all the {item} .", f"{total} + {total} = {2 * total} .", 2 * total
