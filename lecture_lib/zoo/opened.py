"""The small decoder that chapters 3 and 4 open: two layers that learn, in a few seconds, to work out problems of one step.

The course model of the zoo has three layers and reads longer problems, in which one number can be found in several ways.
The weights are kept, since a training ends with slightly other numbers on another processor:
`python -m lecture_lib.zoo.opened` makes them anew.
"""

from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from lecture_lib.corpora import word_problems
from lecture_lib.decoder import Decoder
from lecture_lib.training import TrainingConfig, labelled_batches, shuffled, train
from lecture_lib.transformer import ModelConfig

WEIGHTS = Path(__file__).parent / "small" / "opened.safetensors"
N_PROBLEMS = 4000


def to_ids(text: str) -> list[int]:
    """Cut a text of the word problems at its spaces: the place of each word in the vocabulary."""
    vocabulary = word_problems.vocabulary()
    return [vocabulary.index(word) for word in text.split()]


def new_model(seed: int = 0) -> Decoder:
    """Give the decoder before its training: two layers of four heads, 64 features, rotary positions."""
    config = ModelConfig(
        vocab_size=len(word_problems.vocabulary()),
        d_model=64,
        n_heads=4,
        n_layers=2,
        context_length=48,
        norm_first=True,
        positions="rotary",
        init_std=0.05,
    )
    return Decoder(config, torch.Generator().manual_seed(seed))


def train_solver(seed: int = 0, steps: int = 400) -> Decoder:
    """Train on questions and worked answers; only the tokens of the answers are learned."""
    problems = word_problems.problems(N_PROBLEMS, seed=1, n_steps=1)
    asked = [to_ids(problem.question) for problem in problems]
    said = [to_ids(problem.worked()) for problem in problems]
    rows = [(q + a)[:-1] for q, a in zip(asked, said, strict=True)]
    targets = [[-100] * (len(q) - 1) + a for q, a in zip(asked, said, strict=True)]
    batches = labelled_batches(rows, targets, shuffled(N_PROBLEMS, 32, torch.Generator().manual_seed(seed)))
    model = new_model(seed)
    train(model, batches, TrainingConfig(steps, learning_rate=5e-3, warmup_steps=20), progress=False)
    return model.eval().requires_grad_(False)


def small_solver() -> Decoder:
    """Give the trained decoder of seed 0, as it is kept."""
    model = new_model()
    load_model(model, WEIGHTS)
    return model.eval().requires_grad_(False)


def new_problems() -> Tensor:
    """Give problems with cans that were not in the training, question and worked answer: (problems, 38) ids."""
    known = {problem.question for problem in word_problems.problems(N_PROBLEMS, seed=1, n_steps=1)}
    new = [
        to_ids(f"{problem.question} {problem.worked()}")
        for problem in word_problems.problems(3000, seed=10**6, n_steps=1)
        if problem.question not in known and " cans of " in problem.question
    ]
    return torch.tensor(new)


if __name__ == "__main__":
    save_model(train_solver().half(), WEIGHTS)
