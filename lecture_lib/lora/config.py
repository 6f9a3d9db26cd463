"""The options of an adapter in peft's adapter_config.json: what LoRALinear can do is read, the rest refused.

Source: peft's LoraConfig, as saved by versions 0.10 to 0.21.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from lecture_lib.files import read_json

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # before the name of every tensor in the file

# What says where the update came from or how it was chosen; the tensors of the file say the rest.
DESCRIPTIVE = {
    *("auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_version"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out"),
    *("megatron_core", "qalora_group_size", "eva_config", "runtime_config"),
}
# Initializations that leave the base weights alone; the others (PiSSA, OLoRA, LoftQ, ...) change them.
HARMLESS_INITIALIZATIONS = (True, False, None, "gaussian", "eva", "orthogonal")
KINDS = {int: "an integer", float: "a number", bool: "true or false", dict: "an object", list: "a list"}


@dataclass(frozen=True)
class AdapterConfig:
    """The options of peft's LoraConfig that change what an adapter computes."""

    r: int = 8  # rank
    lora_alpha: float = 8.0  # strength; the factor is lora_alpha / r
    lora_dropout: float = 0.0  # probability that an input of an update is dropped
    use_rslora: bool = False  # factor lora_alpha / sqrt(r)
    rank_pattern: dict[str, int] = field(default_factory=dict)  # other ranks, by the end of a layer's name
    alpha_pattern: dict[str, float] = field(default_factory=dict)  # other strengths, likewise
    modules_to_save: list[str] = field(default_factory=list)  # modules trained in full
    ensure_weight_tying: bool = False  # those that shared a weight go on sharing it

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
        raise ValueError(
            f"{path} describes no LoRA adapter: its peft_type is {entries.get('peft_type')!r}, not 'LORA'"
        )
    _refuse_unknown(entries, path)
    options = {}
    for name, option in AdapterConfig.__dataclass_fields__.items():
        if entries.get(name) is not None:
            options[name] = _checked(entries[name], option.type, name, path)
    return AdapterConfig(**options)


def _refuse_unknown(entries: dict, path: Path) -> None:
    """ValueError for an option in use that would change the result and is not implemented."""
    if entries.get("bias", "none") != "none":
        raise ValueError(f"{path}: adapters with trained biases (bias={entries['bias']!r}) are not supported")
    if entries.get("init_lora_weights") not in HARMLESS_INITIALIZATIONS:
        raise ValueError(
            f"{path}: init_lora_weights={entries['init_lora_weights']!r} changes the base weights; "
            "convert the adapter to plain LoRA with peft first"
        )
    known = DESCRIPTIVE | set(AdapterConfig.__dataclass_fields__) | {"peft_type", "bias", "init_lora_weights"}
    for name, value in entries.items():
        if name not in known and value:
            raise ValueError(f"{path}: the option {name}={value!r} is not supported by lecture_lib.lora")


def _checked(value: object, kind: type, name: str, path: Path) -> object:
    """The value if it is of that kind, finite numbers where numbers are asked for."""
    base = getattr(kind, "__origin__", kind)
    if base is dict:
        number = kind.__args__[1]
        if isinstance(value, dict):
            return {key: _checked(entry, number, f"{name}[{key!r}]", path) for key, entry in value.items()}
    elif base is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return value
    elif isinstance(value, base) and not (base is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{path}: {name} must be {KINDS[base]}, got {value!r}")


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
