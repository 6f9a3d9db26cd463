r"""Bytes that a training by AdamW takes beside its activations, counted before anything starts.

Every parameter lies in memory as a weight. A trained one has a gradient and two moments of the same dtype as well, so that
in float32 it takes 16 bytes. A model on the device "meta" has shapes and no numbers: 7 billion weights are counted at once.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of a training without its activations."""

    n_trained: int  # numbers that are trained
    weights: int  # bytes of all parameters
    gradients: int  # bytes
    optimizer: int  # bytes of AdamW's two moments

    @property
    def total(self) -> int:
        """Bytes of all three."""
        return self.weights + self.gradients + self.optimizer


def training_memory(model: nn.Module) -> TrainingMemory:
    """Count what AdamW needs for the parameters as they stand: their dtype, and whether they are trained.

    Args:
        model: on any device, "meta" included; a parameter that two modules share counts once.

    Example:
        >>> training_memory(nn.Linear(6, 4))
        TrainingMemory(n_trained=28, weights=112, gradients=112, optimizer=224)
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    n_bytes = sum(p.numel() * p.element_size() for p in trained)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return TrainingMemory(sum(p.numel() for p in trained), weights, n_bytes, 2 * n_bytes)


def update_parameters(widths: list[tuple[int, int]], r: int) -> int:
    r"""Count the numbers of all updates of rank r: $\sum r (D_{in} + D_{out})$.

    Args:
        widths: D_in and D_out of every adapted layer.
        r: rank.
    """
    return sum(r * (d_in + d_out) for d_in, d_out in widths)


def on_meta(build: type, *arguments: object, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Build a model without its numbers.

    Args:
        build: class of the model, called with the arguments.
        arguments: such as a `ModelConfig`.
        dtype: of its parameters.
    """
    with torch.device("meta"):
        return build(*arguments).to(dtype)
