"""Generalized advantages, with a bug: against the sum over all later surprises."""

import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug


def credit_cases(seed: int) -> list[Case]:
    """One token and many, a reward at the end alone, both limits of λ, discounts, a single text, gradients."""
    draw = Draw(seed)
    B, N = draw.sizes(2)
    N += 3

    def texts(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        return draw.normal(*shape, dtype=dtype), draw.normal(*shape, dtype=dtype)

    last = torch.zeros(B, N)
    last[:, -1] = draw.normal(B)
    known = torch.full((B, N), 2.0), torch.full((B, N), 2.0)
    known[0][:, :-1] = 0
    a, b = texts(B, N)
    return [
        Case("two tokens, λ = 0.5: by hand", (torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5]), 1.0, 0.5)),
        Case("a reward of 2 at the end that was expected all along, λ = 0.5", (*known, 1.0, 0.5)),
        Case(f"({B}, {N}), the usual γ and λ", (a, b)),
        Case(f"({B}, {N}), a reward at the end alone", (last, b, 1.0, 0.9)),
        Case(f"({B}, {N}), λ = 1: returns less values", (a, b, 1.0, 1.0)),
        Case(f"({B}, {N}), λ = 0: surprises of one step", (a, b, 0.9, 0.0)),
        Case(f"({B}, {N}), γ = 0.8, λ = 0.6", (a, b, 0.8, 0.6)),
        Case(f"({B}, {N}), γ = 0: nothing later counts", (a, b, 0.0, 0.7)),
        Case(f"({B}, 1): one token", texts(B, 1)),
        Case(f"({N},): one text", (*texts(N), 0.9, 0.8)),
        Case(f"({B}, {N}), not contiguous", (scattered(a), scattered(b), 0.95, 0.5)),
        Case(f"({B}, {N}), float64 with gradients", (*texts(B, N, dtype=F64), 0.9, 0.7), gradient=(0, 1)),
    ]


def all_later_surprises(rewards: Tensor, values: Tensor, gamma: float = 1.0, lam: float = 0.95) -> Tensor:
    """A matrix of powers of γλ times the surprises."""
    N = rewards.shape[-1]
    after = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], -1)
    surprises = rewards + gamma * after - values
    powers = torch.tensor(
        [[(gamma * lam) ** (k - n) if k >= n else 0.0 for n in range(N)] for k in range(N)],
        dtype=rewards.dtype,
    )
    return surprises @ powers


SURPRISE = "surprise = rewards[..., n] + gamma * expected - values[..., n]"
CREDIT = "following = surprise + gamma * lam * following"

GAE = Exercise(
    name="rlhf.gae",
    points=2, difficulty=2, minutes=15,
    against="a matrix of powers of γλ times the surprises of single steps",
    reference=all_later_surprises,
    cases=credit_cases,
    mistakes=(
        ("λ shrinks the expected value, too. What is the surprise of a step in which exactly the expected happens?",
         "gamma * expected", "gamma * lam * expected"),
        ("λ is left out of the recursion: these are returns less values, whatever λ is.", CREDIT,
         "following = surprise + gamma * following"),
        ("λ was taken out of the wrong line: it is still in the surprise, and no longer in the recursion. In which formula does it stand?",
         "gamma * expected", "gamma * lam * expected", CREDIT, "following = surprise + gamma * following"),
        ("λ stands where γ should. By what is the next value discounted?", "gamma * expected", "lam * expected"),
        ("γ is left out of the recursion. By what is a surprise of the next step discounted?", CREDIT,
         "following = surprise + lam * following"),
        ("nothing of later surprises arrives. What does A at n know of A at n + 1?", CREDIT, "following = surprise"),
        ("the expected value behind a token is left out. What does one still hope for after it?", SURPRISE,
         "surprise = rewards[..., n] - values[..., n]"),
        ("γ is left out of the surprise. By what is the next value discounted?", SURPRISE,
         "surprise = rewards[..., n] + expected - values[..., n]"),
        ("the value of the token itself is not taken off. Better than what is an advantage?", SURPRISE,
         "surprise = rewards[..., n] + gamma * expected"),
        ("the recursion runs from the first token to the last. Who knows what comes later?",
         "reversed(range(rewards.shape[-1]))", "range(rewards.shape[-1])"),
        ("behind the last token its own value is expected again. What comes after the end?",
         "following = expected = torch.zeros_like(rewards[..., 0])",
         "following, expected = (torch.zeros_like(rewards[..., 0]), values[..., -1])"),
        ("the sum of advantage and value is given: that is the return. What is asked for?",
         "return advantages", "return advantages + values"),
    ),
)  # fmt: skip
# Symptom: a reward of 2 that was expected all along should surprise nobody; yet all advantages but the last are negative.
MENDED = find_the_bug(
    GAE,
    "rlhf.mended_advantages",
    "λ shrinks the expected value",
    points=2,
    difficulty=2,
    minutes=15,
    imports="import torch\n\nfrom lecture_lib.fields import chance\nfrom lecture_lib.rlhf.rewards import same_shape",
)
