"""The layer norm, and the feed-forward network: what a token thinks by itself."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.draws import BF16, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def layer_norm_cases(seed: int) -> list[Case]:
    """By hand, leading axes, eps of every size, numbers that are far away or all the same, views, bfloat16, gradients."""
    draw = Draw(seed)
    n = draw.size(3, 4)  # tokens; the widths below are larger

    def case(what: str, x: Tensor, *eps: float, **more: object) -> Case:
        gain, bias = 1 + torch.rand(2, x.shape[-1], generator=draw.generator).to(x.dtype)
        return Case(what, (x, gain, -bias, *eps), **more)

    corners = torch.tensor([1.0, 2.0, 4.0, 9.0])[draw.order(4)]
    by_hand = (corners, torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.0, 0.0, 1.0, -1.0]))
    flat = draw.normal(n, 5).double()
    flat[1] = 2.0
    far_away = 4096 + 4 * draw.whole(n, 8) + torch.arange(8.0)  # its mean is exact, its squares are not
    return [
        Case("one vector of four whole numbers: by hand", by_hand),
        case("one vector of three numbers, eps=0.5", torch.tensor([0.0, 1.0, -1.0])[draw.order(3)], 0.5),
        case(f"x ({n}, 5)", draw.normal(n, 5)),
        case(f"x (2, {n}, 6), a batch", 5 + 3 * draw.normal(2, n, 6)),
        case(f"x (2, 1, {n}, 7), two axes of batch", draw.normal(2, 1, n, 7)),
        case(f"x ({n}, 6), the transpose of a table", draw.normal(6, n).mT),
        case(f"x (2, {n}, 6), not contiguous", scattered(draw.normal(2, n, 6))),
        case(f"x ({n}, 5), spread 0.3 and eps=0.1", 0.3 * draw.normal(n, 5), 0.1),
        case(f"x ({n}, 5), spread 0.3 and eps=0.2 by name", 0.3 * draw.normal(n, 5), named={"eps": 0.2}),
        case(f"x ({n}, 5), spread 0.002: eps is as large as the variance", 0.002 * draw.normal(n, 5)),
        case(f"x ({n}, 8) with numbers near 4096", far_away),
        case(f"x ({n}, 8), in each vector all numbers the same", draw.whole(n, 1).expand(n, 8)),
        case(f"x ({n}, 1), vectors of one number", draw.normal(n, 1)),
        case(f"x (2, {n}, 6) in bfloat16", draw.normal(2, n, 6, dtype=BF16)),
        case(f"x ({n}, 5) in float64, one vector all the same, gradients", flat, gradient=(0, 1, 2)),
    ]


def torch_layer_norm(x: Tensor, gain: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Torch's layer norm, in float64."""
    return F.layer_norm(x.double(), x.shape[-1:], gain.double(), bias.double(), eps).to(x.dtype)


