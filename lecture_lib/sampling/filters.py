r"""What is done to the logits before a token is drawn: the knobs of the playground (lecture, "Sampling").

A logit is minus an energy: temperature is that of a Boltzmann distribution, and a filter rules states out by giving them
the logit -inf, hence the probability 0. What stays keeps its logit, so the ratios among it do not change.
A number out of range is refused. No function waits for the device, so all may run inside a CUDA graph.

Axes: V tokens of the vocabulary, N tokens of the text so far; `...` any number of leading axes, such as the batch.
"""

import torch
from torch import Tensor

from lecture_lib.fields import chance, positive_real, whole

# How far the rounding of logits may move a probability, as a fraction of it; half precision is taken as it stands.
LAST_DIGITS = {torch.float64: 4e-15, torch.float32: 1.5e-6, torch.bfloat16: 1.5e-6, torch.float16: 1.5e-6}


def probabilities(logits: Tensor, at_least: torch.dtype = torch.float32) -> Tensor:
    r"""Turn logits into (..., V) probabilities $p_i = e^{z_i} / \sum_j e^{z_j}$, at least single: in half their sum loses tokens.

    Args:
        logits: (..., V) floating-point numbers, or they are refused; -inf: ruled out.
    """
    if logits.ndim == 0 or logits.shape[-1] == 0 or not logits.is_floating_point():
        raise ValueError(
            f"logits are (..., |V|) floating-point numbers, got {tuple(logits.shape)} {logits.dtype}"
        )
    return logits.to(torch.promote_types(logits.dtype, at_least)).softmax(-1)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    r"""Flatten (T > 1) or sharpen (T < 1) the distribution of (..., V) logits: $z_i / T$ (Bishop & Bishop, 2024, 12.3.2).

    The logits are minus energies, so softmax(z / T) is Boltzmann's distribution: T = 1 is the model's own, T to 0 picks
    the most likely token, T to infinity makes all tokens equally likely.

    Args:
        logits: (..., V) logits.
        temperature: T, in units of the logits; 0 is refused, use `greedy`.

    Example:
        >>> apply_temperature(torch.tensor([2.0, 1.0, 0.0]), 0.5)
        tensor([4., 2., 0.])
    """
    return logits / positive_real("temperature", temperature, wanted="positive (for 0 use `greedy`)")


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k largest of (..., V) logits, the others become -inf (Fan, Lewis & Dauphin, 2018, section 5.4).

    Args:
        logits: (..., V) logits.
        k: tokens to keep, less than 1 is refused; more than V keeps all. Tokens equal to the k-th are all kept.

    Example:
        >>> top_k(torch.tensor([1.0, 3.0, 2.0, 0.0]), 2)
        tensor([-inf, 3., 2., -inf])
    """
    smallest_kept = logits.topk(min(whole("k", k, 1), logits.shape[-1])).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < smallest_kept, -torch.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens whose probability reaches p, the nucleus: (..., V) logits, others -inf.

    The token that crosses p is kept, so the set holds at least p and at least one token. Said from below: a token goes if
    it and all the less likely ones together hold at most 1 - p. The logits are rounded, so a sum that misses p by no more
    than their last digits has reached it: of n equal tokens, k / n keeps k. Which of equals stay, torch's sort decides.
    Source: Holtzman et al. (2020), section 3.1.

    Args:
        logits: (..., V) logits.
        p: probability to keep; what is none is refused.

    Example:
        >>> top_p(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 0.7).exp()
        tensor([0.5000, 0.3000, 0.0000, 0.0000])
    """
    p = chance("p", p)
    ascending, order = logits.sort(dim=-1)
    wide = torch.float32 if logits.device.type == "mps" else torch.float64
    rounding = LAST_DIGITS.get(logits.dtype, 0.0) * min(p, 1 - p) + (0 < p < 1) * logits.shape[-1] * 2.0**-50
    removed = probabilities(ascending, wide).cumsum(-1) <= 1 - p + rounding
    removed[..., -1] = False  # the most likely token stays, whatever p is
    return logits.masked_fill(removed.scatter(-1, order, removed), -torch.inf)


def min_p(logits: Tensor, p: float) -> Tensor:
    r"""Keep tokens p times as likely as the best, $p_i \geq p \max_j p_j$: (..., V) logits, others -inf (Nguyen et al., 2025).

    Args:
        logits: (..., V) logits.
        p: the ratio, 0 (keep all) to 1 (keep the most likely), reached as in `top_p`; other numbers are refused.

    Example:
        >>> min_p(torch.tensor([0.5, 0.3, 0.15, 0.05]).log(), 0.25).exp()
        tensor([0.5000, 0.3000, 0.1500, 0.0000])
    """
    p = chance("p", p)
    probs, rounding = probabilities(logits), LAST_DIGITS.get(logits.dtype, 0.0) * min(p, 1 - p)
    return logits.masked_fill(probs < (p - rounding) * probs.amax(-1, keepdim=True), -torch.inf)


def repetition_penalty(logits: Tensor, ids: Tensor, penalty: float, lengths: Tensor | None = None) -> Tensor:
    r"""Make tokens that have appeared less likely: of (..., V) logits, $z > 0$ becomes $z/\theta$, others $z\,\theta$.

    How often a token has appeared does not matter. Source: Keskar et al. (2019), section 4.1; below 0 as `transformers`.

    Args:
        logits: (..., V) logits of the next token.
        ids: (..., N) token ids of the text so far, all of the vocabulary (looked at on a CPU).
        penalty: theta; 1 changes nothing, below 1 rewards repetition, 0 and less is refused.
        lengths: (...) number of real tokens in each right-padded row; None: all are real. Padding has not appeared.

    Example:
        >>> repetition_penalty(torch.tensor([2.0, 1.0, -1.0, -2.0]), torch.tensor([0, 3, 3]), 2.0)
        tensor([ 1.,  1., -1., -4.])
    """
    penalty = positive_real("the repetition penalty", penalty)
    appeared = appeared_tokens(ids, lengths, logits)
    return torch.where(appeared, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def appeared_tokens(ids: Tensor, lengths: Tensor | None, logits: Tensor) -> Tensor:
    """Mark the tokens that occur in the text, as `repetition_penalty`: (..., V) bool; what does not fit is refused."""
    *rows, vocab_size = logits.shape
    if list(ids.shape[:-1]) != rows or (lengths is not None and list(lengths.shape) != rows):
        given = f"ids {tuple(ids.shape)}, lengths {None if lengths is None else tuple(lengths.shape)}"
        raise ValueError(f"one text and one length for each row of logits {tuple(logits.shape)}: got {given}")
    real = torch.ones_like(ids, dtype=torch.bool)
    if lengths is not None:
        real = torch.arange(ids.shape[-1], device=ids.device) < lengths[..., None]
    if ids.device.type == "cpu" and (wrong := ids[real & ((ids < 0) | (ids >= vocab_size))]).numel():
        raise ValueError(f"token id {wrong[0]} is outside the vocabulary of {vocab_size} tokens")
    appeared = torch.zeros(*rows, vocab_size + 1, dtype=torch.bool, device=logits.device)
    # Padding counts as an id behind the vocabulary, which is cut off.
    return appeared.scatter(-1, ids.long().where(real, vocab_size), True)[..., :vocab_size]
