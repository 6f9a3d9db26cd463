"""Adapt the layers whose names match a pattern, and nothing else."""

import re

import torch
from torch import Tensor, nn

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.lora import LoRALinear


def small_model(D: int, seed: int) -> nn.Module:
    """Two layers with three maps each, of which one is shared, a table, a norm and a head."""
    generator = torch.Generator().manual_seed(seed)
    model, shared = nn.Module(), nn.Linear(D, D)
    model.table, model.norm, model.head = nn.Embedding(9, D), nn.LayerNorm(D), nn.Linear(D, 9)
    model.layers = nn.ModuleList()
    for _ in range(2):
        layer = nn.Module()
        layer.W_v, layer.W_qk, layer.W_q = nn.Linear(D, D, bias=False), nn.Linear(D, D), shared
        model.layers.append(layer)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / D**0.5
    return model


def outputs(model: nn.Module, ids: Tensor) -> Tensor:
    """Score the next token with every layer of the small model."""
    X = model.table(ids)
    for layer in model.layers:
        X = X + torch.tanh(layer.W_q(X)) * layer.W_qk(X) + layer.W_v(X)
    return model.head(model.norm(X))


def adapt(model: nn.Module, pattern: str, r: int, lora_alpha: float) -> list[str]:
    """Freeze a model, and put a `LoRALinear` around every linear layer whose whole name matches a regular expression.

    Args:
        model: changed in place.
        pattern: regular expression for whole names, such as r"layers[.][0-9]+[.]W_[qv]".
        r: rank of the updates.
        lora_alpha: their strength.

    Returns:
        The names that match, in the order of the model. A layer with two names is wrapped once, and both of its places
        then hold the same new layer, also if one of the two names matches only.

    Raises:
        ValueError: no linear layer's name matches; the model is then unchanged.
    """
    named = list(model.named_modules(remove_duplicate=False))
    chosen = {n: m for n, m in named if isinstance(m, nn.Linear) and re.fullmatch(pattern, n)}
    if not chosen:
        raise ValueError(f"no linear layer is called {pattern!r}")
    model.requires_grad_(False)
    wrapped = {layer: LoRALinear(layer, r, lora_alpha) for layer in chosen.values()}
    for _, parent in named:
        for name, child in parent._modules.items():
            if child in wrapped:
                setattr(parent, name, wrapped[child])
    return list(chosen)


def by_paths(model: nn.Module, pattern: str, r: int, lora_alpha: float) -> list[str]:
    """Walk down from the top by hand, and replace by the identity of the layer."""
    found, places = [], []

    def walk(parent: nn.Module, prefix: str) -> None:
        for name, child in parent._modules.items():
            path = prefix + name
            if type(child) is nn.Linear:
                places.append((parent, name, child))
                if re.match(f"(?:{pattern})$", path):
                    found.append((path, child))
            walk(child, path + ".")

    walk(model, "")
    if not found:
        raise ValueError("nothing fits")
    for parameter in model.parameters():
        parameter.requires_grad = False
    new = {id(child): LoRALinear(child, r, lora_alpha) for _, child in found}
    for parent, name, child in places:
        parent._modules[name] = new.get(id(child), child)
    return [path for path, _ in found]


def each_place(model: nn.Module, pattern: str, r: int, lora_alpha: float, shared: bool = False) -> list[str]:
    """Wrap place after place: a layer with two names gets two updates, or one that only the matching places hold."""
    named = [(n, m) for n, m in model.named_modules(remove_duplicate=False) if isinstance(m, nn.Linear)]
    chosen, made = [(n, m) for n, m in named if re.fullmatch(pattern, n)], {}
    if not chosen:
        raise ValueError("nothing fits")
    model.requires_grad_(False)
    for path, layer in chosen:
        parent, _, name = path.rpartition(".")
        new = LoRALinear(layer, r, lora_alpha)
        setattr(model.get_submodule(parent), name, made.setdefault(layer, new) if shared else new)
    return [path for path, _ in chosen]


def described(
    answer: object, D: int, seed: int, ids: Tensor, pattern: str, r: int, lora_alpha: float
) -> dict:
    """Names, what is trained, and outputs after every update was given numbers."""
    model = small_model(D, seed)
    before = outputs(model, ids).detach()
    try:
        names = answer(model, pattern, r, lora_alpha)
    except ValueError:
        trained = sum(p.requires_grad for p in model.parameters())
        return {"a ValueError is raised": True, "trained": trained, "outputs": outputs(model, ids).detach()}
    layers = {n: m for n, m in model.named_modules(remove_duplicate=False) if isinstance(m, LoRALinear)}
    at_first = outputs(model, ids).detach()
    with torch.no_grad():
        for place, layer in enumerate(dict.fromkeys(layers.values())):
            layer.lora_A.copy_(torch.linspace(-1, 1, layer.lora_A.numel()).view_as(layer.lora_A))
            layer.lora_B.copy_(torch.linspace(0.2 + place, -1, layer.lora_B.numel()).view_as(layer.lora_B))
    return {
        "a ValueError is raised": False,
        "names": names,
        "adapted places": sorted(layers),
        "ranks and strengths": [(layer.r, layer.lora_alpha) for layer in layers.values()],
        "trained": sorted(n for n, p in model.named_parameters() if p.requires_grad),
        "outputs changed at first": (at_first - before).abs().max(),
        "outputs": outputs(model, ids).detach(),
    }


