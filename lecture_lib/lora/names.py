"""Names of modules: ours, and those that the checkpoints of a model's family and published adapters use.

GPT-2 keeps queries, keys and values in one map, so three of our modules may share one name of theirs.
"""

import difflib
import re
from collections.abc import Iterable

from torch import nn

from lecture_lib.lora.layer import LoRALayer
from lecture_lib.lora.shapes import can_be_adapted, is_linear
from lecture_lib.pretrained.families import module_names, nearest
from lecture_lib.wrapped import unwrapped

HEADS = ("lm_head", "cls.predictions.decoder")  # their names of what scores the vocabulary


def all_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by every name that it stands under; the insides of LoRA layers are left out."""
    found = dict(unwrapped(model).named_modules(remove_duplicate=False))
    inside = tuple(f"{name}." for name, module in found.items() if isinstance(module, LoRALayer))
    return {name: module for name, module in found.items() if name and not name.startswith(inside)}


def their_names(model: nn.Module) -> dict[str, str]:
    """Our path of each module: the name that it has in checkpoints; none if no family has such a model."""
    inner = unwrapped(model)
    if not type(inner).__module__.startswith("lecture_lib."):
        return {}
    try:
        return {} if nearest(inner)[2] else module_names(inner)
    except ValueError:
        return {}


def our_names(model: nn.Module) -> dict[str, list[str]]:
    """The inverse: their name of a module, or ours where they have none, and ours."""
    theirs, ours = their_names(model), {}
    for path in all_modules(model):
        ours.setdefault(theirs.get(path, path), []).append(path)
    return ours


def is_transposed(model: nn.Module, key: str) -> bool:
    """Whether a family stores this tensor (in, out) where we store (out, in)."""
    return bool(their_names(model)) and nearest(unwrapped(model))[0].link(key, (), frozenset()).transposed


def find_targets(model: nn.Module, target_modules: str | Iterable[str]) -> list[str]:
    """Names of the layers that `target_modules` chooses as in peft, in the model's order; never none."""
    modules = all_modules(model)
    if target_modules == "all-linear":
        head = output_head(model)
        chosen = [name for name, module in modules.items() if is_linear(module) and module is not head]
        if not chosen:
            raise ValueError(f"{type(model).__name__} has no linear layer to adapt")
    elif isinstance(target_modules, str):
        chosen = _matching(model, target_modules)
    else:
        entries = list(target_modules)
        if not entries:
            raise ValueError(f"target_modules is empty: name the layers to adapt, such as {_endings(model)}")
        found = {name for entry in entries for name in modules_named(model, entry)}
        chosen = [name for name in modules if name in found]
    for name in chosen:
        if not can_be_adapted(modules[name]):
            kind = type(modules[name]).__name__
            raise ValueError(f"LoRA adapts linear layers and embeddings only: {name} is {kind}")
    first = {}
    for name in chosen:  # a module with two names is adapted once, under the first
        first.setdefault(id(modules[name]), name)
    return list(first.values())


def output_head(model: nn.Module) -> nn.Module | None:
    """The map that scores the vocabulary, if the model says which it is."""
    inner = unwrapped(model)
    if hasattr(inner, "get_output_embeddings"):
        return inner.get_output_embeddings()
    heads = [path for path, name in their_names(inner).items() if name in HEADS]
    return inner.get_submodule(heads[0]) if heads else None


def modules_named(model: nn.Module, entry: str) -> list[str]:
    """Our names of the modules that are called so, or end in it, in our words or theirs; ValueError if none is."""
    theirs = their_names(model)
    chosen = [
        path for path in all_modules(model) if f".{path}".endswith(f".{entry}") or f".{theirs.get(path, path)}".endswith(f".{entry}")
    ]  # fmt: skip
    if not chosen or not entry:
        # An ending is compared with endings of as many parts: "attn.c_atn" with "attn.c_attn".
        parts = entry.count(".") + 1
        known = [*all_modules(model), *theirs.values()]
        endings = (".".join(name.split(".")[-parts:]) for name in known)
        raise ValueError(
            f"no module is named {entry!r} or ends in it{near_names(entry, endings)}; "
            f"the linear layers here end in {_endings(model)}"
        )
    return chosen


def near_names(wanted: str, names: Iterable[str]) -> str:
    """Up to three of the names that resemble the wanted one, as a remark for an error message."""
    near = difflib.get_close_matches(wanted, list(dict.fromkeys(names)), cutoff=0.5)
    return f"; near names: {', '.join(near)}" if near else ""


def _matching(model: nn.Module, pattern: str) -> list[str]:
    """Our names of the modules whose whole name, ours or theirs, matches; ValueError if there is none."""
    theirs = their_names(model)
    try:
        chosen = [
            path for path in all_modules(model)
            if re.fullmatch(pattern, path) or re.fullmatch(pattern, theirs.get(path, path))
        ]  # fmt: skip
    except re.error as error:
        raise ValueError(f"target_modules={pattern!r} is no regular expression: {error}") from None
    if not chosen:
        raise ValueError(
            f"no module's whole name matches the regular expression {pattern!r}; for name endings pass "
            f"a list; the linear layers here end in {_endings(model)}"
        )
    return chosen


def _endings(model: nn.Module) -> list[str]:
    """Last parts of the names of the linear layers, each once."""
    return list(dict.fromkeys(n.split(".")[-1] for n, m in all_modules(model).items() if is_linear(m)))
