"""Train a recipe, write its folder and its card, measure what was written."""

import platform
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import lecture_lib
from lecture_lib.files import read_json, write_text
from lecture_lib.pretrained import load_pretrained, save_pretrained
from lecture_lib.pretrained.files import write_json
from lecture_lib.training import train
from lecture_lib.zoo.recipe import Made, Metrics, Recipe
from lecture_lib.zoo.store import CARD


def make(
    recipe: Recipe,
    out: Path,
    seeds: Sequence[int] | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Train a model with each seed, write that of the first one to `out / recipe.name`, and give its card.

    A run that was interrupted is continued with `resume`: its checkpoint stands beside the folder until it is done.
    """
    seeds = tuple(recipe.seeds if seeds is None else seeds)
    where, measured = out / recipe.name, {}
    for seed in seeds:
        start = time.process_time()
        part = out / f"{recipe.name}-{seed}.part"
        out.mkdir(parents=True, exist_ok=True)
        model, tokenizer = recipe.make(seed, _Trainings(part, resume, progress))
        seconds = round(time.process_time() - start)
        target = where if seed == seeds[0] else part / "model"
        write(recipe, model, tokenizer, target)
        measured[seed] = {**measure(recipe, target), "seconds": seconds}
        shutil.rmtree(part, ignore_errors=True)
    content = _measured(model, seeds, measured) | _described(recipe)
    _write_card(where, content)
    return content


def describe_again(recipe: Recipe, out: Path) -> None:
    """Write the card of a model anew, after a change of the recipe's words or bands; what was measured stays."""
    _write_card(out / recipe.name, read_json(out / recipe.name / CARD) | _described(recipe))


def write(recipe: Recipe, model: nn.Module, tokenizer: object, folder: Path) -> None:
    """Write a model in half precision: two bytes a weight."""
    (recipe.write or save_pretrained)(model.to(torch.float16), tokenizer, folder)


def read(recipe: Recipe, folder: Path) -> Made:
    """Read a folder that `write` wrote, in single precision."""
    model, tokenizer = recipe.read(folder) if recipe.read else load_pretrained(folder)
    return model.float().eval().requires_grad_(False), tokenizer


def measure(recipe: Recipe, folder: Path) -> Metrics:
    """Measure the model of a folder as its recipe says."""
    return {name: round(float(value), 5) for name, value in recipe.measure(*read(recipe, folder)).items()}


def outside(recipe: Recipe, metrics: Metrics) -> list[str]:
    """Say which metrics are not in their bands."""
    return [
        f"{recipe.name}: {name} is {metrics[name]}, not between {low} and {high}"
        for name, (low, high) in recipe.bands.items()
        if not low <= metrics[name] <= high
    ]


class _Trainings:
    """`training.train` with a checkpoint for the first, second ... training of a recipe."""

    def __init__(self, folder: Path, resume: bool, progress: bool | None) -> None:
        self.folder, self.n = folder, 0
        self.train = partial(train, resume=resume, progress=progress)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.n += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.train(*arguments, **{"checkpoint": self.folder / f"training-{self.n}.pt", **named})


def _described(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "summary": recipe.summary,
        "cannot": recipe.cannot,
        "recipe": getattr(recipe.make, "func", recipe.make).__module__,
        "bands": {name: list(band) for name, band in recipe.bands.items()},
        "notes": dict(recipe.notes),
    }


def _measured(model: nn.Module, seeds: Sequence[int], measured: dict[int, Metrics]) -> dict[str, Any]:
    return {
        "seed": seeds[0],
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "stored_as": "float16",
        "metrics": measured[seeds[0]],
        "seeds": {str(seed): metrics for seed, metrics in measured.items()},
        "versions": {
            "lecture_lib": lecture_lib.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _write_card(folder: Path, content: dict[str, Any]) -> None:
    write_json(folder / CARD, content)
    write_text(folder / "README.md", as_markdown(content))


def as_markdown(card: dict[str, Any]) -> str:
    """Write a card to be read."""
    metrics = sorted(card["metrics"])
    rows = [
        "| seed | " + " | ".join(metrics) + " |",
        "|---" * (len(metrics) + 1) + "|",
        *(
            f"| {seed} | " + " | ".join(str(values.get(name, "")) for name in metrics) + " |"
            for seed, values in card["seeds"].items()
        ),
    ]
    return (
        f"# {card['name']}\n\n{card['summary'][0].upper()}{card['summary'][1:]}.\n\n"
        f"What it cannot do: {card['cannot']}\n\n"
        f"{card['parameters']:,} parameters, stored as {card['stored_as']}; the weights here are those of seed {card['seed']}. "
        f"Trained by `{card['recipe']}` (`python -m lecture_lib.zoo train {card['name']}`).\n\n"
        + "\n".join(rows)
        + "\n"
        + "".join(f"\n{note}\n" for _, note in sorted(card["notes"].items()))
    )
