"""Many chains of thought for each word problem, counted: what a vote, a checker and a search can be computed from.

`python -m lecture_lib.zoo.voted` draws all of them anew, in about six minutes of one core.

A problem's chains are counted in a short text, "A9b2": nine chains with the answer A whose equations are all true, two with
the answer b where one is false. A is the right answer, B, C, ... BB, BC, ... are the others as they come, Z is no answer
at all; the letters are small where the checker, `word_problems.steps_are_right`, refuses the chain.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from tqdm.auto import tqdm

from lecture_lib.corpora.word_problems import Problem, steps_are_right
from lecture_lib.files import atomic_write
from lecture_lib.zoo.recipes.course import TEST_SEED, problems, prompt_of, replies
from lecture_lib.zoo.store import load

CARD = Path(__file__).parent / "small" / "voted.json"
SETS = (("course_instruct", 0.5), ("course_instruct", 0.8), ("course_instruct", 1.1), ("course_steps", 1.1))
SEEDS, N_PROBLEMS = (0, 1, 2), 200
FIRST, OTHER = 16, 32  # chains that a prediction is made from, and chains that test it
OTHERS = tuple(
    first + last for first in ("", "B", "C") for last in "BCDEFGHIJKLMNOPQRSTUVWXY"
)  # more than 41


def asked(seed: int) -> list[Problem]:
    """Give 200 problems of one to four steps that no training has seen; other seeds have other problems."""
    return problems(8000, TEST_SEED)[N_PROBLEMS * seed : N_PROBLEMS * (seed + 1)]


def chains(name: str, problem: Problem, n: int, temperature: float, seed: int) -> list[str]:
    """Draw n chains of thought of a course model for one problem."""
    prompt, draw = prompt_of(problem, chat=name == "course_instruct"), torch.Generator().manual_seed(seed)
    return replies(*load(name), [prompt] * n, temperature=temperature, generator=draw)


def answer_of(chain: str) -> int | None:
    """Read the number behind "the answer is", if the chain ends with it."""
    found = re.search(r"the answer is (\d+) \.$", chain)
    return int(found[1]) if found else None


def lettered(said: Sequence[str], right: int) -> list[str]:
    """Give each chain its letter: A is right, and small letters are chains that the checker refuses."""
    letters, names = {right: "A", None: "Z"}, iter(OTHERS)
    marks = []
    for chain in said:
        answer = answer_of(chain)
        if answer not in letters:
            letters[answer] = next(names)
        marks.append(letters[answer] if steps_are_right(chain) else letters[answer].lower())
    return marks


def counted(marks: Sequence[str]) -> str:
    """Write how many chains have each letter: ["A", "b", "A"] is "A2b1"."""
    return "".join(f"{letter}{count}" for letter, count in sorted(Counter(marks).items()))


def counts(text: str) -> dict[str, int]:
    """Read what `counted` has written: "A2b1" is {"A": 2, "b": 1}."""
    return {letter: int(count) for letter, count in re.findall(r"([A-Za-z]+)(\d+)", text)}


def ballots(letters: dict[str, int], checked: bool = False) -> list[int]:
    """Give the votes for the right answer, for each other one, and last the chains without a vote.

    Args:
        letters: from `counts`.
        checked: whether a chain that the checker refuses has no vote.
    """
    votes: Counter = Counter()
    for letter, count in letters.items():
        silent = letter.upper() == "Z" or (checked and letter.islower())
        votes["" if silent else letter.upper()] += count
    return [votes.pop("A", 0), *(count for letter, count in votes.items() if letter), votes[""]]


def one_problem(name: str, problem: Problem, temperature: float, seed: int) -> str:
    """Draw all chains of one problem: "greedy first other", the last two counted."""
    said = chains(name, problem, 1, 0.0, seed) + chains(name, problem, FIRST + OTHER, temperature, seed)
    greedy, *marks = lettered(said, problem.answer)
    return f"{greedy} {counted(marks[:FIRST])} {counted(marks[FIRST:])}"


def measure() -> list[dict]:
    """Draw for every model, temperature and seed."""
    rows = []
    for name, temperature in SETS:
        for seed in SEEDS:
            row = {"model": name, "temperature": temperature, "seed": seed}
            todo = tqdm(asked(seed), desc=f"{name} {temperature} {seed}")
            found = [one_problem(name, each, temperature, 1000 * seed + i) for i, each in enumerate(todo)]
            rows.append(row | {"problems": found})
    return rows


@cache
def card() -> dict:
    """Give what was drawn."""
    return json.loads(CARD.read_text(encoding="utf-8"))


def drawn(name: str, temperature: float, seed: int) -> list[tuple[str, dict[str, int], dict[str, int]]]:
    """Give for each problem the letter of the greedy chain, the counts of 16 chains, and those of 32 others."""
    wanted = {"model": name, "temperature": temperature, "seed": seed}
    for row in card()["sets"]:
        if wanted.items() <= row.items():
            parts = (each.split() for each in row["problems"])
            return [(greedy, counts(first), counts(other)) for greedy, first, other in parts]
    known = sorted({(row["model"], row["temperature"]) for row in card()["sets"]})
    raise ValueError(f"no chains of {name} at temperature {temperature} with seed {seed}; there are {known}")


def main() -> None:
    """Draw, and write the card."""
    torch.set_num_threads(1)
    head = {
        "what": "chains of thought of the course models, counted by answer: A is right, small letters fail the check of the "
        "equations; each problem: the greedy chain, 16 chains, 32 others",
        "recipe": "python -m lecture_lib.zoo.voted",
    }
    rows = ",\n".join(f"  {json.dumps(row)}" for row in measure())
    with atomic_write(CARD) as part:
        text = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items())
        Path(part).write_text(f'{{\n{text},\n "sets": [\n{rows}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
