"""The options of an adapter in peft's adapter_config.json: what LoRALinear can do is read, the rest refused.

Source: peft's LoraConfig, as saved by versions 0.10 to 0.21.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lecture_lib.fields import (
    at_least,
    check_fields,
    declared,
    instance,
    positive,
    positive_real,
    probability,
    whole,
)
from lecture_lib.files import read_json

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # before the name of every tensor in the file

# What says where the update came from or how it was chosen; the tensors of the file say the rest.
DESCRIPTIVE = {
    *("auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_version"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out"),
    *("megatron_core", "qalora_group_size", "eva_config", "runtime_config"),
}
# Values that leave the base weights alone; the other initializations (PiSSA, OLoRA, LoftQ, ...) change them.
HARMLESS = {"bias": ("none",), "init_lora_weights": (True, "gaussian", "eva", "orthogonal")}
REASONS = {
    "bias": "means trained biases, which are not supported",
    "init_lora_weights": "changes the base weights; convert the adapter to plain LoRA with peft first",
}


def table_of(check: Callable[..., Any]) -> Any:
    """A field that holds an object, each entry of which goes through `check(name, value)`."""

    def each(name: str, value: Any) -> dict[str, Any]:
        entries = instance((dict,), name, value)
        return {key: check(f"{name}[{key!r}]", entry) for key, entry in entries.items()}

    return field(default_factory=dict, metadata={"check": each})


@dataclass(frozen=True)
class AdapterConfig:
    """The options of peft's LoraConfig that change what an adapter computes."""

    r: int = at_least(1, 8)  # rank
    lora_alpha: float = positive(8.0)  # strength; the factor is lora_alpha / r
    lora_dropout: float = probability(0.0, below_one=True)  # that an input of an update is dropped
    use_rslora: bool = False  # factor lora_alpha / sqrt(r)
    rank_pattern: dict[str, int] = table_of(partial(whole, low=1))  # other ranks, by the end of a name
    alpha_pattern: dict[str, float] = table_of(positive_real)  # other strengths, likewise
    modules_to_save: list[str] = declared(partial(instance, (list, tuple)), ())  # modules trained in full
    ensure_weight_tying: bool = False  # those that shared a weight go on sharing it

    def __post_init__(self) -> None:
        check_fields(self)

    def rank_of(self, name: str) -> int:
        """Rank of the layer with this name."""
        return _by_pattern(self.rank_pattern, name, self.r)

    def alpha_of(self, name: str) -> float:
        """Strength of the layer with this name."""
        return _by_pattern(self.alpha_pattern, name, self.lora_alpha)


def read_config(path: Path) -> AdapterConfig:
    """Read adapter_config.json.

    Args:
        path: the file.

    Returns:
        The options that change what the adapter computes.

    Raises:
        ValueError: not JSON, not LoRA, an option of the wrong kind, or one that LoRALinear does not have.
    """
    entries = read_json(path)
    if entries.get("peft_type") != "LORA":
        raise ValueError(f"{path} describes no LoRA adapter: its peft_type is {entries.get('peft_type')!r}")
    _refuse_unknown(entries, path)
    given = {
        name: entries[name] for name in AdapterConfig.__dataclass_fields__ if entries.get(name) is not None
    }
    try:
        return AdapterConfig(**given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _refuse_unknown(entries: dict, path: Path) -> None:
    """ValueError for an option in use that would change the result and is not implemented."""
    known = DESCRIPTIVE | set(AdapterConfig.__dataclass_fields__) | {"peft_type"}
    for name, value in entries.items():
        if value and name not in known and value not in HARMLESS.get(name, ()):
            why = REASONS.get(name, "is not supported by lecture_lib.lora")
            raise ValueError(f"{path}: the option {name}={value!r} {why}")


def _by_pattern(patterns: dict[str, float], name: str, default: float) -> float:
    """Value of the first pattern that matches the end of the name, as peft decides it."""
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", name):
                return value
        except re.error as error:
            raise ValueError(
                f"the pattern {pattern!r} of the adapter is no regular expression: {error}"
            ) from None
    return default
