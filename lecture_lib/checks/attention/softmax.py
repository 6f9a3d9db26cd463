"""Softmax along any axis."""

import torch
from torch import Tensor

from lecture_lib import attention
from lecture_lib.checks.attention.draws import F64, normal, sizes
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def _softmax_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    a, b, c, d = sizes(draw, 4)
    heights = torch.tensor([1000.0, -1000.0], dtype=F64).repeat(a)[:a, None] + normal(draw, a, b, dtype=F64)
    shut = normal(draw, a, b, c)
    shut[0, 0, 0], shut[1, :, 1] = -torch.inf, -torch.inf
    cut = normal(draw, b, c, dtype=F64)
    cut[0, 0] = -torch.inf
    cut[1] -= 17  # weights near 1e-8, which are small but not nothing
    return [
        Case("x (3,), no dim given", (normal(draw, 3),)),
        Case(f"x ({a}, {b}, {c}), no dim given", (normal(draw, a, b, c),)),
        Case(f"x ({a}, {b}), dim=-1", (normal(draw, a, b), -1)),
        Case(f"x ({a}, {b}), dim=0", (normal(draw, a, b),), {"dim": 0}),
        Case(f"x ({a}, {b}, {c}), dim=1", (normal(draw, a, b, c), 1)),
        Case(f"x ({a}, {b}, {c}, {d}), dim=-3", (normal(draw, a, b, c, d), -3)),
        Case(f"x ({a}, {b}), float64, rows near +1000 and near -1000", (heights,)),
        Case(
            f"x ({b}, {c}), float64, dim=0, scores spread over 1000",
            (1000 * normal(draw, b, c, dtype=F64), 0),
        ),
        Case(f"x ({a}, {b}, {c}), dim=1, one score -inf and one whole slice -inf", (shut, 1)),
        Case(f"x ({b}, 1), dim=-1: a single key", (normal(draw, b, 1), -1)),
        Case(f"x ({a}, {c}), dim=1, a transposed view", (normal(draw, c, a).mT, 1)),
        Case(f"x ({b}, {c}) in float64, dim=0, with its gradient", (cut, 0), gradient=(0,)),
    ]


def _torch_softmax(x: Tensor, dim: int = -1) -> Tensor:
    nowhere = (x == -torch.inf).all(dim, keepdim=True)
    return torch.softmax(x.masked_fill(nowhere, 0), dim).masked_fill(nowhere, 0)


LARGEST, POWERS, SUM = (
    "x.detach().amax(dim, keepdim=True)",
    "torch.exp(x - largest)",
    "powers.sum(dim, keepdim=True)",
)
GUARD, AT_LEAST_ONE = "largest.masked_fill(largest == -torch.inf, 0)", ".clamp_min(1)"

SOFTMAX = Exercise(
    name="attention.softmax",
    points=3,
    difficulty=1,
    minutes=15,
    against="torch.softmax (float32 1e-5, float64 1e-9 with gradients)",
    reference=_torch_softmax,
    cases=_softmax_cases,
    kernels=(
        "softmax",
        "_softmax",
        "_safe_softmax",
        "_masked_softmax",
        "special_softmax",
        "log_softmax",
        "softmin",
    ),
    mistakes=(
        Mistake(
            "the weights sum to one along the last axis, whatever `dim` says. Which axis was asked for?",
            altered(
                attention.softmax,
                (LARGEST, "x.detach().amax(-1, keepdim=True)"),
                (SUM, "powers.sum(-1, keepdim=True)"),
            ),
        ),
        Mistake(
            "the weights sum to one along the first axis, whatever `dim` says. Which axis was asked for?",
            altered(
                attention.softmax,
                (LARGEST, "x.detach().amax(0, keepdim=True)"),
                (SUM, "powers.sum(0, keepdim=True)"),
            ),
        ),
        Mistake(
            "all weights of the tensor together sum to one. Over which axis should the sum run?",
            altered(attention.softmax, (LARGEST, "x.detach().amax()"), (SUM, "powers.sum()")),
        ),
        Mistake(
            "scores go into the exponential as they are, and e^1000 overflows. Which number can be subtracted "
            "from all scores of a slice without changing its weights?",
            altered(attention.softmax, (POWERS, "torch.exp(x)"), (AT_LEAST_ONE, "")),
        ),
        Mistake(
            "the largest score of the whole tensor is subtracted: a slice far below it vanishes, 0/0. "
            "Whose largest score does each slice need?",
            altered(attention.softmax, (LARGEST, "x.detach().amax()"), (AT_LEAST_ONE, "")),
        ),
        Mistake(
            "a slice that is -inf throughout gives NaN. What is -inf minus -inf, and what should be subtracted there?",
            altered(attention.softmax, (GUARD, "largest"), (AT_LEAST_ONE, "")),
        ),
        Mistake(
            "a slice that is -inf throughout gives equal weights, as if all were allowed. "
            "How much weight may a query that looks nowhere give away?",
            altered(
                attention.softmax,
                (POWERS, "torch.exp(x.clamp_min(-1e9) - largest.clamp_min(-1e9))"),
                (GUARD, "largest"),
            ),
        ),
        Mistake(
            "the powers are divided by their mean. What should the weights of a slice sum to?",
            altered(attention.softmax, (SUM, "powers.mean(dim, keepdim=True)"), (AT_LEAST_ONE, "")),
        ),
        Mistake(
            "the sign of the scores is turned round: the largest score gets the smallest weight.",
            altered(attention.softmax, ("x.detach()", "(-x).detach()"), (POWERS, "torch.exp(-x - largest)")),
        ),
        Mistake(
            "powers of 2 are taken instead of powers of e. Which base does the formula have?",
            altered(attention.softmax, (POWERS, "torch.exp2(x - largest)")),
        ),
        Mistake(
            "the summed axis is dropped, so the division lines up the wrong axes. How can a sum keep its axis?",
            altered(attention.softmax, (SUM, "powers.sum(dim)")),
        ),
        Mistake(
            "logarithms of the weights are returned. Are your weights positive?",
            altered(
                attention.softmax,
                ("return powers", "return torch.log(powers"),
                (AT_LEAST_ONE, ".clamp_min(1))"),
            ),
        ),
        Mistake(
            "a small number is added to the sum, so the weights sum to less than one. "
            "How small can the sum get once the largest power is 1?",
            altered(attention.softmax, (SUM, "(powers.sum(dim, keepdim=True) + 1e-6)")),
        ),
    ),
)
