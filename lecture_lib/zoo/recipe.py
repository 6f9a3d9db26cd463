"""What a recipe is, and where all of them are found."""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path

from torch import nn

from lecture_lib.training import TrainingRun
from lecture_lib.zoo import recipes

Train = Callable[..., TrainingRun]  # as `training.train`; checkpoint, resume and progress are filled in
Made = tuple[nn.Module, object]  # a model, and its tokenizer or None
Metrics = dict[str, float]


@dataclass(frozen=True)
class Recipe:
    """How one model of the zoo is made and measured; its docstring is its card."""

    name: str
    summary: str  # what it is, in a line
    cannot: str  # what it cannot do, in a sentence or two
    make: Callable[[int, Train], Made]  # (seed, train): builds and trains the model
    measure: Callable[
        [nn.Module, object], Metrics
    ]  # on data that it was not trained on; the same for every seed
    bands: Mapping[
        str, tuple[float, float]
    ]  # lowest and highest value of a metric, for the shipped file and all seeds
    seeds: tuple[int, ...] = (0, 1, 2)  # those whose metrics stand on the card; the first one is shipped
    after: tuple[str, ...] = ()  # recipes whose models it starts from
    read: Callable[[Path], Made] | None = None  # how its folder is read; None: by `load_pretrained`
    write: Callable[[nn.Module, object, Path], None] | None = None  # None: by `save_pretrained`
    notes: Mapping[str, str] = field(
        default_factory=dict
    )  # further sentences for the card, by what they are about


@cache
def all_recipes() -> dict[str, Recipe]:
    """Every recipe by its name, those before that others start from."""
    modules = [
        import_module(f"{recipes.__name__}.{each.name}") for each in pkgutil.iter_modules(recipes.__path__)
    ]
    found = {recipe.name: recipe for module in modules for recipe in module.RECIPES}
    ordered: dict[str, Recipe] = {}

    def visit(recipe: Recipe) -> None:
        for name in recipe.after:
            visit(found[name])
        ordered.setdefault(recipe.name, recipe)

    for recipe in found.values():
        visit(recipe)
    return ordered
