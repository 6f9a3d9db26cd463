"""Losses: next token, masked token, smoothed labels.

Axes: B batch, N tokens, |V| vocabulary (or number of classes). All losses are in nats per target, and summed in single
precision or better whatever the dtype of the logits.
Source: the lecture, "Encoder models: pre-training" and "Decoder models"; Devlin et al. (2019), section 3.1;
Vaswani et al. (2017), section 5.4; Szegedy et al. (2016), section 7.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lecture_lib.fields import chance

IGNORED = -100


def cross_entropy(
    logits: Tensor, targets: Tensor, ignore_index: int = IGNORED, label_smoothing: float = 0.0
) -> Tensor:
    r"""Mean of $-\ln p(\text{target})$ over the targets asked for; $p = \mathrm{Softmax}(\text{logits})$.

    With label smoothing the target is not one class but (1 - epsilon) of it and epsilon spread evenly over all.

    Args:
        logits: (..., |V|) scores.
        targets: (...) int64 right classes; `ignore_index` where nothing is asked.
        ignore_index: marks what does not count.
        label_smoothing: epsilon, 0 to 1.

    Returns:
        () nats; 0 if nothing is asked. Shapes that do not fit, and a target that is no class, are refused.
    """
    label_smoothing = chance("label_smoothing", label_smoothing)
    check_targets(logits, targets, ignore_index)
    asked = targets != ignore_index
    log_probs = torch.log_softmax(widened(logits[asked]), dim=-1)  # (n_targets, |V|)
    losses = -log_probs.gather(-1, targets[asked][:, None]).squeeze(-1)
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * log_probs.mean(dim=-1)
    return losses.sum() / max(losses.numel(), 1)


def widened(values: Tensor) -> Tensor:
    """Give numbers in single precision or better: a sum in float16 or bfloat16 would stall or overflow."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def shift(ids: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Split texts into what is read and what comes next: inputs are tokens 1 ... N-1, targets tokens 2 ... N.

    Args:
        ids: (B, N) token ids; fewer than two tokens are refused.
        lengths: (B,) real tokens in each row; None: all N.

    Returns:
        inputs (B, N - 1) and targets (B, N - 1), -100 where the next token is padding.
    """
    if ids.ndim != 2 or ids.shape[1] < 2:
        raise ValueError(f"ids must be (B, N) with at least two tokens, got {tuple(ids.shape)}")
    inputs, targets = ids[:, :-1], ids[:, 1:]
    if lengths is not None:
        places = torch.arange(1, ids.shape[1], device=ids.device)
        targets = targets.masked_fill(places >= lengths[:, None], IGNORED)
    return inputs, targets


def mask_tokens(
    ids: Tensor,
    mask_id: int,
    vocab_size: int,
    special_ids: Sequence[int] = (),
    probability: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose 15 % of the tokens to ask for; show 80 % of them as the mask, 10 % as any token, the rest as is.

    Args:
        ids: (B, N) token ids.
        mask_id: id of the mask, one of the |V| of the vocabulary, or it is refused.
        special_ids: never chosen: padding, start, end.

    Returns:
        (B, N) ids to show, and (B, N) targets: the true id where a token was chosen, -100 elsewhere.

    Example:
        >>> mask_tokens(torch.tensor([[7, 5]]), 3, 9, special_ids=(7, 5))
        (tensor([[7, 5]]), tensor([[-100, -100]]))
    """
    probability = chance("probability", probability)
    if not 0 <= mask_id < vocab_size:
        raise ValueError(f"mask_id must lie in 0 ... {vocab_size - 1}, got {mask_id}")
    device, shape = ids.device if generator is None else generator.device, (2, *ids.shape)
    draws = torch.rand(shape, generator=generator, device=device, dtype=torch.float32)
    height, kind = draws.to(ids.device)
    any_token = torch.randint(vocab_size, ids.shape, generator=generator, device=device).to(ids.device)
    special = torch.isin(ids, torch.tensor([*special_ids], dtype=ids.dtype, device=ids.device))
    chosen = (height < probability) & ~special
    shown = torch.where(chosen & (kind < 0.8), mask_id, ids)
    shown = torch.where(chosen & (kind >= 0.9), any_token, shown)
    return shown, ids.masked_fill(~chosen, IGNORED)


def mlm_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of -ln p(hidden token), as `cross_entropy`, over the tokens that `mask_tokens` chose.

    Returns:
        As `cross_entropy`.
    """
    return cross_entropy(logits, targets)


def check_targets(logits: Tensor, targets: Tensor, ignore_index: int) -> None:
    """Refuse targets that cannot be looked up in the logits, as `cross_entropy`."""
    if logits.ndim < 1 or logits.shape[:-1] != targets.shape:
        shapes = f"{tuple(logits.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"logits (..., |V|) need targets (...): got {shapes}")
    wrong = targets[(targets != ignore_index) & ((targets < 0) | (targets >= logits.shape[-1]))]
    if wrong.numel():
        raise ValueError(f"targets must lie in 0 ... {logits.shape[-1] - 1}, got {int(wrong[0])}")
