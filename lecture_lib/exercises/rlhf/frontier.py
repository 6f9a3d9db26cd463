"""Judge: which of five claims lies above the frontier of reward and distance?"""

import math

import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.kinds import impossible
from lecture_lib.rlhf import distance, gibbs_policy

Claim = tuple[
    Tensor, Tensor, float, float
]  # ln π_ref (R,), rewards (R,), distance and mean reward of a policy


def best_within(log_reference: Tensor, rewards: Tensor, kl: float) -> float:
    """Largest mean reward within a distance, by bisection of ln β."""
    low, high = -8.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        too_far = float(distance(gibbs_policy(log_reference, rewards, math.exp(middle)), log_reference)) > kl
        low, high = (middle, high) if too_far else (low, middle)
    return float(gibbs_policy(log_reference, rewards, math.exp(high)).exp() @ rewards)


def claim(draw: Draw, above: bool) -> Claim:
    """A world of its own, with other rewards, and a policy that is a little short of the best, or a little more than possible."""
    R = draw.size(5, 30)
    log_reference = draw.normal(R, dtype=F64).log_softmax(0)
    scale = float(draw.normal(1, dtype=F64).abs()) * 3 + 0.5
    rewards = scale * draw.normal(R, dtype=F64) + 2 * float(draw.normal(1, dtype=F64))
    start = float(log_reference.exp() @ rewards)
    far = -float(log_reference[rewards.argmax()])  # distance of always saying the best
    kl = far * (0.2 + 0.5 * float(torch.sigmoid(draw.normal(1))))
    best = best_within(log_reference, rewards, kl)
    share = 0.12 * float(torch.sigmoid(draw.normal(1))) + 0.04
    return log_reference, rewards, kl, start + (1 + share if above else 1 - share) * (best - start)


def possible(one: Claim) -> bool:
    """Even the claim above its frontier is below the largest reward, so that nothing gives it away."""
    return one[3] < float(one[1].max()) - 0.02


def spread(one: Claim) -> float:
    """What can be gained if the frontier is taken as it begins: the root of 2 KL times the variance of the rewards."""
    p, rewards = one[0].exp(), one[1]
    return math.sqrt(2 * one[2] * float(p @ (rewards - p @ rewards) ** 2))


def five_claims(seed: int, each: int) -> tuple[str, list, int]:
    """Four claims below their frontiers and one above its own, which no simpler rule would name."""
    draw, place = Draw(1000 * seed + each), (seed + 2 * each) % 5

    def five() -> list[Claim]:
        return [until(lambda k=k: claim(draw, k == place), possible) for k in range(5)]

    def hidden(claims: list[Claim]) -> bool:
        gains = [c[3] - float(c[0].exp() @ c[1]) for c in claims]
        per_nat, heights = [g / c[2] for g, c in zip(gains, claims, strict=True)], [c[3] for c in claims]
        tops = [c[3] / abs(float(c[1].max())) for c in claims]
        near = [g / spread(c) for g, c in zip(gains, claims, strict=True)]
        nearest = min(range(5), key=lambda k: claims[k][2])
        gain, steep, high, top, far = (
            max(range(5), key=x.__getitem__) for x in (gains, per_nat, heights, tops, near)
        )
        differ = ((gain, high), (gain, steep), (steep, nearest))[
            each % 3
        ]  # so that wrong rules are told apart
        return place not in (gain, steep, high, top, far, nearest) and len(set(differ)) == 2

    return "five claims", until(five, hidden), place


def above_the_frontier(claims: list) -> int:
    """Find the claim that no policy can keep; the mistakes below are changes of these lines."""
    excess = []
    for log_reference, rewards, kl, reward in claims:
        betas = torch.logspace(-2.5, 2.5, 200).tolist()
        best = -math.inf
        for beta in betas:
            policy = gibbs_policy(log_reference, rewards, beta)
            if float(distance(policy, log_reference)) <= kl:
                best = max(best, float(policy.exp() @ rewards))
        start = float(log_reference.exp() @ rewards)
        excess.append((reward - best) / (best - start))
    return excess.index(max(excess))


# fmt: off
ABOVE_MISTAKES = (
    ("the largest reward is named, whatever the world. What can be reached there?",
     "(reward - best) / (best - start)", "reward"),
    ("the largest gain is named, whatever the world. What can be reached there?",
     "(reward - best) / (best - start)", "reward - start"),
    ("the largest gain for a nat is named. How does the frontier bend?",
     "(reward - best) / (best - start)", "(reward - start) / kl"),
    ("the claim furthest below its frontier is named.", "index(max(excess))", "index(min(excess))"),
    ("the frontier is taken as a square root all the way. Where does it bend away from its beginning?",
     "(reward - best) / (best - start)",
     "(reward - start) / math.sqrt(2 * kl * float(log_reference.exp() @ (rewards - start) ** 2))"),
    ("the claims are counted from 1. Which number has the first?",
     "return excess.index(max(excess))", "return excess.index(max(excess)) + 1"),
    ("the claim with the smallest distance is named.", "(reward - best) / (best - start)", "-kl"),
)
# fmt: on

ABOVE = impossible(
    "rlhf.above_the_frontier",
    five_claims,
    above_the_frontier,
    against="how the claims were made, with the frontier found by bisection",
    rounds=8,
    points=3,
    difficulty=2,
    minutes=15,
    mistakes=ABOVE_MISTAKES,
)
