r"""Updates of maps that a family keeps in one, as GPT-2 keeps queries, keys and values: both ways exactly.

$[W_1, W_2, W_3]$ side by side has the update $[\frac{α_1}{r_1}A_1B_1, …]$, which is $\frac{α}{r}AB$ with all A_i
one beside the other and B block by block, or with the A of all if they have the same.

Axes: D_in and D_out widths of a layer, r rank.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lecture_lib.lora.layer import LoRALayer


@dataclass(frozen=True)
class Update:
    """What a file says of one layer."""

    A: Tensor  # (r, D_in)
    B: Tensor  # (D_out, r)
    lora_alpha: float


def joined(layers: list[LoRALayer | None], widths: list[int]) -> Update:
    """Give the update of maps side by side; None stands for a map that is not adapted.

    Args:
        layers: at least one of them adapted.
        widths: D_out of each map.
    """
    known = [layer for layer in layers if layer is not None]
    first = known[0]
    if len(layers) == 1:
        return Update(first.lora_A, first.lora_B, first.lora_alpha)
    if all(layer.scaling == first.scaling and torch.equal(layer.lora_A, first.lora_A) for layer in known):
        rows = [
            first.lora_B.new_zeros(n, first.r) if m is None else m.lora_B
            for m, n in zip(layers, widths, strict=True)
        ]
        return Update(first.lora_A, torch.cat(rows), first.lora_alpha)
    rank, start = sum(layer.r for layer in known), 0
    lora_B = first.lora_B.new_zeros(sum(widths), rank)
    for layer, rows in zip(layers, lora_B.split(widths), strict=True):
        if layer is not None:
            rows[:, start : start + layer.r] = layer.lora_B.detach() * (layer.scaling / first.scaling)
            start += layer.r
    lora_alpha = first.scaling * (math.sqrt(rank) if first.use_rslora else rank)
    return Update(torch.cat([layer.lora_A for layer in known]), lora_B, lora_alpha)


def parted(update: Update, widths: list[int]) -> list[Update]:
    """Give each of the maps side by side its update."""
    return [Update(update.A, B, update.lora_alpha) for B in update.B.split(widths)]
