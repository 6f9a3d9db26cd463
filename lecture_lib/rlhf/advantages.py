r"""What each token is credited with: the distance from the reference, the rewards of tokens, their advantages.

Source: Schulman et al. (2016), equations 11 to 16, for the estimator; Shao et al. (2024), section 4.1.2, for groups.
Axes: B texts, N tokens; |V| vocabulary; G groups of K answers to the same prompt.
"""

import torch
from torch import Tensor

from lecture_lib.fields import chance, real
from lecture_lib.rlhf.rewards import same_shape


def kl_per_token(logits: Tensor, reference: Tensor) -> Tensor:
    r"""Exact distance of two next-token laws, (...) in nats: $\sum_v \pi(v)\,[\ln \pi(v) - \ln \pi_{\text{ref}}(v)]$.

    Args:
        logits: (..., |V|) of the policy; -inf: ruled out, contributes nothing.
        reference: (..., |V|) logits of the reference.

    Example:
        >>> kl_per_token(torch.tensor([0.0, -torch.inf]), torch.zeros(2))  # one of two equal tokens: ln 2
        tensor(0.6931)
    """
    same_shape(logits=logits, reference=reference)
    ours, theirs = logits.log_softmax(-1), reference.log_softmax(-1)
    probs = ours.exp()
    return (probs * (ours - theirs).masked_fill(probs == 0, 0)).sum(-1)


def kl_estimate(log_probs: Tensor, reference: Tensor) -> Tensor:
    r"""Estimate the distance from tokens that the policy drew, (...): $\rho - 1 - \ln\rho$ with $\rho = \pi_{\text{ref}}/\pi$.

    Its mean over the policy's draws is the exact one, and unlike $-\ln\rho$ it is never negative.

    Args:
        log_probs: (...) ln π of the tokens that were drawn.
        reference: (...) their logarithms under the reference.
    """
    same_shape(log_probs=log_probs, reference=reference)
    log_ratio = reference - log_probs
    return torch.expm1(log_ratio) - log_ratio


def token_rewards(scores: Tensor, log_probs: Tensor, reference: Tensor, said: Tensor, beta: float) -> Tensor:
    r"""Rewards of tokens, (B, N): $-\beta(\ln\pi - \ln\pi_{\text{ref}})$ at each, and the score of the text at its last one.

    Args:
        scores: (B,) what the reward model says of whole texts.
        log_probs: (B, N) ln π of the tokens, as they were drawn.
        reference: (B, N) their logarithms under the reference.
        said: (B, N) bool, True for the tokens that the policy drew; others get 0. A text without any is refused.
        beta: price of a nat, 0 or more.
    """
    same_shape(log_probs=log_probs, reference=reference, said=said)
    if not said.any(-1).all():
        raise ValueError("every text needs at least one token that the policy drew")
    beta = real("beta", beta, lambda x: x >= 0, "a number, 0 or more")
    places = torch.arange(said.shape[-1], device=said.device)
    last = places.where(said, -1).amax(-1, keepdim=True)
    rewards = -beta * (log_probs - reference)
    return (rewards + scores[:, None] * (places == last)).masked_fill(~said, 0)


def gae(rewards: Tensor, values: Tensor, gamma: float = 1.0, lam: float = 0.95) -> Tensor:
    r"""Generalized advantages, (..., N): $A_n = \delta_n + \gamma\lambda A_{n+1}$, $\delta_n = r_n + \gamma V_{n+1} - V_n$.

    Behind the last token nothing is expected: $V_{N+1} = A_{N+1} = 0$. With λ = 1 this is the return less the value, with
    λ = 0 the surprise of one step.

    Args:
        rewards: (..., N) reward of each token; 0 at padding, which changes nothing then if its value is 0 as well.
        values: (..., N) what was expected before the token was drawn.
        gamma: discount of a step, 0 to 1.
        lam: λ, 0 to 1.

    Example:
        >>> gae(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5]), gamma=1.0, lam=0.5)
        tensor([0.2500, 0.5000])
    """
    same_shape(rewards=rewards, values=values)
    gamma, lam = chance("gamma", gamma), chance("lam", lam)
    advantages = torch.zeros_like(rewards)
    following = expected = torch.zeros_like(rewards[..., 0])
    for n in reversed(range(rewards.shape[-1])):
        surprise = rewards[..., n] + gamma * expected - values[..., n]
        following = surprise + gamma * lam * following
        advantages[..., n], expected = following, values[..., n]
    return advantages


def group_advantages(rewards: Tensor, epsilon: float = 1e-4) -> Tensor:
    r"""Compare answers to the same prompt, (G, K): $(r - \text{mean}) / (\text{std} + \epsilon)$ over each group.

    This is GRPO's advantage, which needs no value head; std has K - 1 in its denominator. A group of one answer is refused.

    Args:
        rewards: (G, K) rewards of K answers to each of G prompts.
        epsilon: keeps groups with equal rewards finite: their advantages are 0.

    Example:
        >>> group_advantages(torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]))
        tensor([[-0.9999,  0.0000,  0.9999],
                [ 0.0000,  0.0000,  0.0000]])
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(
            f"rewards must be (G, K) with at least two answers a group, got {tuple(rewards.shape)}"
        )
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + epsilon)
