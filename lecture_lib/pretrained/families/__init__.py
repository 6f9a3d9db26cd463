"""Families of Hugging Face models: one file each, with its settings, its names of tensors and its quirks.

A new family is one new file here that holds a class on `Family`, or on a relative. config.json is read into `ModelConfig`
and written from it by one table for both ways; a setting that would change the numbers and that our models do not have
is refused, never ignored. Source: the configuration and model classes of `transformers`.
"""

import dataclasses
import pkgutil
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from lecture_lib.transformer import GATED, ModelConfig
from lecture_lib.weights import unwrapped

Json = Mapping[str, Any]
Stored = Mapping[str, Callable[[], Tensor]]  # name of each tensor: a function that reads it
FREE = ("dropout", "init_std")  # matter in training only; a family may have no place for them
ACTIVATIONS = {
    **{
        "relu": "relu",
        "gelu": "gelu",
        "gelu_python": "gelu",
        "gelu_new": "gelu_tanh",
        "gelu_fast": "gelu_tanh",
    },
    **{"gelu_pytorch_tanh": "gelu_tanh", "quick_gelu": "quick_gelu", "silu": "silu", "swish": "silu"},
    **{"tanh": "tanh"},
}
GATED_FORM = {plain: gated for gated, plain in GATED.items()}


@dataclasses.dataclass(frozen=True)
class Link:
    """One tensor of a checkpoint, and the parameters of ours that it holds one below the other."""

    theirs: tuple[str, ...]  # its name, and others that it is looked for under
    ours: tuple[str, ...]
    written: tuple[str, ...] = ()  # names that it is written under; (): its name
    transposed: bool = False  # GPT-2 stores its maps as (in, out)
    row: bool = False  # Marian stores the bias of its head as (1, |V|), and may leave it out if it is zero


class Family:
    """What the members of a family have in common, and how they are written down."""

    model_type: str  # as config.json says it
    architectures: Mapping[str, type[nn.Module]] = {}  # their class: ours
    settings: tuple[Mapping[str, str], ...]  # our field: their setting; a table each for encoder and decoder
    fixed: Mapping[str, object] = {}  # fields that all members share
    missing: Mapping[str, object] = {}  # value of a setting that a file leaves out
    supported: Mapping[str, object] = {}  # settings with just one value here
    modules: Mapping[str, str]  # our module: theirs, with # for the number of a layer
    prefix: str = "model."  # stands before the names of a bare model, in a model with a head
    heads: tuple[str, ...] = ("lm_head.",)  # beginnings of names that the prefix never stands before
    replaced: Mapping[str, Callable[[ModelConfig, Tensor], Tensor] | None] = {}  # what is computed, not read
    folded: tuple[str, ...] = ()  # settings that `fold` moves into the weights
    gated = False  # whether the feed-forward network is

    def read(self, theirs: Json) -> tuple[ModelConfig, ...]:
        """Read a config.json: our config, or those of an encoder and of a decoder."""
        for name, value in self.supported.items():
            if theirs.get(name) not in (None, value):
                raise ValueError(f"{name}={theirs[name]!r} is not supported, only {value!r}")
        return tuple(ModelConfig(**self.fields(theirs, names)) for names in self.settings)

    def fields(self, theirs: Json, names: Mapping[str, str]) -> dict[str, Any]:
        """Read the fields of one `ModelConfig` by one table."""
        given = {name: value for name, value in theirs.items() if value is not None}
        lost = [name for name in names.values() if name not in given and name not in self.missing]
        if lost:
            raise ValueError(f"the setting {lost[0]!r} is missing")
        values = {ours: given.get(name, self.missing.get(name)) for ours, name in names.items()}
        plain = ACTIVATIONS.get(str(values["activation"]))
        ours = GATED_FORM.get(plain) if self.gated else plain
        if ours is None:
            where = " in a gated network" if self.gated else ""
            raise ValueError(f"the activation {values['activation']!r} is not supported{where}")
        return {**self.fixed, **values, "activation": ours}

    def write(self, configs: tuple[ModelConfig, ...]) -> dict[str, Any]:
        """Write a config.json, the inverse of `read`, but for the architecture and the tokens with a role."""
        theirs: dict[str, Any] = {"model_type": self.model_type} | dict(self.supported)
        for names, config in zip(self.settings, configs, strict=True):
            theirs |= {name: getattr(config, ours) for ours, name in names.items()}
            plain = GATED.get(config.activation, config.activation)
            theirs[names["activation"]] = "gelu_new" if plain == "gelu_tanh" else plain
        return theirs

    def build(self, architecture: str, theirs: Json, stored: Stored) -> nn.Module:
        """Build the model that a config.json describes; a stored head that is no copy is one of its own."""
        (config,) = self.read(theirs)
        table, head = (f"{self.modules[name]}.weight" for name in ("embedding.tokens", "head"))
        if config.tied_head and not copies(stored, table, head):
            config = dataclasses.replace(config, tied_head=False)
        return self.architectures[architecture](config)

    def facts(self, model: nn.Module) -> tuple[tuple[ModelConfig, ...], dict[str, Any]]:
        """Say what a model is, by its weights: its config or configs, and settings that are in no table."""
        tied = same(model.head, model.embedding.tokens, model.config.tied_head)
        return (dataclasses.replace(model.config, tied_head=tied),), {}

    def link(self, theirs: str, ours: tuple[str, ...], shared: frozenset[str]) -> Link:
        """Say how a tensor is stored, by its name in the table, ours that it holds, and ours that are another one (`shared`)."""
        table, head = self.modules["embedding.tokens"], self.modules["head"]
        tied = theirs == f"{table}.weight" and "head.weight" in shared
        return Link((theirs, f"{head}.weight") if tied else (theirs,), ours)

    def modules_of(self, architecture: str) -> Mapping[str, str]:
        """Give the table of modules, ours: theirs, of one architecture."""
        return self.modules

    def name_of(self, path: str, architecture: str) -> str | None:
        """Give the name of a module of ours by the table; None: it has none."""
        number = re.search(r"\.layers\.(\d+)\.", path)
        if number is None:
            return self.modules_of(architecture).get(path)
        name = self.modules_of(architecture).get(path.replace(number[0], ".layers.#.", 1))
        return name and name.replace("#", number[1])

    def named(self, stored: Stored, architecture: str) -> dict[str, Callable[[], Tensor]]:
        """Give the tensors of a checkpoint the names of the table; a bare model's lack the prefix (`h.0.ln_1`)."""
        if any(name.startswith(self.prefix) for name in stored):
            return dict(stored)
        return {n if n.startswith(self.heads) else self.prefix + n: read for n, read in stored.items()}

    def fold(self, model: nn.Module, theirs: Json) -> None:
        """Move what a family computes and ours do not into the weights of a filled model."""

    def misfit(self, model: nn.Module) -> tuple[int, str]:
        """Say how many choices of a model the family has no place for, and name the first."""
        configs, more = self.facts(model)
        try:
            backs = self.read({**self.write(configs), **more})
        except ValueError as error:
            return 99, str(error)
        wrong = [
            f"a Hugging Face {self.model_type} cannot have {name}={value!r}, only {getattr(back, name)!r}"
            for ours, back in zip(configs, backs, strict=True)
            for name, value in vars(ours).items()
            if name not in FREE and value != getattr(back, name)
            if not (name == "context_length" and value < back.context_length)
        ]
        return len(wrong), wrong[0] if wrong else ""


