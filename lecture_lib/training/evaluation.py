"""How good a model is: mean loss, perplexity, bits per byte.

Source: Shannon (1951); Jelinek et al. (1977), perplexity. Bits per byte do not depend on the tokenizer, perplexity does.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib.training.batches import Batch
from lecture_lib.training.losses import IGNORED, widened

Objective = Callable[[nn.Module, Batch], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """What a model made of a text it was not trained on."""

    loss: float  # nats per target
    perplexity: float  # exp(loss): as unsure as between this many equally likely tokens
    bits_per_byte: float | None  # loss summed, over the bytes of the text; None if they are not known
    n_targets: int


def target_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Mean of -ln p(target), as `cross_entropy` explains it, by torch's fused kernel.

    The model is called with the inputs of the batch and gives logits (B, |V|) or (B, M, |V|).

    Returns:
        () nats per target; 0 if nothing is asked.
    """
    logits = model(*batch.inputs)
    summed = F.cross_entropy(
        widened(logits.flatten(0, -2)), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return summed / (batch.targets != IGNORED).sum().clamp(min=1)  # as a tensor: a GPU need not be waited for


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: Iterable[Batch], objective: Objective = target_loss, n_bytes: int | None = None
) -> Evaluation:
    """Measure the mean loss over all targets of the batches, without dropout; nothing asked in any of them is refused.

    The model is left in the mode in which it came. `n_bytes`: size of the text in bytes (UTF-8), for bits per byte.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    total, n_targets = 0.0, 0
    try:
        for batch in batches:
            total += objective(model, batch.to(device)).item() * batch.n_targets
            n_targets += batch.n_targets
    finally:
        model.train(was_training)
    if n_targets == 0:
        raise ValueError("there is nothing to evaluate: no batch asks for a target")
    loss = total / n_targets
    bits_per_byte = None if n_bytes is None else total / math.log(2) / n_bytes
    return Evaluation(loss, math.exp(min(loss, 700.0)), bits_per_byte, n_targets)
