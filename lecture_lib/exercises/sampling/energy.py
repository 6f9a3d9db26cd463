"""Temperature: the heat capacity of a token's Boltzmann distribution, against derivatives of its free energy."""

import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def heat_capacity_cases(seed: int) -> list[Case]:
    """By hand, T on both sides of 1, a batch, tokens ruled out (also hot), logits that are far from zero, very cold, float64."""
    draw = Draw(seed)
    a, b, V = draw.sizes(3)
    V += 3

    def cut(size: float) -> Tensor:
        """Two tokens are ruled out in each row, not the same two in every row."""
        gone = torch.stack([draw.order(V) < 2 for _ in range(a)])
        gone[1] = gone[0].roll(1)
        return (size * draw.normal(a, V)).masked_fill(gone, -torch.inf)

    far_away = 4096 + draw.whole(a, V) + torch.arange(V)  # exact numbers, whose squares are not
    two = torch.tensor([1.0, 0.0])[draw.order(2)]
    return [
        Case("two levels, T = 1: by hand", (two, 1.0)),
        Case("two levels, T = 0.5: by hand", (two, 0.5)),
        Case(f"logits ({V},), T = 0.7", (2 * draw.normal(V), 0.7)),
        Case(f"logits ({V},), T = 3", (4 * draw.normal(V), 3.0)),
        Case(f"logits ({a}, {V}), T = 2: a batch", (3 * draw.normal(a, V), 2.0)),
        Case(f"logits ({a}, {b}, {V}), T = 0.5: two axes of batch", (draw.normal(a, b, V), 0.5)),
        Case(f"logits ({a}, {V}), two tokens ruled out, T = 1.5", (cut(2.0), 1.5)),
        Case(f"logits ({a}, {V}) of about 5000, two tokens ruled out, T = 4000: hot", (cut(5000.0), 4000.0)),
        Case(f"logits ({a}, {V}) near 4096, T = 2", (far_away, 2.0)),
        Case(f"logits ({V},), T = 0.01: cold", (draw.order(V).float(), 0.01)),
        Case(f"logits ({a}, {V}) in float64, T = 1.3", (2 * draw.normal(a, V, dtype=F64), 1.3)),
    ]


def from_free_energy(logits: Tensor, temperature: float) -> Tensor:
    """C = -T d²F/dT² with F = -T ln Z, by torch's derivatives in float64, distribution by distribution."""
    found = []
    for row in logits.double().reshape(-1, logits.shape[-1]):
        levels = row[row > -torch.inf]
        T = torch.tensor(float(temperature), dtype=F64, requires_grad=True)
        F = -T * torch.logsumexp((levels - levels.max()) / T, 0)
        entropy = -torch.autograd.grad(F, T, create_graph=True)[0]
        found.append(T.detach() * torch.autograd.grad(entropy, T)[0])
    return torch.stack(found).reshape(logits.shape[:-1]).to(logits.dtype)


HEAT_CAPACITY = Exercise(
    name="sampling.heat_capacity",
    points=3, difficulty=1, minutes=15,
    against="derivatives of the free energy -T ln Z in float64 (float32 1e-5, float64 1e-9)",
    reference=from_free_energy,
    cases=heat_capacity_cases,
    mistakes=(
        ("the variance is divided by T, not by T². Which power has the unit of an energy squared?",
         ".square()).sum(-1)", ".square()).sum(-1) * temperature"),
        ("the variance is not divided by T². What is the unit of a heat capacity?",
         ".square()).sum(-1)", ".square()).sum(-1) * temperature ** 2"),
        ("it is divided by T² twice. Have the logits been divided by T already?",
         ".square()).sum(-1)", ".square()).sum(-1) / temperature ** 2"),
        ("the root is missing or one too many: that is a standard deviation. Is it the square that is averaged?",
         "return (probs * (scaled - mean).square()).sum(-1)", "return (probs * (scaled - mean).square()).sum(-1).sqrt()"),
        ("the probabilities are those of T = 1. At which temperature is the variance taken?",
         "probs = scaled.softmax(-1)", "probs = logits.softmax(-1)"),
        ("the logits are multiplied by T. Does a high temperature sharpen or flatten?",
         "probs = scaled.softmax(-1)", "probs = (logits * temperature).softmax(-1)"),
        ("all tokens count alike in the mean and in the variance. Which weights has a mean energy?",
         "probs = scaled.softmax(-1)", "probs = (scaled > -torch.inf) / (scaled > -torch.inf).sum(-1, keepdim=True)"),
        ("that is the variance of a list of V numbers, in which all tokens count alike. Which weights has a mean energy?",
         "return (probs * (scaled - mean).square()).sum(-1)", "return logits.var(-1) / temperature ** 2"),
        ("the mean is one that counts all tokens alike. From which mean does a variance take its deviations?",
         "mean = (probs * scaled).sum(-1, keepdim=True)", "mean = scaled.mean(-1, keepdim=True)"),
        ("the mean square is taken, not the mean squared deviation. What does a constant added to all logits do to it?",
         " - mean", ""),
        ("the variance is <z²> - <z>²: two large numbers that are almost equal. In which order is nothing lost?",
         "(probs * (scaled - mean).square()).sum(-1)",
         "(probs * scaled.square()).sum(-1) - (probs * scaled).sum(-1).square()"),
        ("a token that is ruled out gives NaN: its probability 0 times -inf. How can it be left out?",
         "scaled = scaled.masked_fill(probs == 0, 0)", "pass"),
        ("a token that is ruled out made the sum NaN, and 0 was put in its place. Which term of the sum should be 0?",
         "scaled = scaled.masked_fill(probs == 0, 0)", "pass",
         "return (probs * (scaled - mean).square()).sum(-1)", "return (probs * (scaled - mean).square()).sum(-1).nan_to_num(0)"),
        ("the distributions of a batch are taken for one. Over which axis does a distribution run?",
         ".softmax(-1)", ".flatten().softmax(0).reshape(scaled.shape)",
         "(probs * scaled).sum(-1, keepdim=True)", "(probs * scaled).sum()"),
        ("the variance of the probabilities is taken. Which quantity is minus the energy?",
         "return (probs * (scaled - mean).square()).sum(-1)", "return probs.var(-1)"),
        ("-dE/dT is given. Does a warmer system have more energy or less?",
         "return (", "return -("),
    ),
)  # fmt: skip
