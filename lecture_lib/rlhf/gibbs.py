r"""What the best policy is, exactly, where all replies can be listed.

The mean reward less β times the distance from the reference is largest for the Gibbs distribution
$\pi \propto \pi_{\text{ref}}\,e^{r/\beta}$: reward is minus energy, β is the temperature, the reference the density of states.

Source: Ziegler et al. (2019), section 2; Gao, Schulman & Hilton (2023) for best of n; Beirami et al. (2024) for its distance.
Axes: R replies.
"""

import math

import torch
from torch import Tensor

from lecture_lib.fields import positive_real, whole
from lecture_lib.rlhf.rewards import same_shape


def gibbs_policy(log_reference: Tensor, rewards: Tensor, beta: float) -> Tensor:
    r"""Logarithms of the best policy, (R,): $\ln\pi_{\text{ref}} + r/\beta - \ln Z$, the maximum of ⟨r⟩ - β KL.

    Args:
        log_reference: (R,) ln π_ref of every reply; -inf for one that never comes.
        rewards: (R,) its reward.
        beta: temperature, above 0.

    Example:
        >>> gibbs_policy(torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 0.0]), 1.0).exp()
        tensor([0.7311, 0.2689])
    """
    same_shape(log_reference=log_reference, rewards=rewards)
    return (log_reference + rewards / positive_real("beta", beta)).log_softmax(0)


def distance(log_policy: Tensor, log_reference: Tensor) -> Tensor:
    """Distance of a policy from the reference, () in nats: their Kullback-Leibler divergence, which may be inf.

    Args:
        log_policy: (R,) logarithms of the probabilities of all replies.
        log_reference: (R,) the same for the reference.

    Returns:
        () nats.
    """
    probs = log_policy.exp()
    return (probs * (log_policy - log_reference).masked_fill(probs == 0, 0)).sum()


def best_of_n_distribution(probs: Tensor, rewards: Tensor, n: int) -> Tensor:
    r"""Law of the best of n draws, (R,): $\pi(s)\,[F(r_s)^n - F_<(r_s)^n] / \pi(r_s)$.

    F(r) is the probability of a reward of at most r, F_< that of less than r, π(r) that of exactly r. Among
    equally good draws the first one is taken, so replies with the same reward share its probability as in `probs`.

    Args:
        probs: (R,) probability of every reply in one draw; they sum to 1.
        rewards: (R,) their rewards; ties are allowed.
        n: number of draws, 1 or more.

    Returns:
        (R,) probability that a reply is the one that is taken, of the dtype of `probs`; they sum to 1.

    Example:
        >>> best_of_n_distribution(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.0, 1.0, 1.0]), 2)
        tensor([0.2500, 0.3750, 0.3750])
    """
    same_shape(probs=probs, rewards=rewards)
    n = whole("n", n, 1)
    levels, which = rewards.unique(return_inverse=True)
    mass = torch.zeros(len(levels), dtype=torch.float64, device=probs.device)
    mass = mass.index_add(0, which, probs.double())  # probability of each level, from below
    mass = mass / mass.sum()
    upto = mass.cumsum(0)
    share = (upto**n - (upto - mass).clamp(min=0) ** n) / mass.clamp(min=torch.finfo(mass.dtype).tiny)
    return (probs * share[which]).to(probs.dtype)


def best_of_n_distance(n: int) -> float:
    """KL of the best of n from one draw, ln n - (n - 1)/n nats: exact for many replies without ties, else an upper bound."""
    n = whole("n", n, 1)
    return math.log(n) - (n - 1) / n