LAYER_NORM = Exercise(
    name="transformer.layer_norm",
    points=3, difficulty=1, minutes=15,
    against="torch.nn.functional.layer_norm in float64 (float32 1e-5, float64 1e-9 with gradients)",
    reference=torch_layer_norm,
    cases=layer_norm_cases,
    kernels=("layer_norm", "group_norm", "batch_norm"),
    owned=("lecture_lib.transformer.rms_norm",),
    mistakes=(
        ("mean and variance run over the first axis, the tokens. Should a token's numbers depend on its "
         "neighbours?",
         "(dim=-1, keepdim=True)\n    variance = centred.square().mean(dim=-1, keepdim=True)",
         "(dim=0, keepdim=True)\n    variance = centred.square().mean(dim=0, keepdim=True)"),
        ("one mean and one variance are taken over all numbers at once. Which axis belongs to one token?",
         "(dim=-1, keepdim=True)\n    variance = centred.square().mean(dim=-1, keepdim=True)",
         "()\n    variance = centred.square().mean()"),
        ("the variance is divided by D - 1, as for a sample. Here it is the mean of the squares: divided by "
         "what?",
         "().mean(dim=-1, keepdim=True)", "().sum(dim=-1, keepdim=True) / (x.shape[-1] - 1)"),
        ("the squares are summed, not averaged. How long should the result be, 1 or √D?",
         "square().mean(", "square().sum("),
        ("mean and variance lose the axis over which they are taken: they line up with the features, not with the "
         "tokens. Which argument keeps the axis?",
         "(dim=-1, keepdim=True)\n    variance = centred.square().mean(dim=-1, keepdim=True)",
         "(dim=-1)\n    variance = centred.square().mean(dim=-1)"),
        ("eps is added to the standard deviation. Is it to be added before or after the root?",
         "torch.sqrt(variance + eps)", "(torch.sqrt(variance) + eps)"),
        ("there is no eps. What happens to a vector whose numbers are all the same?",
         " + eps", ""),
        ("the `eps` that was asked for is not used, always 1e-5. Where does the argument go?",
         "+ eps", "+ 1e-05"),
        ("`eps` has another default than 1e-5. Have a look at the signature: was it changed?",
         "1e-05", "1e-06"),
        ("it is divided by the variance. Which power of the spread has the unit of x?",
         "torch.sqrt", ""),
        ("the mean is not taken away (that is the root-mean-square norm). What should the mean of the result be?",
         " - x.mean(dim=-1, keepdim=True)", ""),
        ("the mean of x squared is taken for the variance. The squares of what are to be averaged?",
         "centred.", "x."),
        ("the variance is <x²> - <x>²: two large numbers that are almost equal. In which order is nothing lost?",
         "centred.square().mean(dim=-1, keepdim=True)",
         "(x.square().mean(-1, keepdim=True) - x.mean(-1, keepdim=True).square()).clamp_min(0)"),
        ("the gain is not used. Where does it enter?",
         "gain * ", ""),
        ("the bias is not used. Where does it enter?",
         " + bias", ""),
        ("neither gain nor bias is used: only the first half of the formula. What is learned in a norm?",
         "gain * centred / torch.sqrt(variance + eps) + bias", "centred / torch.sqrt(variance + eps)"),
        ("the bias is added before the gain multiplies. Which of the two comes last?",
         "centred / torch.sqrt(variance + eps) + bias", "(centred / torch.sqrt(variance + eps) + bias)"),
        ("the numbers are right but mean and variance are taken for constants: the gradient misses how they "
         "move with x. What was detached?",
         "variance +", "variance.detach() +"),
        ("a vector whose numbers are all the same is treated by itself, and passes no gradient back to x. What does "
         "the formula with eps give for it?",
         "gain * centred / torch.sqrt(variance + eps) + bias",
         "torch.where(variance == 0, bias, gain * centred / torch.sqrt(variance + eps) + bias)"),
    ),
)  # fmt: skip


def feed_forward_cases(seed: int) -> list[Case]:
    """By hand, leading axes, zeros, large numbers, views, bfloat16, gradients."""
    draw = Draw(seed)
    n = draw.size(2, 4)

    def case(what: str, X: Tensor, d_ff: int, gradient: tuple[int, ...] = ()) -> Case:
        D = X.shape[-1]
        tables = (draw.normal(D, d_ff), draw.normal(d_ff), draw.normal(d_ff, D), draw.normal(D))
        return Case(f"{what}, d_ff={d_ff}", (X, *(table.to(X.dtype) for table in tables)), gradient=gradient)

    signs = torch.tensor([[1.0, -1.0, 2.0], [0.0, 1.0, -1.0]])[:, draw.order(3)]
    by_hand = (torch.ones(1, 2), signs, torch.tensor([0.0, 0.0, -1.0]))
    by_hand += (1 + draw.whole(3, 2).abs(), torch.tensor([0.0, 10.0]))
    large = (100 * draw.whole(n, 5), draw.whole(5, 7), draw.whole(7), draw.whole(7, 5), draw.whole(5))
    tables = (each for _ in "io" for each in (draw.normal(5, 5).mT, draw.normal(5)))
    transposed = draw.normal(5, n).mT, *tables
    return [
        Case("one token, D=2, d_ff=3: by hand", by_hand),
        case(f"X ({n}, 5)", draw.normal(n, 5), 8),
        case("X (5,), one token", draw.normal(5), 3),
        case(f"X (2, {n}, 5), a batch", draw.normal(2, n, 5), 6),
        case(f"X (2, {n}, 5), not contiguous", scattered(draw.normal(2, n, 5)), 6),
        case(f"X (2, 1, {n}, 6), two axes of batch", draw.normal(2, 1, n, 6), 5),
        case(f"X ({n}, 5), all zero", torch.zeros(n, 5), 7),
        Case(f"X ({n}, 5) with numbers up to 300, d_ff=7", large),
        Case(f"X ({n}, 5), all tables transposed, d_ff=5", transposed),
        case(f"X ({n}, 4) in bfloat16", draw.normal(n, 4, dtype=BF16), 6),
        case(f"X ({n}, 4) in float64, with its gradients", draw.normal(n, 4).double(), 6, gradient=(0, 1, 2, 3, 4)),
    ]  # fmt: skip


