r"""An adaptation whose right answer is known: a bigram model, and a new domain whose logits are shifted by a matrix of rank 3.

Old domain: $P(j|i) = \mathrm{softmax}_j(L_{ij})$. New domain: $L + D$, where D has rank 3. Someone who knows L sees pairs of words of the
new domain and estimates D, with or without a limit on the rank. The loss above the entropy of the source is computed
exactly, and nobody gets below 0.

Axes: V words.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lecture_lib.fields import whole
from lecture_lib.lora.layer import LoRALinear


@dataclass(frozen=True)
class Shift:
    """Two domains with the same words."""

    before: Tensor  # (V, V) logits of the old domain; row: the word before
    planted: Tensor  # (V, V) what the new domain adds to them

    @property
    def probs(self) -> Tensor:
        """(V, V) probability of the next word in the new domain, a row for each word before."""
        return (self.before + self.planted).softmax(1)


def planted_shift(seed: int, V: int = 48, rank: int = 3, strength: float = 0.9) -> Shift:
    """Draw normal logits, and a shift of a given rank whose entries have the standard deviation `strength`.

    Args:
        seed: of both.
        V: words.
        rank: of the shift, 1 to V.
        strength: of the shift; the logits of the old domain have 1.

    Raises:
        ValueError: a rank out of range.
    """
    whole("rank", rank, 1, V, ", the number of words")
    generator = torch.Generator().manual_seed(seed)
    before = torch.randn(V, V, generator=generator)
    left, right = (torch.randn(V, rank, generator=generator) for _ in range(2))
    return Shift(before, strength * left @ right.T / rank**0.5)


def count_pairs(shift: Shift, n: int, generator: torch.Generator | None = None) -> Tensor:
    """(V, V) counts of n pairs of the new domain: first words equally likely, second words by its probabilities.

    Args:
        shift: the two domains.
        n: pairs.
        generator: draws them.
    """
    V = len(shift.before)
    first = torch.randint(V, (n,), generator=generator)
    second = torch.multinomial(shift.probs[first], 1, generator=generator)[:, 0]
    return torch.bincount(V * first + second, minlength=V * V).view(V, V).float()


def fit_update(
    before: Tensor, counts: Tensor, r: int | None, steps: int = 400, generator: torch.Generator | None = None
) -> Tensor:
    """(V, V) update that makes the counted pairs likely, by Adam: of rank r by LoRA, or without a limit.

    Args:
        before: (V, V) logits to add it to.
        counts: (V, V) how often each pair was seen.
        r: rank, as `LoRALinear`; None: all V² entries are free.
        steps: of Adam; the learning rate falls from 0.05 to 0 along a cosine.
        generator: draws the initial matrix.
    """
    V = len(before)
    base = nn.Linear(V, V, bias=False)
    base.weight = nn.Parameter(torch.zeros(V, V), requires_grad=r is None)
    layer = base if r is None else LoRALinear(base, r, lora_alpha=r, generator=generator)
    optimizer = torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        log_probs = (before + layer.weight.T).log_softmax(1)
        loss = -(counts * log_probs).sum() / counts.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    update = layer.weight.detach().T
    return update - update.mean(1, keepdim=True)  # what is added to a whole row says nothing


def excess_loss(shift: Shift, update: Tensor) -> float:
    r"""Nats above the entropy of the new domain: $\frac1V \sum_i D_{KL}(P_i \,\|\, \mathrm{softmax}(L_i + \mathrm{update}_i))$, exactly.

    Args:
        shift: the two domains.
        update: (V, V) what is added to the old logits.
    """
    model = (shift.before + update).log_softmax(1)
    return (shift.probs * (shift.probs.log() - model)).sum(1).mean().item()
