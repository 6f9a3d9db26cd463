"""The LoRA layer as a class: the frozen layer, an update that starts at zero, and the plain layer that it becomes."""

import torch
from torch import Tensor, nn

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


class LowRank(nn.Module):
    r"""A frozen linear layer and its update: $Y = X W_0 + b + \frac{\alpha}{r} X A B$.

    `A` (D_in, r) and `B` (r, D_out) are the trained parameters, with the dtype of the base; `base` is the frozen layer.
    """

    def __init__(self, base: nn.Linear, r: int, lora_alpha: float, generator: torch.Generator | None = None):
        """Freeze the base; draw A from a normal distribution of variance 1 / D_in with the generator, and set B to zero."""
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scaling = lora_alpha / r
        kind = {"dtype": base.weight.dtype}
        A = torch.randn(base.in_features, r, generator=generator, **kind) / base.in_features**0.5
        self.A = nn.Parameter(A)
        self.B = nn.Parameter(torch.zeros(r, base.out_features, **kind))

    def forward(self, X: Tensor) -> Tensor:
        """Give (..., D_out) outputs for (..., D_in) inputs."""
        return self.base(X) + self.scaling * (X @ self.A @ self.B)

    def merged(self) -> nn.Linear:
        """Give a new plain layer, with the update in its weight; this layer and its base stay as they are."""
        plain = nn.Linear(self.base.in_features, self.base.out_features, self.base.bias is not None)
        plain = plain.to(self.base.weight.dtype)
        with torch.no_grad():
            plain.weight.copy_(self.base.weight + self.scaling * (self.A @ self.B).T)
            if self.base.bias is not None:
                plain.bias.copy_(self.base.bias)
        return plain


class ByEntries(nn.Module):
    """The same by sums over single directions, in float64."""

    def __init__(self, base: nn.Linear, r: int, lora_alpha: float, generator: torch.Generator | None = None):
        super().__init__()
        self.base, self.factor = base, lora_alpha / r
        for parameter in base.parameters():
            parameter.requires_grad = False
        size, like = (base.in_features, r), {"dtype": base.weight.dtype}
        self.A = nn.Parameter(torch.normal(0, size[0] ** -0.5, size, generator=generator, **like))
        self.B = nn.Parameter(torch.zeros(r, base.out_features, **like))

    def forward(self, X: Tensor) -> Tensor:
        """Add one direction of the update after the other."""
        Y = self.base(X).double()
        for a, b in zip(self.A.double().T, self.B.double(), strict=True):
            Y = Y + self.factor * (X.double() * a).sum(-1, keepdim=True) * b
        return Y.to(X.dtype)

    def merged(self) -> nn.Linear:
        """Read the weight off the outputs for unit vectors."""
        (d_in, d_out), like = (len(self.A), self.B.shape[1]), {"dtype": self.base.weight.dtype}
        eye, plain = torch.eye(d_in, **like), nn.Linear(d_in, d_out, self.base.bias is not None, **like)
        zero = self.forward(0 * eye[:1])
        plain.weight.data = (self.forward(eye) - zero).detach().T.contiguous()
        if self.base.bias is not None:
            plain.bias.data = self.base.bias.data.clone()
        return plain


def start(answer: object, seed: int) -> dict:
    """How A of a wide layer was drawn. 20,000 numbers tell its size to half a percent; a uniform A ends at 1.73 of its size."""
    A = answer(nn.Linear(400, 100), 50, 1.0, torch.Generator().manual_seed(seed)).A.detach().double()
    size = A.square().mean().sqrt().clamp_min(1e-9)
    return {
        "A's standard deviation times the root of D_in": round(20 * size.item(), 1),
        "A is drawn from a normal distribution": bool((A.abs() > 2 * size).any()),
    }


def shared(one: nn.Module, other: nn.Module) -> bool:
    """Whether a parameter of one layer lies where one of the other does."""
    return not {p.data_ptr() for p in one.parameters()}.isdisjoint(p.data_ptr() for p in other.parameters())


