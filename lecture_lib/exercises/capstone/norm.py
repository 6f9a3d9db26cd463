"""The root-mean-square norm of Llama and its relatives: the layer norm without mean and without bias."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.draws import BF16, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def rms_norm_cases(seed: int) -> list[Case]:
    """By hand, a mean that is not 0, leading axes, eps of every size, zeros, views, bfloat16, gradients."""
    draw = Draw(seed)
    n = draw.size(3, 4)

    def case(what: str, x: Tensor, *eps: float, **more: object) -> Case:
        gain = 1 + torch.rand(x.shape[-1], generator=draw.generator).to(x.dtype)
        return Case(what, (x, gain, *eps), **more)

    corners = torch.tensor([1.0, -1.0, 5.0, 3.0])[draw.order(4)]  # the mean of its squares is 9
    return [
        Case("one vector of four whole numbers: by hand", (corners, torch.tensor([1.0, 2.0, 3.0, 4.0]))),
        case("one vector of three numbers, eps=0.5", torch.tensor([0.0, 1.0, -2.0])[draw.order(3)], 0.5),
        case(f"x ({n}, 5)", draw.normal(n, 5)),
        case(f"x ({n}, 6), all numbers near 7", 7 + 0.3 * draw.normal(n, 6)),
        case(f"x (2, {n}, 6), a batch", 5 + 3 * draw.normal(2, n, 6)),
        case(f"x (2, 1, {n}, 7), two axes of batch", draw.normal(2, 1, n, 7)),
        case(f"x ({n}, 6), the transpose of a table", draw.normal(6, n).mT),
        case(f"x (2, {n}, 6), not contiguous", scattered(draw.normal(2, n, 6))),
        case(f"x ({n}, 5), size 0.3 and eps=0.1", 0.3 * draw.normal(n, 5), 0.1),
        case(f"x ({n}, 5), size 0.3 and eps=0.2 by name", 0.3 * draw.normal(n, 5), named={"eps": 0.2}),
        case(f"x ({n}, 5), size 0.001: eps is as large as the mean square", 0.001 * draw.normal(n, 5)),
        case(f"x ({n}, 4), vectors of zeros", torch.zeros(n, 4)),
        case(f"x ({n}, 1), vectors of one number", draw.normal(n, 1)),
        case(f"x (2, {n}, 6) in bfloat16", draw.normal(2, n, 6, dtype=BF16)),
        case(f"x ({n}, 5) in float64, with its gradients", draw.normal(n, 5).double(), gradient=(0, 1)),
    ]


def torch_rms_norm(x: Tensor, gain: Tensor, eps: float = 1e-6) -> Tensor:
    """Torch's own norm, in float64."""
    return F.rms_norm(x.double(), x.shape[-1:], gain.double(), eps).to(x.dtype)


ROOT = "torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps)"

RMS_NORM = Exercise(
    name="transformer.rms_norm",
    points=2, difficulty=1, minutes=10,
    against="torch.nn.functional.rms_norm in float64 (with gradients)",
    reference=torch_rms_norm,
    cases=rms_norm_cases,
    owned=("torch.nn.functional.rms_norm",),
    mistakes=(
        ("the mean is taken away first (that is the layer norm). Which step does this norm leave out?",
         "gain * x / ", "gain * (x - x.mean(dim=-1, keepdim=True)) / "),
        ("it is divided by the standard deviation, as in the layer norm. The squares of what are averaged here?",
         "x.square().mean(dim=-1, keepdim=True)", "x.var(dim=-1, keepdim=True, correction=0)"),
        ("the squares are summed, not averaged: every vector has length 1. What should its root mean square be?",
         "mean(dim=-1", "sum(dim=-1"),
        ("it is divided by the mean square. Which power of it has the unit of x?", "torch.sqrt", ""),
        ("the mean runs over the tokens. Should a token's numbers depend on its neighbours?",
         "dim=-1, keepdim=True", "dim=0, keepdim=True"),
        ("one mean is taken over all numbers at once. Which axis belongs to one token?",
         "mean(dim=-1, keepdim=True)", "mean()"),
        ("eps is added to the root. Is it to be added before or after it?",
         ROOT, "(torch.sqrt(x.square().mean(dim=-1, keepdim=True)) + eps)"),
        ("there is no eps. What happens to a vector of zeros?", " + eps", ""),
        ("the `eps` that was asked for is not used, always 1e-6. Where does the argument go?", "+ eps", "+ 1e-06"),
        ("`eps` has another default than 1e-6. Have a look at the signature: was it changed?", "eps: float=1e-06", "eps: float=1e-05"),
        ("the gain is not used. Where does it enter?", "gain * ", ""),
        ("the gain is added, not multiplied. What does a gain of 1 change?", "gain * x / ", "gain + x / "),
    ),
)  # fmt: skip
