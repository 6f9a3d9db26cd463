"""Steps of training: which weights decay, how fast to go, how far at most.

Source: Loshchilov & Hutter (2019), AdamW; Vaswani et al. (2017), section 5.3, warm-up; Loshchilov & Hutter
(2017), equation 5, the cosine; Pascanu et al. (2013), section 3.2, clipping by the global norm.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lecture_lib.fields import real


def adamw_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Sort the trainable parameters into two groups for AdamW: matrices decay, everything else does not.

    Not decayed: biases and the scales of norms (one axis), which have no direction to regularise, and embeddings, of
    which rare rows would fade away unseen; a table that is also the output head counts as an embedding. Frozen
    parameters are left out; a model with no other is refused. `weight_decay`: per step and unit of learning rate.
    """
    embedded = {
        id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()
    }
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter to train: all are frozen, or there is none")
    decays = [p.ndim >= 2 and id(p) not in embedded for p in trained]
    return [
        {
            "params": [p for p, decay in zip(trained, decays, strict=True) if decay],
            "weight_decay": weight_decay,
        },
        {"params": [p for p, decay in zip(trained, decays, strict=True) if not decay], "weight_decay": 0.0},
    ]


def learning_rate(
    step: int, max_steps: int, peak: float, warmup_steps: int = 0, final_fraction: float = 0.1
) -> float:
    """Rise linearly to the peak in `warmup_steps`, then fall along half a cosine.

    The first step has peak / warmup_steps, the last of the warm-up the peak, the last of all final_fraction * peak.
    A `step` (from 0) outside the training is refused, and so is a warm-up longer than it.
    """
    if not (0 <= step < max_steps and 0 <= warmup_steps <= max_steps):
        raise ValueError(f"step {step} and a warm-up of {warmup_steps} must lie within the {max_steps} steps")
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    after_peak = max_steps - max(warmup_steps, 1)  # steps from the peak to the end
    progress = (step + 1 - max(warmup_steps, 1)) / max(after_peak, 1)
    return peak * (final_fraction + (1 - final_fraction) * (1 + math.cos(math.pi * progress)) / 2)


def threshold(name: str, value: Any) -> float:
    """Give the largest allowed norm of a gradient as Python's float, and refuse one that is not positive."""
    return real(name, value, lambda x: x > 0, "positive, or None for no clipping")


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float | None) -> Tensor:
    """Scale all gradients together so that their global norm sqrt(sum g^2) is at most `max_norm`; None: only measure.

    Returns:
        () the norm before clipping, in single precision or better.
    """
    max_norm = None if max_norm is None else threshold("max_norm", max_norm)
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros((), device="cpu")
    exact = [torch.promote_types(g.dtype, torch.float32) for g in gradients]
    norms = [torch.linalg.vector_norm(g, dtype=dtype) for g, dtype in zip(gradients, exact, strict=True)]
    norm = torch.linalg.vector_norm(torch.stack(norms))
    if max_norm is not None:
        factor = (max_norm / norm).clamp(max=1.0)  # norm 0 gives inf, and so 1
        for gradient in gradients:
            gradient.mul_(factor)
    return norm