def handled(answer: object, d: tuple, seed: int, bias: bool, X: Tensor, A: Tensor, B: Tensor) -> dict:
    """Make a layer, look at its start, give it other matrices, and merge it."""
    (d_in, d_out, r, lora_alpha), draw = d, torch.Generator().manual_seed(seed)
    base = nn.Linear(d_in, d_out, bias)
    for parameter in base.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw)
    base.to(X.dtype)
    first = base.weight.detach().clone()
    layer, again = (answer(base, r, lora_alpha, torch.Generator().manual_seed(seed)) for _ in range(2))
    other = answer(base, r, lora_alpha, torch.Generator().manual_seed(seed + 1))
    found = {
        "trained": sorted(name for name, p in layer.named_parameters() if p.requires_grad),
        "B at first": layer.B.detach().clone(),
        "A is 0 nowhere": bool((layer.A != 0).all()),
        "the generator decides A": torch.equal(layer.A, again.A) and not torch.equal(layer.A, other.A),
        "`base` is the layer that was given": layer.base is base,
        "outputs at first": layer(X).detach(),
    } | start(answer, seed)
    with torch.no_grad():
        layer.A.copy_(A)
        layer.B.copy_(B)
    Y = layer(X)
    Y.square().sum().backward()
    plain = layer.merged()
    found |= {
        "outputs": Y.detach(),
        "gradient of A": layer.A.grad.clone(),
        "gradient of B": layer.B.grad.clone(),
        "merged is a plain layer": type(plain) is nn.Linear and plain is not base,
        "merged weight": plain.weight.detach().clone(),
        "merged outputs": plain(X).detach(),
        "the plain layer shares numbers with the base": shared(plain, base),
        "base changed": not torch.equal(base.weight, first),
        "outputs after merging": layer(X).detach(),
    }
    return found


def layer_cases(seed: int) -> list[Case]:
    """By hand; batches; no bias; ranks 1 and full; large strengths; float64."""
    draw = Draw(seed)

    def case(what: str, r: int, alpha: float, batch: tuple, bias: bool = True, exact: bool = False) -> Case:
        d_in, d_out = draw.random.sample(range(5, 9), 2)
        shapes, dtype = ((*batch, d_in), (d_in, r), (r, d_out)), F64 if exact else torch.float32
        X, A, B = (draw.normal(*shape, dtype=dtype) for shape in shapes)
        return Case(what, ((d_in, d_out, r, alpha), draw.size(0, 10**6), bias, X, A, B))

    return [
        case("rank 1, strength 1, one token", 1, 1.0, (1,)),
        case("rank 2, strength 6, a batch", 2, 6.0, (2, 3)),
        case("rank 3, strength 1.5, no bias", 3, 1.5, (4,), bias=False),
        case("rank 4, strength 16", 4, 16.0, (3,)),
        case("full rank", 5, 10.0, (2, 2)),
        case("a vector alone", 2, 3.0, ()),
        case("float64", 3, 8.0, (3,), exact=True),
    ]


