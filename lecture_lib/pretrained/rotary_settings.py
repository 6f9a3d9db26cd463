"""Rotary positions in a config.json: the current `rope_parameters`, the older `rope_theta`, `rope_scaling`.

Source: `transformers.modeling_rope_utils`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lecture_lib.embedding import RotaryScaling
from lecture_lib.transformer import ModelConfig

Json = Mapping[str, Any]


def read_rotary(theirs: Json) -> dict[str, Any]:
    """Read the base of the rotary frequencies and their scaling.

    Args:
        theirs: the content of a config.json.

    Returns:
        The fields rope_theta and rope_scaling of `ModelConfig`.

    Raises:
        ValueError: a kind of scaling that is not supported here.
    """
    rope = {**(theirs.get("rope_scaling") or {}), **(theirs.get("rope_parameters") or {})}
    fraction = rope.get("partial_rotary_factor", theirs.get("partial_rotary_factor", 1.0))
    if fraction != 1:
        raise ValueError(f"partial_rotary_factor={fraction!r} is not supported, only 1.0")
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = float(rope.get("rope_theta", theirs.get("rope_theta", 10_000.0)))
    if kind == "default":
        scaling = None
    elif kind == "linear":
        scaling = RotaryScaling(float(rope["factor"]))
    elif kind == "llama3":
        original = rope.get("original_max_position_embeddings") or theirs["max_position_embeddings"]
        numbers = (float(rope[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
        scaling = RotaryScaling(*numbers, original)
    else:
        raise ValueError(f"rotary scaling of type {kind!r} is not supported, only default, linear and llama3")
    return {"rope_theta": theta, "rope_scaling": scaling}


def write_rotary(config: ModelConfig) -> dict[str, Any]:
    """Write the base of the rotary frequencies and their scaling, in both forms.

    Args:
        config: our config.

    Returns:
        Entries of a config.json.
    """
    scaling = None
    if config.rope_scaling is not None:
        numbers = {k: v for k, v in dataclasses.asdict(config.rope_scaling).items() if v is not None}
        scaling = {"rope_type": "linear" if len(numbers) == 1 else "llama3", **numbers}
    current = {"rope_theta": config.rope_theta, **(scaling or {"rope_type": "default"})}
    return {"rope_parameters": current, "rope_theta": config.rope_theta, "rope_scaling": scaling}


def refuse_sliding_window(theirs: Json) -> None:
    """Refuse a config whose layers see only the last tokens, if its texts can be longer than that.

    Args:
        theirs: the content of a config.json.

    Raises:
        ValueError: some layer's window is shorter than the context.
    """
    window = theirs.get("sliding_window") if theirs.get("use_sliding_window", False) else None
    if window is None or window >= theirs["max_position_embeddings"]:
        return
    from_layer = theirs.get("max_window_layers", 0)
    kinds = theirs.get("layer_types") or ["sliding_attention"] * (theirs["num_hidden_layers"] - from_layer)
    if "sliding_attention" in kinds:
        raise ValueError(f"layers that see only the last tokens (sliding_window={window}) are not supported")