def torch_feed_forward(X: Tensor, W_in: Tensor, b_in: Tensor, W_out: Tensor, b_out: Tensor) -> Tensor:
    """Torch's linear maps and GELU, in float64."""
    wide = [each.double() for each in (X, W_in.mT, b_in, W_out.mT, b_out)]
    return F.linear(F.gelu(F.linear(*wide[:3])), *wide[3:]).to(X.dtype)


def feed_forward(X: Tensor, W_in: Tensor, b_in: Tensor, W_out: Tensor, b_out: Tensor) -> Tensor:
    """Think by oneself; the mistakes below are changes of these lines."""
    x = X @ W_in + b_in
    y = x * (1 + torch.erf(x / math.sqrt(2))) / 2
    return y @ W_out + b_out


GELU = "x * (1 + torch.erf(x / math.sqrt(2))) / 2"
OUT = "y @ W_out + b_out"

FEED_FORWARD = Exercise(
    name="transformer.feed_forward",
    points=2, difficulty=1, minutes=10,
    against="torch.nn.functional.linear and gelu in float64 (float32 1e-5, float64 1e-9 with gradients)",
    reference=torch_feed_forward,
    right=feed_forward,
    cases=feed_forward_cases,
    owned=("lecture_lib.transformer.FeedForward",),
    mistakes=(
        ("there is no activation: two linear maps in a row are one. What stands between them?",
         GELU, "x"),
        ("the activation is ReLU. Which one was asked for?",
         GELU, "F.relu(x)"),
        ("the activation is SiLU, x σ(x). Which one was asked for?",
         GELU, "F.silu(x)"),
        ("GELU is approximated by a tanh, as in GPT-2. Here the exact Φ is asked for: which function is it "
         "made of?",
         GELU, "F.gelu(x, approximate='tanh')"),
        ("GELU is approximated by x σ(1.702 x). Here the exact Φ is asked for: which function is it made of?",
         GELU, "x * torch.sigmoid(1.702 * x)"),
        ("Φ(x) stands where x Φ(x) should. What does a large positive x give?",
         "x * (1", "(1"),
        ("Φ(x) is taken as (1 + erf x)/2. The erf is that of a variance of one half: what must x be divided by?",
         "x / math.sqrt(2)", "x"),
        ("x is multiplied by √2 inside erf. The erf is that of a variance of one half: what must x be divided by?",
         "x / math.sqrt(2)", "x * math.sqrt(2)"),
        ("Φ lacks its 1, so that it starts from -1/2. What should Φ of a very negative x be?",
         "(1 + torch.erf(x / math.sqrt(2)))", "torch.erf(x / math.sqrt(2))"),
        ("the bell curve φ(x) itself stands where its integral Φ(x) should. What does a large positive x give?",
         GELU, "x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)"),
        ("a factor 1/2 is missing in Φ. What should Φ of a large x be?",
         "))) / 2", ")))"),
        ("b_in is not used. Where does the first map get its bias?",
         " + b_in", ""),
        ("b_out is not used. Where does the second map get its bias?",
         " + b_out", ""),
        ("b_in is added after the activation. Is it part of the map before it?",
         " + b_in", "", GELU, GELU + " + b_in"),
        ("an activation follows the second map as well. May the output be negative?",
         OUT, f"F.gelu({OUT})"),
        ("the activation follows the second map instead of the first. Which numbers should pass through it?",
         GELU, "x", OUT, f"F.gelu({OUT})"),
        ("X is added to the result. The residual belongs to the layer; what is this function alone?",
         OUT, OUT + " + X"),
    ),
)  # fmt: skip
