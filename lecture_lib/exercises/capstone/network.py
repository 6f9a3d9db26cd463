"""The gated network of Llama and its relatives: one map opens and closes what the other one computes."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import BF16, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def gated_feed_forward(X: Tensor, W_gate: Tensor, W_in: Tensor, W_out: Tensor) -> Tensor:
    """Compute something new from each token, a gate for each feature; the mistakes below are changes of these lines."""
    gate = F.silu(X @ W_gate)
    return gate * (X @ W_in) @ W_out


class _Swish(torch.autograd.Function):
    """x / (1 + exp(-x)) and its derivative, both computed by NumPy."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        with np.errstate(over="ignore"):
            return torch.from_numpy(np.asarray(x.numpy() / (1 + np.exp(-x.numpy()))))

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        x = ctx.saved_tensors[0].numpy()
        with np.errstate(over="ignore"):
            open_ = 1 / (1 + np.exp(-x))
        return gradient * torch.from_numpy(np.asarray(open_ + x * open_ * (1 - open_)))


def by_numpy(X: Tensor, W_gate: Tensor, W_in: Tensor, W_out: Tensor) -> Tensor:
    """Sum over the inner features one after the other, in float64."""
    dtype, X, W_gate, W_in, W_out = X.dtype, *(T.double() for T in (X, W_gate, W_in, W_out))
    parts = zip(W_gate.unbind(1), W_in.unbind(1), W_out.unbind(0), strict=True)
    return sum((_Swish.apply(X @ g) * (X @ i))[..., None] * o for g, i, o in parts).to(dtype)


def gated_cases(seed: int) -> list[Case]:
    """One feature by hand, leading axes, wide and narrow insides, large numbers, views, bfloat16, gradients."""
    draw = Draw(seed)
    n, D = draw.sizes(2)
    inside = D + draw.size(2, 4)

    def case(what: str, X: Tensor, d_ff: int = inside, **more: object) -> Case:
        width = X.shape[-1]
        maps = [draw.normal(*shape).to(X.dtype) for shape in ((width, d_ff), (width, d_ff), (d_ff, width))]
        return Case(f"X {tuple(X.shape)}, d_ff={d_ff}, {what}", (X, *maps), **more)

    far = [1 + draw.ids(2, 2, below=3).float() for _ in range(3)]  # whole numbers: added without rounding
    both = until(lambda: draw.whole(n, 2), lambda X: (X @ far[0]).min() < 0 < (X @ far[0]).max())
    one = [torch.tensor([[number]]) for number in (2.0, 1.0, 3.0, 1.0)]
    return [
        Case("one feature: by hand", tuple(one)),
        case("one table of tokens", draw.normal(n, D)),
        case("narrow inside", draw.normal(n, D), d_ff=2),
        case("a batch", draw.normal(2, n, D)),
        case("two axes of batch", draw.normal(2, 1, n, D)),
        case("one token", draw.normal(D)),
        Case(f"X ({n}, 2), d_ff=2, numbers in the hundreds", (100 * both, *far)),
        case("not contiguous", scattered(draw.normal(2, n, D))),
        case("bfloat16", draw.normal(n, D, dtype=BF16)),
        case("float64, with gradients", draw.normal(n, D).double(), gradient=(0, 1, 2, 3)),
    ]


SILU, PRODUCT = "F.silu(X @ W_gate)", "gate * (X @ W_in)"

GATED = Exercise(
    name="capstone.gated_feed_forward",
    points=2, difficulty=1, minutes=10,
    against="a sum over the inner features with NumPy's exponential, in float64 (with gradients)",
    reference=by_numpy,
    right=gated_feed_forward,
    cases=gated_cases,
    mistakes=(
        ("the two inner maps are exchanged. Which of them goes through SiLU?",
         SILU, "F.silu(X @ W_in)", "(X @ W_in) @ W_out", "(X @ W_gate) @ W_out"),
        ("the gate is a sigmoid. SiLU(x) is x times what?", "F.silu", "torch.sigmoid"),
        ("the gate is the exact GELU. Which function does the task name?", "F.silu", "F.gelu"),
        ("the gate is a ReLU. Which function does the task name?", "F.silu", "F.relu"),
        ("the gate has no activation: the product of two linear maps. What should SiLU act on?", SILU, "X @ W_gate"),
        ("SiLU acts on both factors. Which of them is the gate?", "(X @ W_in) @", "F.silu(X @ W_in) @"),
        ("SiLU acts on the product of both maps. On which of them should it act?",
         SILU, "X @ W_gate", f"{PRODUCT}", "F.silu(gate * (X @ W_in))"),
        ("the gate is added. How does one number close or open another?", PRODUCT, "(gate + X @ W_in)"),
        ("there is no gate: a network as in chapter 4 with SiLU. Which map is not used?", SILU, "1", "(X @ W_in)", "F.silu(X @ W_in)"),
        ("only the gate goes on. What does it multiply?", PRODUCT, "gate"),
        ("the result is added to the tokens. Who adds it, this function or the layer?", "@ W_out", "@ W_out + X"),
    ),
)  # fmt: skip
