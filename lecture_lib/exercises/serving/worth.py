"""What guesses are worth: the chance that each is kept, the tokens of a look, the best number of guesses."""

import math
from itertools import product

import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def worth_guessing(p: Tensor, q: Tensor, cost: float) -> tuple[Tensor, Tensor, int]:
    """One minus the total variation, its running products, and a ratio; the mistakes below are changes of these lines."""
    kept = torch.minimum(p, q).sum(-1)
    tokens = torch.cat([kept.new_ones(1), 1 + kept.cumprod(0).cumsum(0)])
    per_time = tokens / (1 + cost * torch.arange(len(tokens)))
    return kept, tokens, int(per_time.argmax())


def by_enumeration(p: Tensor, q: Tensor, cost: float) -> tuple[Tensor, Tensor, int]:
    """Every text that the draft may guess, every number of guesses that may be kept, in Python's numbers."""
    P, Q, (K, V) = p.tolist(), q.tolist(), p.shape
    keep = [[min(1.0, a / b) if b else 0.0 for a, b in zip(P[i], Q[i], strict=True)] for i in range(K)]
    chances = [math.fsum(Q[i][x] * keep[i][x] for x in range(V)) for i in range(K)]
    tokens = []
    for k in range(K + 1):
        mean = 0.0
        for text in product(range(V), repeat=k):
            guessed = math.prod(Q[i][x] for i, x in enumerate(text))
            sure = 1.0
            for kept, x in enumerate([*text, None]):
                stays = 0.0 if x is None else keep[kept][x]
                mean += guessed * sure * (1 - stays) * (kept + 1)
                sure *= stays
        tokens.append(mean)
    best = max(range(K + 1), key=lambda k: (round(tokens[k] / (1 + cost * k), 12), -k))
    return torch.tensor(chances, dtype=p.dtype), torch.tensor(tokens, dtype=p.dtype), best


def best(kept: Tensor, cost: float) -> tuple[int, float]:
    """The best number of guesses, and how far it is ahead of the next one."""
    gains = [(1 + float(kept[:k].cumprod(0).sum())) / (1 + cost * k) for k in range(len(kept) + 1)]
    first, second = sorted(gains)[:-3:-1]
    return gains.index(first), first - second


