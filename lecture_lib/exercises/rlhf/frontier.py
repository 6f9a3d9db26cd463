"""Judge: which of five claims lies above the frontier of reward and distance?"""

import math

import numpy as np
import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.kinds import impossible
from lecture_lib.rlhf import distance, gibbs_policy

# ln π_ref (R,), rewards (R,), distance and mean reward of a policy
Claim = tuple[Tensor, Tensor, float, float]


def best_within(log_reference: Tensor, rewards: Tensor, kl: float) -> float:
    """Largest mean reward within a distance, by bisection of ln β, in numpy."""
    log_p, r = log_reference.numpy(), rewards.numpy()

    def tuned(beta: float) -> tuple[float, float]:
        energy = log_p + r / beta
        weights = np.exp(energy - energy.max())
        mean = float(weights @ r / weights.sum())
        return mean, mean / beta - float(energy.max() + np.log(weights.sum()))

    low, high = -8.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if tuned(math.exp(middle))[1] > kl else (low, middle)
    return tuned(math.exp(high))[0]


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


def simpler_rules(one: Claim) -> dict[str, float]:
    """How strange a claim is by rules that do not find the frontier: its beginning, its end, and curves between the two."""
    log_reference, rewards, kl, reward = one
    p = log_reference.exp()
    start, top = float(p @ rewards), float(rewards.max())
    gain, far = reward - start, kl / -float(log_reference[rewards.argmax()])
    variance, skew = (float(p @ (rewards - start) ** k) for k in (2, 3))
    slope, share = math.sqrt(2 * kl * variance), gain / (top - start)
    return {
        "reward": reward,
        "gain": gain,
        "gain for a nat": gain / kl,
        "reward, of the largest": reward / abs(top),
        "root of the distance": gain / slope,
        "root and bend": gain / max(slope + kl * skew / variance / 3, 0.1 * slope),
        "small distance": -kl,
        "circle": share - math.sqrt(1 - (1 - far) ** 2),
        "parabola": share + (1 - far) ** 2,
        "root between the ends": share / math.sqrt(far),
        "fourth root": share / far**0.25,
    }


DIFFER = (("gain", "reward"), ("gain", "gain for a nat"), ("gain for a nat", "small distance"))
# Rules that are often right, and what they make of most possible claims; seldom are all wrong at once.
SLOPE = {"root of the distance": 0.95, "root and bend": 0.98}
CURVES = {"circle": -0.055, "parabola": 1.1, "root between the ends": 1.16, "fourth root": 0.95}


def five_claims(seed: int, each: int) -> tuple[str, list, int]:
    """Four claims below their frontiers and one above its own, which no simpler rule would name."""
    draw, place = Draw(1000 * seed + each), (seed + 2 * each) % 5
    here, elsewhere = (SLOPE, CURVES) if each % 2 else (CURVES, SLOPE)

    def modest(one: Claim) -> bool:
        return possible(one) and all(simpler_rules(one)[rule] < limit for rule, limit in here.items())

    def five() -> list[Claim]:
        kinds = [modest if k == place else possible for k in range(5)]
        return [until(lambda kind=kind: claim(draw, kind is modest), kind) for kind in kinds]

    def hidden(claims: list[Claim]) -> bool:
        found = [simpler_rules(one) for one in claims]
        named = {rule: max(range(5), key=lambda k: found[k][rule]) for rule in found[0]}
        first, second = DIFFER[each % 3]  # so that wrong rules are told apart
        wrong = [place != choice for rule, choice in named.items() if rule not in elsewhere]
        return all(wrong) and named[first] != named[second]

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


ABOVE = impossible(
    "rlhf.above_the_frontier",
    five_claims,
    above_the_frontier,
    against="how the claims were made, with the frontier found by bisection",
    rounds=8,
    points=3, difficulty=2, minutes=15,
    mistakes=(
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
        ("the frontier is drawn as a part of a circle from the reference to the best reply. Which curve do the Gibbs policies make?",
         "(reward - best) / (best - start)",
         "(reward - start) / (float(rewards.max()) - start) - math.sqrt(1 - (1 + kl / float(log_reference[rewards.argmax()])) ** 2)"),
        ("five prices are tried, and no policy near the claim's distance is found. How far apart may the prices be?",
         "torch.logspace(-2.5, 2.5, 200).tolist()", "(0.1, 0.3, 1.0, 3.0, 10.0)",
         "(reward - best) / (best - start)", "reward - best"),
        ("the claims are counted from 1. Which number has the first?",
         "return excess.index(max(excess))", "return excess.index(max(excess)) + 1"),
        ("the claim with the smallest distance is named.", "(reward - best) / (best - start)", "-kl"),
    ),
)  # fmt: skip
