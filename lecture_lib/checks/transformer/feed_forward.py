"""The feed-forward network: what a token thinks by itself."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake
from lecture_lib.checks.transformer.parts import whole_numbers


def _feed_forward_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    n = 2 + seed % 3

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    def whole(*shape: int) -> Tensor:
        return whole_numbers(*shape, draw=draw)

    def case(what: str, X: Tensor, d_ff: int, gradient: tuple[int, ...] = ()) -> Case:
        D = X.shape[-1]
        tables = (normal(D, d_ff), normal(d_ff), normal(d_ff, D), normal(D))
        return Case(f"{what}, d_ff={d_ff}", (X, *(table.to(X.dtype) for table in tables)), gradient=gradient)

    signs = torch.tensor([[1.0, -1.0, 2.0], [0.0, 1.0, -1.0]])[:, torch.randperm(3, generator=draw)]
    by_hand = (torch.ones(1, 2), signs, -torch.eye(3)[2], 1 + whole(3, 2).abs(), torch.tensor([0.0, 10.0]))
    large = (100 * whole(n, 5), whole(5, 7), whole(7), whole(7, 5), whole(5))
    transposed = (normal(5, n).mT, normal(5, 5).mT, normal(5), normal(5, 5).mT, normal(5))
    return [
        Case("one token, D=2, d_ff=3: by hand", by_hand),
        case(f"X ({n}, 5)", normal(n, 5), 8),
        case("X (5,), one token", normal(5), 3),
        case(f"X (2, {n}, 5), a batch", normal(2, n, 5), 6),
        case(f"X (2, 1, {n}, 6), two axes of batch", normal(2, 1, n, 6), 5),
        case(f"X ({n}, 5), all zero", torch.zeros(n, 5), 7),
        Case(f"X ({n}, 5) with numbers up to 300, d_ff=7", large),
        Case(f"X ({n}, 5), all tables transposed, d_ff=5", transposed),
        case(
            f"X ({n}, 4) in float64, with its gradients", normal(n, 4).double(), 6, gradient=(0, 1, 2, 3, 4)
        ),
    ]


def _torch_feed_forward(X: Tensor, W_in: Tensor, b_in: Tensor, W_out: Tensor, b_out: Tensor) -> Tensor:
    wide = [each.double() for each in (X, W_in.mT, b_in, W_out.mT, b_out)]
    return F.linear(F.gelu(F.linear(*wide[:3])), *wide[3:]).to(X.dtype)


def _network(inside: Callable, after: Callable = lambda Y: Y) -> Callable:
    return lambda X, W_in, b_in, W_out, b_out: after(inside(X @ W_in + b_in) @ W_out + b_out)


FEED_FORWARD = Exercise(
    name="transformer.feed_forward",
    points=2,
    difficulty=1,
    minutes=10,
    against="torch.nn.functional.linear and gelu in float64 (float32 1e-5, float64 1e-9 with gradients)",
    reference=_torch_feed_forward,
    cases=_feed_forward_cases,
    owned=("lecture_lib.transformer.FeedForward",),
    mistakes=(
        Mistake(
            "there is no activation: two linear maps in a row are one. What stands between them?",
            _network(lambda x: x),
        ),
        Mistake("the activation is ReLU. Which one was asked for?", _network(F.relu)),
        Mistake("the activation is SiLU, x σ(x). Which one was asked for?", _network(F.silu)),
        Mistake(
            "GELU is approximated by a tanh, as in GPT-2. Here the exact Φ is asked for: which function is it made of?",
            _network(lambda x: F.gelu(x, approximate="tanh")),
        ),
        Mistake(
            "GELU is approximated by x σ(1.702 x). Here the exact Φ is asked for: which function is it made of?",
            _network(lambda x: x * torch.sigmoid(1.702 * x)),
        ),
        Mistake(
            "Φ(x) stands where x Φ(x) should. What does a large positive x give?",
            _network(lambda x: (1 + torch.erf(x / 2**0.5)) / 2),
        ),
        Mistake(
            "Φ(x) is taken as (1 + erf x)/2. The erf is that of a variance of one half: what must x be divided by?",
            _network(lambda x: x * (1 + torch.erf(x)) / 2),
        ),
        Mistake(
            "a factor 1/2 is missing in Φ. What should Φ of a large x be?",
            _network(lambda x: x * (1 + torch.erf(x / 2**0.5))),
        ),
        Mistake(
            "b_in is not used. Where does the first map get its bias?",
            lambda X, W_in, b_in, W_out, b_out: F.gelu(X @ W_in) @ W_out + b_out,
        ),
        Mistake(
            "b_out is not used. Where does the second map get its bias?",
            lambda X, W_in, b_in, W_out, b_out: F.gelu(X @ W_in + b_in) @ W_out,
        ),
        Mistake(
            "b_in is added after the activation. Is it part of the map before it?",
            lambda X, W_in, b_in, W_out, b_out: (F.gelu(X @ W_in) + b_in) @ W_out + b_out,
        ),
        Mistake(
            "an activation follows the second map as well. May the output be negative?",
            _network(F.gelu, F.gelu),
        ),
        Mistake(
            "the activation follows the second map instead of the first. Which numbers should pass through it?",
            _network(lambda x: x, F.gelu),
        ),
        Mistake(
            "X is added to the result. The residual belongs to the layer; what is this function alone?",
            lambda X, W_in, b_in, W_out, b_out: X + F.gelu(X @ W_in + b_in) @ W_out + b_out,
        ),
    ),
)
