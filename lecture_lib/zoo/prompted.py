"""The course model with and without steps, at the same budget of tokens read in training; and votes of sampled answers.

`python -m lecture_lib.zoo.prompted` measures all of it anew, in about ten minutes of one core.
`course_steps` and `course_direct` had equally many problems; a problem with its steps is longer, so the model without
steps is trained here for more updates, until it has read as many tokens.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from lecture_lib.corpora.word_problems import Problem
from lecture_lib.files import atomic_write
from lecture_lib.pretrained import PretrainedTokenizer
from lecture_lib.prompting import extract_answer, majority_vote
from lecture_lib.training import TrainingConfig, train
from lecture_lib.zoo.recipes import course
from lecture_lib.zoo.store import card as model_card
from lecture_lib.zoo.store import load

CARD = Path(__file__).parent / "small" / "prompted.json"
DEPTHS, SEEDS, UPDATES = (1, 2, 3, 4), (0, 1, 2), 1500
VOTES, DRAWS, N_PROBLEMS, TEMPERATURE = (1, 3, 5, 9, 17), range(10), 200, 0.8
MARKER = "the answer is"


def tokens_per_problem(worked: bool) -> float:
    """Count what a training problem with its answer has in tokens, on average."""
    rows, _ = course.answered(
        course.tokenizer(), course.problems(40_000, course.TRAINING_SEED), worked, chat=False
    )
    return sum(map(len, rows)) / len(rows)


def updates_of_direct() -> int:
    """Give the updates after which the model without steps has read as many tokens as that with steps in 1500."""
    return round(UPDATES * tokens_per_problem(worked=True) / tokens_per_problem(worked=False))


def direct_of_equal_budget(seed: int) -> tuple[nn.Module, PretrainedTokenizer]:
    """Train the model without steps on as many tokens."""
    config = TrainingConfig(updates_of_direct(), 3e-3, 50)
    model, words = course.make_answerer(seed, partial(train, progress=False), None, False, config)
    return model.eval().requires_grad_(False), words


def test_problems(n: int = N_PROBLEMS) -> list[Problem]:
    """Give n problems of one to four steps that no model was trained on."""
    return course.problems(8000, course.TEST_SEED)[:n]


def continued(
    name: str, prompts: Sequence[str], n_tokens: int = 64, temperature: float = 0.0, seed: int = 0
) -> list[str]:
    """As `course.replies`, of a model of the zoo by its name."""
    draw = torch.Generator().manual_seed(seed)
    return course.replies(*load(name), prompts, n_tokens, temperature, draw)


def sampled_answers(
    name: str, asked: Sequence[Problem], n_samples: int, temperature: float, seed: int = 0
) -> list[list[float | None]]:
    """Let a model of the zoo answer each problem n times, and extract the answers."""
    chat = name == "course_instruct"
    prompts = [course.prompt_of(each, chat) for each in asked for _ in range(n_samples)]
    found = [extract_answer(text, MARKER) for text in continued(name, prompts, 64, temperature, seed)]
    return [found[low : low + n_samples] for low in range(0, len(found), n_samples)]


def share_of_votes(
    samples: Sequence[Sequence[float | None]], asked: Sequence[Problem], n_votes: int
) -> float:
    """Give the share of problems in which the vote of the first n samples is right; a tie goes to the first one given."""
    votes = [majority_vote(each[:n_votes])[0][:1] for each in samples]
    return sum(vote == [each.answer] for vote, each in zip(votes, asked, strict=True)) / len(asked)


def measure_depth() -> dict:
    """Measure right answers by number of steps, for three trainings of each kind."""
    metrics = [f"right_{depth}_steps" for depth in DEPTHS]
    made = [course.measure_answerer(*direct_of_equal_budget(seed), chat=False) for seed in tqdm(SEEDS)]
    cards = {name: model_card(f"course_{name}")["seeds"].values() for name in ("steps", "direct")}
    rows = {name: [[each[m] for m in metrics] for each in found] for name, found in cards.items()}
    return {
        "updates": {"steps": UPDATES, "direct": UPDATES, "direct, equal tokens": updates_of_direct()},
        "problems_a_depth": 200,
        "right": rows | {"direct, equal tokens": [[each[m] for m in metrics] for each in made]},
    }


def measure_votes() -> dict:
    """Measure greedy answers and votes of two models."""
    asked, found = test_problems(), {}
    for name in ("course_instruct", "course_direct"):
        greedy = share_of_votes(sampled_answers(name, asked, 1, 0.0), asked, 1)
        pools = [sampled_answers(name, asked, max(VOTES), TEMPERATURE, seed) for seed in tqdm(DRAWS)]
        votes = {str(n): [share_of_votes(pool, asked, n) for pool in pools] for n in VOTES}
        found[name] = {"greedy": greedy, "votes": votes}
    return {"problems": len(asked), "temperature": TEMPERATURE} | found


def card() -> dict:
    """Give what was measured."""
    return json.loads(CARD.read_text(encoding="utf-8"))


def main() -> None:
    """Measure, and write the card."""
    torch.set_num_threads(1)
    found = {
        "what": "shares of right answers to word problems: by depth with and without steps, and by votes of sampled answers",
        "recipe": "python -m lecture_lib.zoo.prompted",
        "votes": measure_votes(),
        "depth": measure_depth(),
    }
    with atomic_write(CARD) as part:
        Path(part).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
