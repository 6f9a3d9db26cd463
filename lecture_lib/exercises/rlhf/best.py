"""The law of the best of n draws, ties included: against a sum over the draw at which the winner comes."""

import math

import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def best_cases(seed: int) -> list[Case]:
    """By hand, one draw, no ties, ties of unequal replies, all tied, replies that never come, many draws, single precision."""
    draw = Draw(seed)
    R = draw.size(5, 8)

    def law(R: int, dtype: torch.dtype = F64) -> Tensor:
        return draw.normal(R, dtype=F64).softmax(0).to(dtype)

    def tied(R: int) -> Tensor:
        """Levels with one, two and more replies, in any order."""
        levels = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3][:R], dtype=F64)
        return 1.5 * levels[draw.order(R)] - 2

    rare, levels = law(R), tied(R)
    rare[levels == levels[0]] = 0  # a whole level, and one reply of another
    rare[(levels != levels[0]).nonzero()[0]] = 0
    often, worth, near = law(R), tied(R), tied(R)
    often[worth == worth.max()] *= 0.01  # so that 100 draws are not as good as 200
    near[near.argmin()] += 1e-9  # there are two of the lowest level
    hand = torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.0, 1.0, 1.0])
    return [
        Case("three replies, two of them equally good, n = 2: by hand", (*hand, 2)),
        Case(f"{R} replies, n = 1: one draw", (law(R), tied(R), 1)),
        Case(f"{R} replies, no ties, n = 3", (law(R), draw.normal(R, dtype=F64), 3)),
        Case(f"{R} replies with ties, n = 2", (law(R), tied(R), 2)),
        Case(f"{R} replies with ties, n = 5", (law(R), tied(R), 5)),
        Case(f"{R} equally good replies, n = 4", (law(R), torch.full((R,), 0.7, dtype=F64), 4)),
        Case(f"{R} replies with ties, a whole level never comes, n = 3", (rare / rare.sum(), levels, 3)),
        Case(f"{R} replies, two rewards differ by 1e-9, n = 2", (law(R), near, 2)),
        Case(f"{R} replies with ties, the best are rare, n = 200", (often / often.sum(), worth, 200)),
        Case("40 replies in float32, n = 16", (law(40, torch.float32), draw.ids(40, below=9).float(), 16)),
        Case("one reply, n = 3", (torch.ones(1, dtype=F64), torch.zeros(1, dtype=F64), 3)),
    ]


def by_the_winning_draw(probs: Tensor, rewards: Tensor, n: int) -> Tensor:
    """The winner comes at draw j: all before are worse, all after are not better."""
    p, r = probs.tolist(), rewards.tolist()
    found = []
    for value, level in zip(p, r, strict=True):
        worse = math.fsum(q for q, other in zip(p, r, strict=True) if other < level)
        no_better = math.fsum(q for q, other in zip(p, r, strict=True) if other <= level)
        found.append(value * math.fsum(worse**j * no_better ** (n - 1 - j) for j in range(n)))
    return torch.tensor(found, dtype=F64).to(probs.dtype)


def reply_by_reply(probs: Tensor, rewards: Tensor, n: int) -> Tensor:
    """Cumulate in the order of the rewards, as if nothing were tied."""
    order = rewards.argsort(stable=True)
    upto = probs[order].double().cumsum(0)
    before = torch.cat([upto.new_zeros(1), upto[:-1]])
    found = torch.empty_like(upto)
    found[order] = upto**n - before**n
    return found.to(probs.dtype)


def first_in_the_list(probs: Tensor, rewards: Tensor, n: int) -> Tensor:
    """A level's whole probability for its first reply."""
    p, found = probs.double(), torch.zeros_like(probs)
    for level in rewards.unique():
        place = (rewards == level).int().argmax()
        found[place] = (p[rewards <= level].sum() ** n - p[rewards < level].sum() ** n).to(probs.dtype)
    return found


SHARE = "(upto ** n - (upto - mass).clamp(min=0) ** n) / mass.clamp(min=torch.finfo(mass.dtype).tiny)"
RESULT = "(probs * share[which])"

BEST_OF_N = Exercise(
    name="rlhf.best_of_n_distribution",
    points=4, difficulty=3, minutes=30,
    against="a sum over the draw at which the winner comes (float64 1e-9)",
    reference=by_the_winning_draw,
    cases=best_cases,
    mistakes=(
        ("a level that never comes gives NaN. What is 0 / 0?", "mass.clamp(min=torch.finfo(mass.dtype).tiny)", "mass"),
        ("equally good replies are put in an order, and the later one wins. Which of several equally good draws is taken?",
         reply_by_reply),
        ("every reply of a level gets the probability of the whole level: they sum to more than 1. How is it shared?",
         RESULT, "(mass * share)[which]"),
        ("every reply of a level gets the probability of the whole level, and the sum is put right afterwards. How is it shared?",
         RESULT, "((mass * share)[which] / (mass * share)[which].sum())"),
        ("of equally good replies the one that stands first in the list takes all. Is it the list that says which was drawn first?",
         first_in_the_list),
        ("equally good replies get equal shares. How much more often is the likelier one drawn first?",
         RESULT, "(mass * share / which.bincount())[which]"),
        ("rewards that nearly agree are taken for equal. When is one reply better than another?",
         "rewards.unique", "(1000000.0 * rewards).round().unique"),
        ("at most a hundred draws are made. How many are asked for?", "n = whole('n', n, 1)", "n = min(100, whole('n', n, 1))"),
        ("the worst of n is taken.", "rewards.unique", "(-rewards).unique"),
        ("one draw too many is made.", "upto ** n - (upto - mass).clamp(min=0) ** n",
         "upto ** (n + 1) - (upto - mass).clamp(min=0) ** (n + 1)"),
        ("that is the probability that all n draws are at most as good. How often is the best one worse?",
         "(upto ** n - (upto - mass).clamp(min=0) ** n)", "upto ** n"),
        ("that is the density n p F^(n-1), for levels of no weight. What is the difference of two powers?",
         SHARE, "n * upto ** (n - 1)"),
        ("that is n p F_<^(n-1): the others must all be worse, and a tie is lost.",
         SHARE, "n * (upto - mass).clamp(min=0) ** (n - 1)"),
        ("that is the probability that all n draws are the same reply, normalised.",
         RESULT, "(probs ** n / (probs ** n).sum())"),
        ("that is the probability that a reply is among the n draws, normalised. Does the reward play no part?",
         RESULT, "((1 - (1 - probs) ** n) / (1 - (1 - probs) ** n).sum())"),
        ("the numbers stand in the order of the rewards, not of the replies. Which reply is which?",
         RESULT, "(probs * share[which])[rewards.argsort(stable=True)]"),
    ),
)  # fmt: skip
