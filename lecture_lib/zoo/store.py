"""Where the trained models lie, and how they are read: package data, no network."""

import difflib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lecture_lib.files import read_json
from lecture_lib.pretrained import PretrainedTokenizer, load_pretrained
from lecture_lib.zoo.recipe import all_recipes

MODELS = Path(__file__).parent / "models"
CARD = "card.json"


def names() -> list[str]:
    """Names of the models that are here."""
    return sorted(path.parent.name for path in MODELS.glob(f"*/{CARD}"))


def folder(name: str) -> Path:
    """Give the folder of a model, in Hugging Face's format; an unknown name is refused, with the nearest ones."""
    if name in names():
        return MODELS / name
    near = difflib.get_close_matches(str(name), names(), n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
    raise ValueError(f"the zoo has no model {name!r}: {hint}")


def card(name: str) -> dict[str, Any]:
    """Give what is known of a model: recipe, seeds, seconds, versions, metrics, what it cannot do."""
    return read_json(folder(name) / CARD)


def load(
    name: str, dtype: torch.dtype | str = torch.float32, device: torch.device | str | None = None
) -> tuple[nn.Module, PretrainedTokenizer | None]:
    """Load a model of the zoo and its tokenizer, as `load_pretrained` does, by default in single precision.

    Args:
        name: one of `names()`.
        dtype: of the weights; None: as they are stored, in half precision.
        device: where the model lives; None: the CPU.

    Returns:
        The model, in evaluation mode and without gradients, and its tokenizer; None for a model whose tokens are vectors.

    Raises:
        ValueError: there is no such model; its files are damaged.
    """
    where = folder(name)
    recipe = all_recipes().get(name)
    if recipe is not None and recipe.read is not None:
        model, tokenizer = recipe.read(where)
        model = model.to(device=device, dtype=dtype)
    else:
        model, tokenizer = load_pretrained(where, dtype, device)
    return model.eval().requires_grad_(False), tokenizer