SUM = "self.base(X) + self.scaling * (X @ self.A @ self.B)"
LAYER = Exercise(
    name="lora.LowRank",
    points=5, difficulty=3, minutes=30,
    against="sums over single directions in float64, and the plain layer read off its outputs",
    reference=ByEntries,
    right=LowRank,
    use=handled,
    cases=layer_cases,
    tolerance=1e-4,
    owned=("lecture_lib.lora.LoRALinear", "lecture_lib.lora.LoRALayer"),
    mistakes=(
        ("the factor is lora_alpha, and not lora_alpha / r.", "lora_alpha / r", "lora_alpha"),
        ("the factor is lora_alpha / √r, as in a later variant of LoRA. Which one stands in the task?", "lora_alpha / r", "lora_alpha / r ** 0.5"),
        ("the factor is r / lora_alpha. Does a larger strength make the update larger?", "lora_alpha / r", "r / lora_alpha"),
        ("B is drawn at random, too. What should the layer give before any training?",
         "torch.zeros(r, base.out_features, **kind)", "torch.randn(r, base.out_features, generator=generator, **kind)"),
        ("A is zero as well. Which gradient do two zeros get?",
         "A = torch.randn(base.in_features, r, generator=generator, **kind) / base.in_features ** 0.5",
         "A = torch.zeros(base.in_features, r, **kind)"),
        ("A is 0 and B is random: the layer begins at the old one, but A and B have changed places. Which of them starts at 0 here?",
         "torch.randn(base.in_features, r, generator=generator, **kind) / base.in_features ** 0.5", "torch.zeros(base.in_features, r, **kind)",
         "torch.zeros(r, base.out_features, **kind)", "torch.randn(r, base.out_features, generator=generator, **kind) / r ** 0.5"),
        ("A has variance 1 / r. Over how many numbers does x A sum?", " / base.in_features ** 0.5", " / r ** 0.5"),
        ("the generator is not used. What makes A the same in the next run?", "r, generator=generator, **kind", "r, **kind"),
        ("A is not divided: its numbers have variance 1. How large is x A then?", " / base.in_features ** 0.5", ""),
        ("A is divided by D_in: its variance is 1 / D_in². Which of the two, variance or spread, was asked for?",
         " / base.in_features ** 0.5", " / base.in_features"),
        ("A has variance 1 / D_out. Over how many numbers does x A sum?", " / base.in_features ** 0.5", " / base.out_features ** 0.5"),
        ("A is a little too large, as with Xavier's variance 2 / (D_in + D_out). Over how many numbers does x A sum?",
         " / base.in_features ** 0.5", " * (2 / (base.in_features + base.out_features)) ** 0.5"),
        ("A has variance 2 / D_in, which is meant for a layer in front of a ReLU. What follows A?",
         " / base.in_features ** 0.5", " * (2 / base.in_features) ** 0.5"),
        ("A is uniform. Which distribution was asked for?",
         "torch.randn(base.in_features, r, generator=generator, **kind) / base.in_features ** 0.5",
         "(torch.rand(base.in_features, r, generator=generator, **kind) * 2 - 1) * (3 / base.in_features) ** 0.5"),
        ("the base is trained as well. What does LoRA freeze?", "base.requires_grad_(False)", "base"),
        ("the bias of the base is trained on. Which parameters has the base?", "self.base = base.requires_grad_(False)",
         "self.base = base\n        base.weight.requires_grad_(False)"),
        ("the base is left out of the sum. What is the update added to?", SUM, "self.scaling * (X @ self.A @ self.B)"),
        ("the factor is left out of the outputs.", SUM, "self.base(X) + X @ self.A @ self.B"),
        ("the factor is left out when merging. Must the plain layer give the same outputs?",
         "self.base.weight + self.scaling * (self.A @ self.B).T", "self.base.weight + (self.A @ self.B).T"),
        ("merging changes the base itself: the update then acts twice. Which layer should get the sum?",
         "plain.weight.copy_(self.base.weight + self.scaling * (self.A @ self.B).T)",
         "self.base.weight += self.scaling * (self.A @ self.B).T\n            plain.weight.copy_(self.base.weight)"),
        ("the plain layer and the base have one bias in common: training the one changes the other. What should a new layer share?",
         "plain.bias.copy_(self.base.bias)", "plain.bias = self.base.bias"),
        ("the base is a copy, and the layer that was given is trained on. Which layer should be frozen?",
         "base.requires_grad_(False)", "__import__('copy').deepcopy(base).requires_grad_(False)"),
        ("the bias of the base is lost in the plain layer.", "plain.bias.copy_(self.base.bias)", "plain.bias.zero_()"),
        ("the update is subtracted when merging.", "self.base.weight + self.scaling", "self.base.weight - self.scaling"),
    ),
)  # fmt: skip
