"""The layer norm."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib import transformer
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered
from lecture_lib.checks.transformer.parts import whole_numbers


def _layer_norm_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    n = 3 + seed % 2  # tokens; the widths below are larger

    def case(what: str, x: Tensor, *eps: float, **more: object) -> Case:
        gain, bias = 1 + torch.rand(2, x.shape[-1], generator=draw, dtype=x.dtype)
        return Case(what, (x, gain, -bias, *eps), **more)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    corners = torch.tensor([1.0, 2.0, 4.0, 9.0])[torch.randperm(4, generator=draw)]
    by_hand = (corners, torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, 0.0, 1.0, -1.0]))
    far_away = (
        4096 + 4 * whole_numbers(n, 8, draw=draw) + torch.arange(8.0)
    )  # its mean is exact, its squares are not
    return [
        Case("one vector of four whole numbers: by hand", by_hand),
        case(f"x ({n}, 5)", normal(n, 5)),
        case(f"x (2, {n}, 6), a batch", 5 + 3 * normal(2, n, 6)),
        case(f"x (2, 1, {n}, 7), two axes of batch", normal(2, 1, n, 7)),
        case(f"x ({n}, 6), the transpose of a table", normal(6, n).mT),
        case(f"x ({n}, 5), spread 0.3 and eps=0.1", 0.3 * normal(n, 5), 0.1),
        case(f"x ({n}, 5), spread 0.3 and eps=0.2 by name", 0.3 * normal(n, 5), named={"eps": 0.2}),
        case(f"x ({n}, 5), spread 0.002: eps is as large as the variance", 0.002 * normal(n, 5)),
        case(f"x ({n}, 8) with numbers near 4096", far_away),
        case(f"x ({n}, 8), in each vector all numbers the same", whole_numbers(n, 1, draw=draw).expand(n, 8)),
        case(f"x ({n}, 1), vectors of one number", normal(n, 1)),
        case(f"x ({n}, 5) in float64, with its gradients", normal(n, 5).double(), gradient=(0, 1, 2)),
    ]


def _torch_layer_norm(x: Tensor, gain: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x.double(), x.shape[-1:], gain.double(), bias.double(), eps).to(x.dtype)


def _norm(*changes: tuple[str, str]) -> Callable:
    return altered(transformer.layer_norm, *changes)


LAYER_NORM = Exercise(
    name="transformer.layer_norm",
    points=3,
    difficulty=1,
    minutes=15,
    against="torch.nn.functional.layer_norm in float64 (float32 1e-5, float64 1e-9 with gradients)",
    reference=_torch_layer_norm,
    cases=_layer_norm_cases,
    kernels=(
        *(
            "layer_norm",
            "native_layer_norm",
            "group_norm",
            "native_group_norm",
            "rms_norm",
            "_fused_rms_norm",
        ),
        *("batch_norm", "native_batch_norm", "_native_batch_norm_legit", "instance_norm"),
    ),
    owned=("lecture_lib.transformer.rms_norm", "torch._ops.OpOverload"),  # torch.ops.aten... as well
    mistakes=(
        Mistake(
            "mean and variance run over the first axis, the tokens. Should a token's numbers depend on its neighbours?",
            _norm(("x.mean(dim=-1,", "x.mean(dim=0,"), ("square().mean(dim=-1,", "square().mean(dim=0,")),
        ),
        Mistake(
            "one mean and one variance are taken over all numbers at once. Which axis belongs to one token?",
            _norm(("x.mean(dim=-1, keepdim=True)", "x.mean()"), ("mean(dim=-1, keepdim=True)", "mean()")),
        ),
        Mistake(
            "the variance is divided by D - 1, as for a sample. Here it is the mean of the squares: divided by what?",
            _norm(
                (
                    "mean(dim=-1, keepdim=True)\n    return",
                    "sum(dim=-1, keepdim=True) / (x.shape[-1] - 1)\n    return",
                )
            ),
        ),
        Mistake(
            "eps is added to the standard deviation. Is it to be added before or after the root?",
            _norm(("torch.sqrt(variance + eps)", "(torch.sqrt(variance) + eps)")),
        ),
        Mistake(
            "there is no eps. What happens to a vector whose numbers are all the same?",
            _norm(("variance + eps", "variance")),
        ),
        Mistake(
            "the `eps` that was asked for is not used, always 1e-5. Where does the argument go?",
            _norm(("variance + eps", "variance + 1e-5")),
        ),
        Mistake(
            "`eps` has another default than 1e-5. Have a look at the signature: was it changed?",
            _norm(("eps: float = 1e-5", "eps: float = 1e-6")),
        ),
        Mistake(
            "it is divided by the variance. Which power of the spread has the unit of x?",
            _norm(("torch.sqrt(variance + eps)", "(variance + eps)")),
        ),
        Mistake(
            "the mean is not taken away (that is the root-mean-square norm). What should the mean of the result be?",
            _norm(("centred = x - x.mean(dim=-1, keepdim=True)", "centred = x")),
        ),
        Mistake(
            "the mean of x squared is taken for the variance. The squares of what are to be averaged?",
            _norm(("centred.square()", "x.square()")),
        ),
        Mistake(
            "the variance is <x²> - <x>²: two large numbers that are almost equal. In which order is nothing lost?",
            _norm(
                (
                    "centred.square().mean(dim=-1, keepdim=True)",
                    "(x.square().mean(-1, keepdim=True) - x.mean(-1, keepdim=True).square()).clamp_min(0)",
                )
            ),
        ),
        Mistake("the gain is not used. Where does it enter?", _norm(("gain * centred", "centred"))),
        Mistake("the bias is not used. Where does it enter?", _norm((" + bias", ""))),
        Mistake(
            "neither gain nor bias is used: only the first half of the formula. What is learned in a norm?",
            _norm(("gain * centred", "centred"), (" + bias", "")),
        ),
        Mistake(
            "the bias is added before the gain multiplies. Which of the two comes last?",
            _norm(
                ("gain * centred / torch.sqrt(variance + eps) + bias",)
                + ("gain * (centred / torch.sqrt(variance + eps) + bias)",)
            ),
        ),
        Mistake(
            "the numbers are right but mean and variance are taken for constants: the gradient misses how they move"
            " with x. What was detached?",
            _norm(("torch.sqrt(variance + eps)", "torch.sqrt(variance.detach() + eps)")),
        ),
    ),
)
