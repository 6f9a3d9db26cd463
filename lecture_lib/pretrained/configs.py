"""config.json, read into `ModelConfig` and written from it by one table for both ways (`families`).

A setting that would change the numbers and that our models do not have is refused, never ignored.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lecture_lib.pretrained.families import ACTIVATIONS, FAMILIES, GATED_FORM
from lecture_lib.pretrained.rotary_settings import read_rotary, refuse_sliding_window, write_rotary
from lecture_lib.transformer import GATED, ModelConfig

Json = Mapping[str, Any]
FREE = ("dropout", "init_std")  # matter in training only; a family may have no place for them


def read_config(theirs: Json) -> tuple[ModelConfig, ...]:
    """Read a config.json.

    Args:
        theirs: its content.

    Returns:
        Our config; for a translator those of its encoder and of its decoder.

    Raises:
        ValueError: a family or a setting that is not supported, or a setting that is missing or makes no
            sense.
    """
    family = FAMILIES.get(theirs.get("model_type"))
    if family is None:
        raise ValueError(
            f"models of type {theirs.get('model_type')!r} are not supported, only {', '.join(FAMILIES)}"
        )
    for name, value in family.supported.items():
        if theirs.get(name, value) != value:
            raise ValueError(f"{name}={theirs[name]!r} is not supported, only {value!r}")
    rotary = family.fixed.get("positions") == "rotary"
    if rotary:
        refuse_sliding_window(theirs)
    configs = []
    given = {name: value for name, value in theirs.items() if value is not None}
    for names in family.names:
        lost = [name for name in names.values() if name not in given and name not in family.missing]
        if lost:
            raise ValueError(f"the setting {lost[0]!r} is missing")
        values = {ours: given.get(name, family.missing.get(name)) for ours, name in names.items()}
        values["activation"] = read_activation(values["activation"], gated=rotary)
        if values["vocab_size"] is None:  # one vocabulary for source and target
            values["vocab_size"] = theirs["vocab_size"]
        configs.append(ModelConfig(**family.fixed, **values, **(read_rotary(theirs) if rotary else {})))
    return tuple(configs)


def write_config(family_name: str, configs: tuple[ModelConfig, ...]) -> dict[str, Any]:
    """Write a config.json: the inverse of `read_config`.

    Args:
        family_name: key of `FAMILIES`.
        configs: our config, or those of an encoder and a decoder.

    Returns:
        Its content, but for the architecture and the tokens that have a role.

    Raises:
        ValueError: the family has no place for a choice of ours.
    """
    family = FAMILIES[family_name]
    theirs: dict[str, Any] = {"model_type": family_name} | dict(family.supported)
    for names, config in zip(family.names, configs, strict=True):
        theirs |= {name: getattr(config, ours) for ours, name in names.items()}
        plain = GATED.get(config.activation, config.activation)
        theirs[names["activation"]] = "gelu_new" if plain == "gelu_tanh" else plain
        if config.positions == "rotary":
            theirs |= write_rotary(config)
    if family_name == "bert" and not configs[0].n_segments:
        raise ValueError("a Hugging Face bert cannot have n_segments=0, only 1 or more")
    for ours, back in zip(configs, read_config(theirs), strict=True):
        for name, value in dataclasses.asdict(ours).items():
            if name not in FREE and value != dataclasses.asdict(back)[name]:
                raise ValueError(
                    f"a Hugging Face {family_name} cannot have {name}={value!r}, only {getattr(back, name)!r}"
                )
    return theirs


def read_activation(name: object, gated: bool) -> str:
    """Translate the name of an activation.

    Args:
        name: their name.
        gated: whether the feed-forward network is gated.

    Returns:
        Our name.

    Raises:
        ValueError: the activation is not known here.
    """
    ours = ACTIVATIONS.get(name) if isinstance(name, str) else None
    ours = GATED_FORM.get(ours) if gated else ours
    if ours is None:
        raise ValueError(f"the activation {name!r} is not supported{' in a gated network' if gated else ''}")
    return ours
