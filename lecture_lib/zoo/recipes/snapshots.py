"""BERT on snapshots of spins: what it says of hidden spins, and the couplings that this amounts to.

A snapshot is a text of twelve words, "+" or "-". Every chosen spin is shown as the mask: with BERT's exchanged tokens the
model would also have to guess which visible spins are false, and the exact posterior would be another one.

Axes: B snapshots, N spins.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lecture_lib.corpora.snapshots import hidden_ring, masked_floor, snapshots
from lecture_lib.encoder import Encoder, MaskedLanguageModel
from lecture_lib.training import Batch, TrainingConfig, evaluate
from lecture_lib.transformer import ModelConfig
from lecture_lib.zoo.recipe import Made, Metrics, Recipe, Train
from lecture_lib.zoo.words import word_tokenizer

WORDS = ("<mask>", "+", "-")
MASK, UP, DOWN = range(3)  # their ids
N_SPINS, HIDDEN, SOURCE = 12, 0.15, 0  # spins, the share that is hidden, and the seed of the couplings


def new_model(generator: torch.Generator) -> MaskedLanguageModel:
    """Make a fresh BERT of two layers with four heads and 32 features."""
    config = ModelConfig(
        vocab_size=len(WORDS),
        d_model=32,
        n_heads=4,
        n_layers=2,
        context_length=N_SPINS,
        n_segments=1,
        embedding_norm=True,
        init_std=0.05,
    )
    return MaskedLanguageModel(Encoder(config, generator), generator)


def spin_ids(spins: np.ndarray) -> Tensor:
    """Write spins +1 and -1 as ids, of the same shape."""
    return torch.from_numpy(np.where(spins > 0, UP, DOWN))


def as_batch(ids: Tensor, hidden: Tensor) -> Batch:
    """Hide spins (B, N) and ask for them: inputs ((B, N) ids,) and (B, N) targets, -100 where a spin is visible."""
    return Batch((ids.masked_fill(hidden, MASK),), ids.masked_fill(~hidden, -100))


def masked_spins(ids: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Draw B snapshots of `ids` again and again, and hide each spin with probability 15 %: as `as_batch`."""
    while True:
        rows = ids[torch.randint(len(ids), (batch_size,), generator=generator)]
        yield as_batch(rows, torch.rand(rows.shape, generator=generator) < HIDDEN)


@torch.no_grad()
def up_logits(model: nn.Module, ids: Tensor) -> Tensor:
    """Give ln p(up) / p(down) at every place, (B, N), as the model says it."""
    logits = model(ids)
    return logits[..., UP] - logits[..., DOWN]


def couplings_said(model: nn.Module, ids: Tensor) -> Tensor:
    """J_ij as the model says it, (N, N): hide spin i, flip spin j, and take a quarter of the change of the logit.

    The mean runs over the snapshots `ids` (B, N). For the exact posterior the logit is 2 (J s)_i, and this is J_ij.
    """
    n = ids.shape[1]
    said = torch.zeros(n, n)
    for i in range(n):
        seen = ids.clone()
        seen[:, i] = MASK
        before = up_logits(model, seen)[:, i]
        for j in set(range(n)) - {i}:
            flipped = seen.clone()
            flipped[:, j] = UP + DOWN - seen[:, j]
            change = before - up_logits(model, flipped)[:, i]
            said[i, j] = torch.where(seen[:, j] == UP, change, -change).mean() / 4
    return said


def bonds_named(J: np.ndarray, strengths: np.ndarray) -> float:
    """Share of bonds among the strongest pairs, as many pairs as there are bonds; pairs i < j, both orders summed."""
    upper = np.triu_indices(len(J), k=1)
    bonds = J[upper] != 0
    strongest = np.argsort(-np.abs((strengths + strengths.T)[upper]))[: bonds.sum()]
    return float(bonds[strongest].mean())


def held_out(J: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw 2000 snapshots (B, N) that were not trained on, and which of their spins are hidden (B, N)."""
    spins = snapshots(J, 2000, seed=5000 + seed)
    return spins, np.random.RandomState(seed).random_sample(spins.shape) < HIDDEN


def make(seed: int, train: Train) -> Made:
    """Train on 20,000 snapshots of one source; the seed is that of the snapshots and of the first weights."""
    ids = spin_ids(snapshots(hidden_ring(N_SPINS, SOURCE), 20_000, seed=1000 + seed))
    draw = torch.Generator().manual_seed(seed)
    model = new_model(draw)
    settings = TrainingConfig(3000, learning_rate=6e-3, warmup_steps=300, weight_decay=0.0)
    train(model, masked_spins(ids, 128, draw), settings)
    return model, word_tokenizer(WORDS[1:], {"mask": WORDS[MASK]})


def measure(model: nn.Module, _tokenizer: object) -> Metrics:
    """Hold the loss against the exact floor on the same hidden spins, and what is said of J against J."""
    J = hidden_ring(N_SPINS, SOURCE)
    spins, hidden = held_out(J, SOURCE)
    ids = spin_ids(spins)
    loss = evaluate(model, [as_batch(ids, torch.from_numpy(hidden))]).loss
    said = couplings_said(model, ids[:400]).numpy()
    return {
        "loss": loss,
        "above_floor": loss - masked_floor(J, spins, hidden),
        "bonds_named": bonds_named(J, said),
        "slope": (said * J).sum() / (J * J).sum(),
        "off_bond_rms": np.sqrt((said[(J == 0) & ~np.eye(N_SPINS, dtype=bool)] ** 2).mean()),
    }


RECIPES = (
    Recipe(
        "snapshots",
        summary="a BERT of 27,000 parameters that guesses hidden spins and so knows the couplings between them",
        cannot="It knows one source of 12 spins, and expects about 15 % of them to be hidden.",
        make=make,
        measure=measure,
        bands={
            "above_floor": (-0.002, 0.012),
            "bonds_named": (1.0, 1.0),
            "slope": (0.85, 1.05),
            "off_bond_rms": (0.0, 0.06),
        },
    ),
)
