"""Names of modules: ours, and those that the checkpoints of a model's family and published adapters use.

GPT-2 keeps queries, keys and values in one map, so three of our modules may share one name of theirs.
"""

import difflib
import re
from collections.abc import Iterable
from contextlib import suppress

from torch import nn

from lecture_lib.lora.layer import LoRALayer
from lecture_lib.lora.shapes import is_linear
from lecture_lib.pretrained.families import module_names, nearest
from lecture_lib.weights import unwrapped

HEADS = ("lm_head", "cls.predictions.decoder")  # their names of what scores the vocabulary


def all_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by every name that it stands under; the insides of LoRA layers are left out."""
    found = dict(unwrapped(model).named_modules(remove_duplicate=False))
    inside = tuple(f"{name}." for name, module in found.items() if isinstance(module, LoRALayer))
    return {name: module for name, module in found.items() if name and not name.startswith(inside)}


class Names:
    """The names of a model's modules, looked up once.

    Args:
        model: any module; one that is ours and that a family has gets the family's names too.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, self.modules = unwrapped(model), all_modules(model)
        self.theirs: dict[str, str] = {}  # our path: theirs
        self.family = None
        if type(self.model).__module__.startswith("lecture_lib."):
            with suppress(ValueError):  # no family has models of this class
                family, _, misfit = nearest(self.model)
                if not misfit:
                    self.family, self.theirs = family, module_names(self.model)
        self.ours: dict[str, list[str]] = {}  # name in a file: our paths, several where they keep one
        for path in self.modules:
            self.ours.setdefault(self.theirs.get(path, path), []).append(path)

    def of(self, path: str) -> tuple[str, str]:
        """Our path and theirs, which is ours where they have none."""
        return path, self.theirs.get(path, path)

    def is_transposed(self, key: str) -> bool:
        """Whether the family stores this tensor (in, out) where we store (out, in)."""
        return self.family is not None and self.family.link(key, (), frozenset()).transposed

    def called(self, entry: str) -> list[str]:
        """Our paths of the modules with this name or name ending, ours or theirs; ValueError if there is none."""
        fits = [path for path in self.modules if any(f".{n}".endswith(f".{entry}") for n in self.of(path))]
        if not fits or not entry:
            # An ending is compared with endings of as many parts: "attn.c_atn" with "attn.c_attn".
            parts = entry.count(".") + 1
            endings = (".".join(n.split(".")[-parts:]) for path in self.modules for n in self.of(path))
            near = f"no module is named {entry!r} or ends in it{near_names(entry, endings)}"
            raise ValueError(f"{near}; the linear layers here end in {self.endings()}")
        return fits

    def matching(self, pattern: str) -> list[str]:
        """Our paths of the modules whose whole name, ours or theirs, matches."""
        try:
            return [path for path in self.modules if any(re.fullmatch(pattern, n) for n in self.of(path))]
        except re.error as error:
            raise ValueError(f"target_modules={pattern!r} is no regular expression: {error}") from None

    def head(self) -> nn.Module | None:
        """The map that scores the vocabulary, if the model says which it is."""
        if hasattr(self.model, "get_output_embeddings"):
            return self.model.get_output_embeddings()
        return next((self.modules[path] for path, name in self.theirs.items() if name in HEADS), None)

    def endings(self) -> list[str]:
        """Last parts of the names of the linear layers, each once."""
        return list(dict.fromkeys(n.split(".")[-1] for n, m in self.modules.items() if is_linear(m)))


def find_targets(names: Names, target_modules: str | Iterable[str]) -> list[str]:
    """Our paths of the layers that `target_modules` chooses as in peft, in the model's order; never none."""
    modules = names.modules
    if target_modules == "all-linear":
        chosen = [
            path for path, module in modules.items() if is_linear(module) and module is not names.head()
        ]
        otherwise = f"{type(names.model).__name__} has no linear layer to adapt"
    elif isinstance(target_modules, str):
        chosen = names.matching(target_modules)
        otherwise = (
            f"no module's whole name matches the regular expression {target_modules!r}; "
            "for name endings pass a list"
        )
    else:
        found = {path for entry in target_modules for path in names.called(entry)}
        chosen = [path for path in modules if path in found]
        otherwise = "target_modules is empty: name the layers to adapt"
    if not chosen:
        raise ValueError(f"{otherwise}; the linear layers here end in {names.endings()}")
    first: dict[int, str] = {}
    for path in chosen:  # a module with two names is adapted once, under the first
        first.setdefault(id(modules[path]), path)
    return list(first.values())


def near_names(wanted: str, names: Iterable[str]) -> str:
    """Up to three of the names that resemble the wanted one, as a remark for an error message."""
    near = difflib.get_close_matches(wanted, list(dict.fromkeys(names)), cutoff=0.5)
    return f"; near names: {', '.join(near)}" if near else ""