def worth_cases(seed: int) -> list[Case]:
    """Laws by hand, equal and disjoint ones, zeros, free and expensive drafts; the best number is never a near thing."""
    draw = Draw(seed)

    def laws(K: int, V: int, heat: float, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
        base = 1.5 * draw.normal(K, V, dtype=F64)
        p, q = base.softmax(-1), (base + heat * draw.normal(K, V, dtype=F64)).softmax(-1)
        return p.to(dtype), q.to(dtype)

    def clear(
        K: int, V: int, heat: float, cost: float, dtype: torch.dtype = F64, sharp: bool = False
    ) -> tuple:
        while True:
            p, q = laws(K, V, heat, dtype)
            kept = torch.minimum(p, q).double().sum(-1)
            k, ahead = best(kept, cost)
            if ahead > 1e-3 and (not sharp or k != best(kept, 1.3 * cost)[0]):
                return p, q, cost

    paper = torch.tensor([[0.5, 0.3, 0.2]], dtype=F64), torch.tensor([[0.2, 0.6, 0.2]], dtype=F64)
    same, _ = laws(3, 4, 1.0)
    apart = torch.tensor([[0.7, 0.3, 0.0, 0.0]] * 2, dtype=F64)
    half = torch.tensor([[0.75, 0.25]] * 3, dtype=F64)
    falling = torch.tensor([[0.9, 0.1], [0.05, 0.95], [0.9, 0.1]], dtype=F64)
    return [
        Case("one guess, three tokens, a draft for a tenth", (*paper, 0.1)),
        Case("one guess, three tokens, a draft for 0.9", (*paper, 0.9)),
        Case("the draft is the model", (same, same.clone(), 0.05)),
        Case("the draft guesses what the model never says", (apart, apart.flip(-1), 0.2)),
        Case("the second of three guesses is bad", (falling, falling[[0, 0, 0]], 0.15)),
        Case("three guesses kept half of the time", (half, half.flip(-1), 0.1)),
        Case("the draft is for nothing", clear(4, 3, 0.7, 0.0)),
        Case("four guesses", clear(4, 3, 0.6, 0.1, sharp=True)),
        Case("four guesses, another draft", clear(4, 3, 1.2, 0.04)),
        Case("five guesses of two tokens, cheap", clear(5, 2, 0.5, 0.02)),
        Case("an expensive draft", clear(3, 4, 1.5, 0.8)),
        Case("single precision", clear(4, 3, 0.8, 0.06, torch.float32)),
    ]


WORTH = Exercise(
    name="serving.worth_guessing",
    points=3, difficulty=2, minutes=15,
    against="an enumeration of all guesses and of how many of them are kept",
    reference=by_enumeration,
    right=worth_guessing,
    cases=worth_cases,
    mistakes=(
        ("|p - q| is summed without the factor 1/2. What is the total variation of two laws that never agree?",
         "torch.minimum(p, q).sum(-1)", "1 - (p - q).abs().sum(-1)"),
        ("that is the chance that a guess is refused. What is left of 1?",
         "torch.minimum(p, q).sum(-1)", "(p - q).abs().sum(-1) / 2"),
        ("the ratios min(1, p / q) are averaged as if the draft guessed all tokens equally often. How often does it guess each?",
         "torch.minimum(p, q).sum(-1)", "(p / q).clamp(max=1).nan_to_num(1).mean(-1)"),
        ("the chance is the one that two draws, from p and from q, agree. Is a second token drawn?",
         "torch.minimum(p, q).sum(-1)", "(p * q).sum(-1)"),
        ("the chance is that of the model's likeliest token. Which guesses may be kept?",
         "torch.minimum(p, q).sum(-1)", "q.gather(-1, p.argmax(-1, keepdim=True))[..., 0]"),
        ("the overlap of the laws is taken with square roots. Which of p and q limits how often a token is guessed and kept?",
         "torch.minimum(p, q).sum(-1)", "(p * q).sqrt().sum(-1)"),
        ("the smallest ratio p / q counts. Over which law is the chance an average?",
         "torch.minimum(p, q).sum(-1)", "(p / q).clamp(max=1).nan_to_num(1).min(-1).values"),
        ("the token that a look always gives is forgotten. What comes out if every guess is refused?",
         "torch.cat([kept.new_ones(1), 1 + kept.cumprod(0).cumsum(0)])", "torch.cat([kept.new_zeros(1), kept.cumprod(0).cumsum(0)])"),
        ("a guess counts although one before it was refused. When is guess 2 of any use?",
         "kept.cumprod(0).cumsum(0)", "kept.cumsum(0)"),
        ("one mean chance stands for all places. What does a bad second guess do to the third?",
         "kept.cumprod(0).cumsum(0)", "torch.full_like(kept, float(kept.mean())).cumprod(0).cumsum(0)"),
        ("only looks whose guesses are all kept count. What do the others give?",
         "1 + kept.cumprod(0).cumsum(0)", "1 + kept.cumprod(0) * torch.arange(1, len(kept) + 1)"),
        ("the time of the draft is left out. Which number of guesses gives most tokens for the time?",
         "tokens / (1 + cost * torch.arange(len(tokens)))", "tokens"),
        ("the draft's time counts once for all guesses. How often does it run?",
         "cost * torch.arange(len(tokens))", "cost * (torch.arange(len(tokens)) > 0)"),
        ("the model's own look takes no time. What does a round cost at least?",
         "(1 + cost * torch.arange(len(tokens)))", "(1e-09 + cost * torch.arange(len(tokens)))"),
        ("guesses are added as long as one more brings more tokens than it costs looks. What does a look bring in that time?",
         "int(per_time.argmax())", "int((tokens.diff() > cost).sum())"),
        ("no guess at all is not among the choices. What if the draft is bad?",
         "int(per_time.argmax())", "int(per_time[1:].argmax()) + 1"),
    ),
)  # fmt: skip
