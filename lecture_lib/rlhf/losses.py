r"""The losses of PPO and of DPO.

Source: Schulman et al. (2017), equations 7 and 9; Rafailov et al. (2023), equation 7.
Axes: B texts, N tokens.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.fields import positive_real
from lecture_lib.rlhf.rewards import same_shape


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values where the mask is True.

    Args:
        values: (...) numbers; where the mask is False they may be anything.
        mask: (...) bool.

    Returns:
        () the mean; 0 if the mask is True nowhere.
    """
    same_shape(values=values, mask=mask)
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def ppo_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, mask: Tensor, clip: float = 0.2
) -> Tensor:
    r"""Clipped loss, mean over tokens of $-\min(\rho A,\ \text{clip}(\rho, 1 - \epsilon, 1 + \epsilon) A)$, $\rho = \pi/\pi_{\text{old}}$.

    A token's ratio earns nothing more once it has moved by ε in the direction in which its advantage pulls. Before the first
    update ρ = 1 everywhere, and the gradient is that of $-A \ln \pi$, the policy gradient.

    Args:
        log_probs: (B, N) ln π of the tokens that were drawn; the gradient goes through these alone.
        old_log_probs: (B, N) the same when they were drawn.
        advantages: (B, N) how much better than expected each token was.
        mask: (B, N) bool, True for the tokens that count; what stands elsewhere may be anything, also inf.
        clip: ε, above 0.

    Returns:
        () the loss; 0 if no token counts.

    Example:
        >>> one = torch.ones(1, 2)
        >>> ppo_loss(torch.tensor([[1.5, 0.5]]).log(), 0 * one, one, one.bool())  # -(1.2 + 0.5) / 2
        tensor(-0.8500)
    """
    same_shape(log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages, mask=mask)
    clip = positive_real("clip", clip)
    ratio = (log_probs - old_log_probs.detach()).masked_fill(~mask, 0).exp()
    advantages = advantages.detach().masked_fill(~mask, 0)
    gains = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -gains.sum() / mask.sum().clamp(min=1)


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float = 0.2
) -> Tensor:
    r"""Half the mean of $\max[(V - R)^2, (V_{\text{clip}} - R)^2]$ over tokens; $V_{\text{clip}}$ is at most ε from the old value.

    Args:
        values: (B, N) what the value head expects now.
        old_values: (B, N) what it expected when the tokens were drawn.
        returns: (B, N) what came: advantage plus old value.
        mask: (B, N) bool, True for the tokens that count.
        clip: ε, above 0.

    Returns:
        () the loss; 0 if no token counts.
    """
    same_shape(values=values, old_values=old_values, returns=returns, mask=mask)
    clip = positive_real("clip", clip)
    near = old_values + (values - old_values).clamp(-clip, clip)
    return masked_mean(torch.maximum((values - returns).square(), (near - returns).square()), mask) / 2


def dpo_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> Tensor:
    r"""Mean of $-\ln \sigma(\hat r_{\text{chosen}} - \hat r_{\text{rejected}})$ with $\hat r = \beta \ln(\pi / \pi_{\text{ref}})$.

    The optimum for a reward r is $\pi \propto \pi_{\text{ref}}\, e^{r/\beta}$, so β ln(π/π_ref) is the reward up to a constant,
    and the constant drops out of the difference: the reward loss, without a reward model.

    Args:
        chosen: (B,) ln π of whole preferred answers.
        rejected: (B,) ln π of the others.
        reference_chosen: (B,) the same under the reference, through which no gradient goes.
        reference_rejected: (B,) likewise.
        beta: price of a nat, above 0.

    Returns:
        () nats per pair; ln 2 where policy and reference agree.

    Example:
        >>> a, b = torch.tensor([-3.0]), torch.tensor([-5.0])
        >>> dpo_loss(a, b, b, b, beta=0.5)  # the chosen answer has gained 2 nats: ln(1 + e^-1)
        tensor(0.3133)
    """
    given = {"chosen": chosen, "rejected": rejected}
    same_shape(**given, reference_chosen=reference_chosen, reference_rejected=reference_rejected)
    beta = positive_real("beta", beta)
    gained = chosen - reference_chosen.detach()
    lost = rejected - reference_rejected.detach()
    return -F.logsigmoid(beta * (gained - lost)).mean()
