"""A tiny decoder that reads a hidden Markov source, and whose every loss and belief can be computed exactly.

The source (`HiddenMarkovSource.symmetric`, Mess3) has three states and three tokens; texts are cut out of a long one. There are
only 3^8 = 6561 texts of eight tokens, so means over all texts are sums.

Axes: T = 6561 texts, N = 8 tokens, K = 3 states. Losses in nats.
Source: Shai et al. (2024), "Transformers represent belief state geometry in their residual stream".
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lecture_lib.attention import Context
from lecture_lib.corpora.hidden_markov import HiddenMarkovSource
from lecture_lib.decoder import Decoder
from lecture_lib.pretrained import load_pretrained
from lecture_lib.training import Batch, TrainingConfig, cross_entropy, random_windows, train
from lecture_lib.transformer import ModelConfig, make_context
from lecture_lib.zoo.recipe import Made, Metrics, Recipe, Train

SOURCE = HiddenMarkovSource.symmetric()
N_TOKENS = 8


def new_model(seed: int, d_model: int = 32) -> Decoder:
    """Give a decoder that nobody has trained: two layers, heads of 16 features or one."""
    config = ModelConfig(
        vocab_size=3,
        d_model=d_model,
        n_heads=max(d_model // 16, 1),
        n_layers=2,
        context_length=N_TOKENS,
        norm_first=True,
    )
    return Decoder(config, torch.Generator().manual_seed(seed))


def text(n_tokens: int = 1_000_000, seed: int = 0) -> Tensor:
    """Draw a long text of the source, (n_tokens,) ids."""
    return torch.from_numpy(SOURCE.sample(n_tokens, seed)[0])


def train_model(
    model: Decoder, ids: Tensor, seed: int, steps: int = 1500, leaks: bool = False, train: Train = train
) -> Decoder:
    """Train on the next token of random windows, in place; `leaks`: under a mask that shows one token too many."""
    batches = random_windows(ids, 128, N_TOKENS, torch.Generator().manual_seed(seed))
    config = TrainingConfig(steps, learning_rate=5e-3, warmup_steps=50, final_fraction=0.0, weight_decay=0.0)

    def objective(model: Decoder, batch: Batch) -> Tensor:
        return cross_entropy(model(*batch.inputs, here=sight(model, *batch.inputs, leaks)), batch.targets)

    train(model, batches, config, objective)
    return model


def sight(model: Decoder, ids: Tensor, leaks: bool = False) -> Context:
    """Say what each token may look at: itself and those before it, and in a leaking model the next one too."""
    here = make_context(model.config, ids, is_causal=True)
    n = ids.shape[1]
    return replace(here, is_causal=False, mask=torch.ones(n, n, dtype=torch.bool).tril(1)) if leaks else here


def all_texts() -> tuple[Tensor, Tensor]:
    """Give all texts of N tokens, (T, N), and their probabilities, (T,)."""
    ids = np.indices((3,) * N_TOKENS).reshape(N_TOKENS, -1).T
    beliefs = SOURCE.beliefs(ids)
    first = np.broadcast_to(SOURCE.stationary, (len(ids), 1, 3))
    before = np.concatenate([first, beliefs[:, :-1] @ SOURCE.transitions], axis=1) @ SOURCE.emissions
    chances = np.take_along_axis(before, ids[..., None], -1)[..., 0].prod(1)
    return torch.from_numpy(ids.copy()), torch.from_numpy(chances)


def floors() -> list[float]:
    """Give the entropy of each next token, given those before it: what no honest reader can beat, (N,)."""
    return [SOURCE.entropy_bounds(n)[1] for n in range(2, N_TOKENS + 2)]


def exact_losses(model: Decoder, leaks: bool = False) -> Tensor:
    """Average the loss at each of the N tokens over all texts: (N,), with no sampling error."""
    ids, chances = all_texts()
    with torch.no_grad():
        logs = model(ids, here=sight(model, ids, leaks)).double().log_softmax(-1)  # (T, N, 3)
    following = torch.nn.functional.one_hot(ids[:, 1:], 3).double()
    last = torch.from_numpy(SOURCE.beliefs(ids.numpy())[:, -1:] @ SOURCE.transitions @ SOURCE.emissions)
    return -torch.einsum("t,tnx,tnx->n", chances, torch.cat([following, last], 1), logs)


def belief_map(model: Decoder) -> Tensor:
    """Fit a linear map from what the head reads to the belief of a perfect reader, (D + 1, K), on half of the texts."""
    ids, chances = all_texts()
    half, weights = _first_half(ids), chances.sqrt()[:, None, None]
    X, Y = with_ones(model, ids), torch.from_numpy(SOURCE.beliefs(ids.numpy()))
    X, Y = (weights * X)[half].flatten(0, 1), (weights * Y)[half].flatten(0, 1)
    # By singular values: torch's usual way gives other maps at other times where columns depend on one another.
    return torch.linalg.lstsq(X, Y, driver="gelsd").solution


def with_ones(model: Decoder, ids: Tensor) -> Tensor:
    """Give what the head reads at every token and a 1, (..., N, D + 1), for a map with a constant."""
    with torch.no_grad():
        X = model.features(ids).double()
    return torch.cat([X, torch.ones_like(X[..., :1])], -1)


def read_beliefs(model: Decoder) -> tuple[Tensor, Tensor, float]:
    """Apply `belief_map` to the other half of the texts.

    Returns:
        what the map reads at their last tokens, (T / 2, 3); the true beliefs there; and R^2, the share of their
        variance over all tokens that is explained, weighted by the texts' probabilities.
    """
    ids, chances = all_texts()
    rest = ~_first_half(ids)
    ids, w = ids[rest], chances[rest, None, None]
    read, true = with_ones(model, ids) @ belief_map(model), torch.from_numpy(SOURCE.beliefs(ids.numpy()))
    mean = (w * true).sum((0, 1)) / (w.sum() * N_TOKENS)
    r2 = 1 - float((w * (read - true) ** 2).sum() / (w * (true - mean) ** 2).sum())
    return read[:, -1], true[:, -1], r2


def _first_half(ids: Tensor) -> Tensor:
    return torch.randperm(len(ids), generator=torch.Generator().manual_seed(0)) % 2 == 0


def make(seed: int, train: Train) -> Made:
    """Train under the right mask."""
    return train_model(new_model(seed), text(), seed, train=train), None


def read(folder: Path) -> Made:
    """Read the model alone: its tokens are numbers."""
    return load_pretrained(folder, tokenizer=False)


def measure(model: Decoder, _tokenizer: None) -> Metrics:
    """Measure the mean distance to the floor, exactly, and what one linear map reads."""
    above = exact_losses(model) - torch.tensor(floors())
    return {"above_floor": float(above.mean()), "r2": read_beliefs(model)[2]}


RECIPES = (
    Recipe(
        "beliefs",
        summary="a decoder that reads a hidden Markov source of three states, nearly as well as a perfect reader",
        cannot="It knows one source, Mess3, and texts of eight tokens.",
        make=make,
        measure=measure,
        read=read,
        bands={"above_floor": (0.0, 0.002), "r2": (0.99, 1.0)},
    ),
)