def name_cases(seed: int) -> list[Case]:
    """One name, patterns of several, names that begin alike, the head, a shared layer, and patterns without a match."""
    draw = Draw(seed)

    def case(what: str, pattern: str) -> Case:
        D = draw.size(5, 8)
        numbers = (D, draw.size(0, 10**6), draw.ids(2, 3, below=9))
        return Case(f"{what}: {pattern}", (*numbers, pattern, draw.size(2, 4), float(draw.size(5, 9))))

    return [
        case("one layer", r"layers\.1\.W_v"),
        case("a map of all layers", r"layers\.\d+\.W_qk"),
        case("two maps", r".*\.W_(qk|v)"),
        case("a name that others begin with", r".*W_q"),
        case("a shared layer by its second name alone", r"layers\.1\.W_q"),
        case("everything linear", r".*"),
        case("the head", r"head"),
        case("one of two whole names", r"layers\.0\.W_q|layers\.1\.W_v"),
        case("the beginning of names only: ValueError", r"layers"),
        case("the middle of names only: ValueError", r"[01]"),
        case("the end of names only: ValueError", r"W_(qk|v)"),
        case("small letters for capital ones: ValueError", r".*w_v"),
        case("a table is no linear layer: ValueError", r"table"),
        case("a dot is any character", r"layers.0.W_."),
    ]


FULL = "re.fullmatch(pattern, n)"
ADAPT = Exercise(
    name="lora.adapt",
    points=3, difficulty=2, minutes=20,
    against="a walk through the model by hand, and the outputs of the adapted model",
    reference=by_paths,
    right=adapt,
    use=described,
    cases=name_cases,
    tolerance=1e-4,
    owned=("lecture_lib.lora.add_lora", "lecture_lib.lora.model.install",
           "lecture_lib.quantization.model.replace_layer"),
    mistakes=(
        ("a name need only begin like the pattern. Must the whole name match?", FULL, "re.match(pattern, n)"),
        ("the pattern is looked for anywhere in a name. Must the whole name match?", FULL, "re.search(pattern, n)"),
        ("a `$` is written behind the pattern. To which part of `a|b` does it belong?", FULL, "re.match(pattern + '$', n)"),
        ("the names are sorted. Which order was asked for?", "return list(chosen)", "return sorted(chosen)"),
        ("the pattern is taken letter by letter.", FULL, "pattern == n"),
        ("only the last part of a name is compared.", FULL, "re.fullmatch(pattern, n.split('.')[-1])"),
        ("nothing is frozen. Which numbers should be trained?", "model.requires_grad_(False)", "pass"),
        ("all is frozen at the end, the updates too. What comes first?",
         "return list(chosen)", "model.requires_grad_(False)\n    return list(chosen)"),
        ("a layer with two names is seen under the first one only. What does `remove_duplicate` do?",
         "model.named_modules(remove_duplicate=False)", "model.named_modules()"),
        ("a layer with two names is wrapped twice, and its places have different updates. How many layers is it?", each_place),
        ("only the places whose names match hold the new layer. What does the other place of a shared layer hold?",
         lambda model, pattern, r, lora_alpha: each_place(model, pattern, r, lora_alpha, shared=True)),
        ("all names of an adapted layer come back. Which of them match?",
         "return list(chosen)", "return [n for n, m in named if m in wrapped]"),
        ("each layer comes back with one name. How many names may a layer have?",
         "return list(chosen)", "return list({id(m): n for n, m in reversed(chosen.items())}.values())[::-1]"),
        ("no match goes by without a word. What does a slip in a pattern do then?", "if not chosen:", "if False:"),
        ("the model is frozen already when the pattern is refused. What should it be like then?",
         "named = list(", "model.requires_grad_(False)\n    named = list("),
        ("rank and strength are exchanged.", "LoRALinear(layer, r, lora_alpha)", "LoRALinear(layer, int(lora_alpha) if lora_alpha <= layer.in_features else 1, r)"),
        ("the rank is always 1.", "LoRALinear(layer, r, lora_alpha)", "LoRALinear(layer, 1, lora_alpha)"),
        ("only the first match is adapted.", "for layer in chosen.values()}", "for layer in list(chosen.values())[:1]}"),
    ),
)  # fmt: skip
