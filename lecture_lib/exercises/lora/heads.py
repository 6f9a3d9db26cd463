"""A new head on a frozen model: what is trained, what stays, and a head that shared its weight with the token table."""

import torch
from torch import Tensor, nn

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.plain import type_name


class Classifier(nn.Module):
    """A small pre-trained model: token table, one layer, mean over tokens, head."""

    def __init__(self, V: int, D: int, seed: int, tied: bool, bias: bool, double: bool):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.tokens = nn.Embedding(V, D)
        self.heads = nn.Linear(D, D)  # a name that begins like that of the part to train
        self.head = nn.Linear(D, V, bias=bias)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.to(torch.float64 if double else torch.float32)
        if tied:
            self.head.weight = self.tokens.weight

    def features(self, ids: Tensor) -> Tensor:
        """Give a vector for each text."""
        return torch.tanh(self.heads(self.tokens(ids))).mean(1)

    def forward(self, ids: Tensor) -> Tensor:
        """Score the outputs of the head."""
        return self.head(self.features(ids))


def new_head(model: nn.Module, n_classes: int) -> nn.Module:
    """Freeze a model and put a new linear head, with bias, in the place of `model.head`: all its numbers are 0.

    Args:
        model: has a linear layer `head`; changed in place.
        n_classes: outputs of the new head.

    Returns:
        The same model. Of its parameters those of the new head alone are trained; they have the dtype of the old head's.
    """
    model.requires_grad_(False)
    head = nn.Linear(model.head.in_features, n_classes, dtype=model.head.weight.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model.head = head
    return model


def one_by_one(model: nn.Module, n_classes: int) -> nn.Module:
    """The same by hand: parameter after parameter, and a head whose memory is filled."""
    for parameter in model.parameters():
        parameter.requires_grad = False
    old = model._modules.pop("head").weight
    head = nn.utils.skip_init(nn.Linear, old.shape[1], n_classes, dtype=old.dtype)
    for parameter in head.parameters():
        parameter.data = torch.zeros(parameter.shape, dtype=old.dtype)
    model.add_module("head", head)
    return model


def described(
    answer: object,
    n_classes: int,
    ids: Tensor,
    labels: Tensor,
    V: int,
    D: int,
    seed: int,
    tied: bool,
    bias: bool,
    double: bool,
) -> dict:
    """What the model looks like behind the answer, and after a step of its training."""
    model = Classifier(V, D, seed, tied, bias, double)
    before = model.features(ids).detach()
    with torch.random.fork_rng(devices=[]):  # a head that is left random is the same one each time
        torch.manual_seed(0)
        given = answer(model, n_classes)
    if given is not model:
        return {"the same model comes back": False, "what comes back": type_name(given)}
    trained = sorted(name for name, p in given.named_parameters() if p.requires_grad)
    logits = given(ids)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in given.named_parameters() if p.grad is not None}
    with torch.no_grad():
        for parameter in given.parameters():
            if parameter.grad is not None:
                parameter -= 0.5 * parameter.grad
    return {
        "the same model comes back": True,
        "trained": trained,
        "logits at first": logits.detach(),
        "features changed by": (given.features(ids).detach() - before).abs().max(),
        "gradients": gradients,
        "logits after a step": given(ids).detach(),
    }


def head_cases(seed: int) -> list[Case]:
    """Heads with and without bias, a tied one, one class, more classes than tokens, float64."""
    draw = Draw(seed)

    def case(what: str, n: int, tied: bool = False, bias: bool = True, double: bool = False) -> Case:
        V, D, B, N = draw.size(9, 12), draw.size(5, 8), draw.size(3, 4), draw.size(2, 4)
        ids, labels = draw.ids(B, N, below=V), draw.ids(B, below=n)
        return Case(what, (n, ids, labels, V, D, draw.size(0, 10**6), tied, bias, double))

    return [
        case("3 classes", 3),
        case("2 classes, the old head has no bias", 2, bias=False),
        case("4 classes, the old head shares its weight with the token table", 4, tied=True, bias=False),
        case("one class", 1),
        case("14 classes, more than tokens", 14),
        case("5 classes, float64", 5, double=True),
    ]


def in_its_place(model: nn.Module, n_classes: int) -> nn.Module:
    """Exchange the numbers of the old head's own parameters, also where another layer reads them."""
    model.requires_grad_(False)
    head, old = model.head, model.head.weight
    old.data = old.new_zeros(n_classes, head.in_features)
    head.bias = nn.Parameter(old.new_zeros(n_classes))
    old.requires_grad_(True)
    return model


ZEROS = "nn.init.zeros_(head.weight)\n    nn.init.zeros_(head.bias)"
HEAD = Exercise(
    name="lora.new_head",
    points=2, difficulty=1, minutes=12,
    against="the same change made parameter by parameter, and one step of training behind it",
    reference=one_by_one,
    right=new_head,
    use=described,
    cases=head_cases,
    mistakes=(
        ("nothing is frozen. Which parameters should be trained?", "model.requires_grad_(False)", "model.requires_grad_(True)"),
        ("the new head is frozen with all the rest. What comes first, freezing or the new head?",
         "model.head = head", "model.head = head.requires_grad_(False)"),
        ("the new head starts from random numbers. Which loss should an untrained head have for C classes?", ZEROS, "pass"),
        ("all that has a name which begins with `head` is trained. Which other layer of the model is called so?",
         "model.head = head", "model.head = head\n    [p.requires_grad_(n.startswith('head')) for n, p in model.named_parameters()]"),
        ("the new head has no bias.", "n_classes, dtype", "n_classes, bias=False, dtype", "nn.init.zeros_(head.bias)", "pass"),
        ("the weight of the old head is reused for its first rows. What do they score?",
         "nn.init.zeros_(head.weight)", "nn.init.zeros_(head.weight).data[:len(model.head.weight)] = model.head.weight.data[:n_classes]"),
        ("only the bias is trained.", "model.head = head", "model.head = head\n    head.weight.requires_grad_(False)"),
        ("only the bias starts at 0.", "nn.init.zeros_(head.weight)", "pass"),
        ("the old head's weight is set to 0 where it stands. Who else reads it when it is tied?",
         "nn.init.zeros_(head.weight)", "nn.init.zeros_(head.weight)\n    nn.init.zeros_(model.head.weight)"),
        ("the numbers of the old head are exchanged in its own weight. Who else reads it when it is tied?", in_its_place),
        ("nothing comes back. What is to be returned?", "return model", "return None"),
        ("the head comes back, not the model. What is to be returned?", "return model", "return head"),
        ("a copy comes back and the model is as it was. Which model was to be changed?",
         "return model", "return __import__('copy').deepcopy(model)"),
        ("the new head is always float32. Which dtype has the old one?", ", dtype=model.head.weight.dtype", ""),
    ),
)  # fmt: skip