def same(head: nn.Module, table: nn.Module, meant: bool) -> bool:
    """Tell whether two modules share their weight, or are meant to and hold the same numbers."""
    a, b = (getattr(module, "weight", None) for module in (head, table))  # a quantized layer has none
    if a is None or b is None:
        return meant
    return a is b or (meant and a.shape == b.shape and torch.equal(a, b))


def copies(stored: Stored, *names: str) -> bool:
    """Tell whether those of the named tensors that a checkpoint holds are equal."""
    there = [stored[name]() for name in names if name in stored]
    wide = max((tensor.dtype for tensor in there), key=lambda dtype: dtype.itemsize, default=None)
    return all(torch.equal(there[0].to(wide), other.to(wide)) for other in there[1:])


@cache
def families() -> dict[str, Family]:
    """Find the families of this folder, by their model_type."""
    modules = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    kinds = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    return {k.model_type: k() for k in kinds if issubclass(k, Family) and k is not Family}


def family_of(theirs: Json) -> tuple[Family, str]:
    """Find the family and the architecture that a config.json names."""
    family = families().get(theirs.get("model_type"))
    if family is None:
        known = ", ".join(families())
        raise ValueError(f"models of type {theirs.get('model_type')!r} are not supported, only {known}")
    architecture = (theirs.get("architectures") or [None])[0]
    if architecture not in family.architectures:
        known = ", ".join(name for each in families().values() for name in each.architectures)
        raise ValueError(f"the architecture {architecture!r} is not supported, only {known}")
    if theirs.get("quantization_config"):
        raise ValueError("quantized checkpoints are not supported; load the original and quantize it here")
    return family, architecture


def nearest(model: nn.Module) -> tuple[Family, str, str]:
    """Find the family that a model came from if it still fits, else the one with the fewest misfits.

    Its architecture comes with it, and what stands in the way of saving ("" if nothing does).
    """
    origin = getattr(model, "origin", {}).get("model_type")
    found = [
        (*family.misfit(model), family, architecture)
        for family in sorted(families().values(), key=lambda each: each.model_type != origin)
        for architecture, kind in family.architectures.items()
        if kind is type(model)
    ]
    if not found:
        raise ValueError(f"a {type(model).__name__} has no form in the format of Hugging Face")
    _, message, family, architecture = min(found, key=lambda each: each[0])
    return family, architecture, message


def module_names(model: nn.Module) -> dict[str, str]:
    """Give the modules of a model, wrapped or not, the names that they have in `transformers`, for adapters.

    Ours: theirs, such as "stack.layers.0.attention.W_q": "model.layers.0.self_attn.q_proj". GPT-2 keeps queries, keys and
    values in one map: three of ours have the name "transformer.h.0.attn.c_attn".
    """
    model = unwrapped(model)
    family, architecture, _ = nearest(model)
    names = {path: family.name_of(path, architecture) for path, _ in model.named_modules()}
    return {path: name for path, name in names.items() if name is not None}
