"""Write the updates of a model as an adapter of peft.

A folder holds adapter_config.json (the options) and adapter_model.safetensors: for each adapted layer
`base_model.model.NAME.lora_A.weight` (r, D_in) and `.lora_B.weight` (D_out, r); modules trained in full under
their own names.

Source: peft, "PEFT checkpoint format".
"""

import json
import os
import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from safetensors.torch import save
from torch import nn

from lecture_lib.files import atomic_write
from lecture_lib.lora.config import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from lecture_lib.lora.layer import LoRALinear
from lecture_lib.lora.model import lora_layers


def save_lora(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write the updates of a model, and the modules trained in full beside them, for `load_lora` and peft.

    Args:
        model: with LoRA that is not merged.
        folder: made if it is not there; an adapter in it is replaced only when both new files are complete.

    Raises:
        ValueError: no LoRA in the model, or a trained parameter that peft's format cannot hold.
    """
    layers = lora_layers(model)
    if not layers:
        raise ValueError(
            "nothing to save: the model has no LoRA layers (unmerge_lora(model) brings merged ones back)"
        )
    trained = _modules_trained_in_full(model)
    tensors = {
        f"{name}.{matrix}.weight": getattr(layer, matrix)
        for name, layer in layers.items()
        for matrix in ("lora_A", "lora_B")
    }
    for name in trained:
        tensors |= {f"{name}.{key}": value for key, value in model.get_submodule(name).state_dict().items()}
    # Copies: safetensors stores neither transposed memory nor memory that two tensors share.
    stored = {PREFIX + name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    config = _describe(model, layers, trained)
    _write_together(
        Path(folder),
        {WEIGHTS_FILE: save(stored, {"format": "pt"}), CONFIG_FILE: json.dumps(config, indent=2).encode()},
    )


def _describe(model: nn.Module, layers: dict[str, LoRALinear], trained: list[str]) -> dict[str, object]:
    """The entries of adapter_config.json, read off the layers themselves."""
    ranks = Counter(layer.r for layer in layers.values())
    alphas = Counter(layer.lora_alpha for layer in layers.values())
    (r, _), (lora_alpha, _) = ranks.most_common(1)[0], alphas.most_common(1)[0]
    options = {(layer.lora_dropout, layer.use_rslora) for layer in layers.values()}
    if len(options) > 1:
        raise ValueError(
            f"peft's format has one lora_dropout and one use_rslora for all layers: got {sorted(options)}"
        )
    lora_dropout, use_rslora = options.pop()
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": getattr(getattr(model, "config", None), "_name_or_path", None) or None,
        "r": r,
        "lora_alpha": lora_alpha,
        "lora_dropout": lora_dropout,
        "use_rslora": use_rslora,
        "target_modules": _shortest_targets(model, list(layers)),
        "rank_pattern": {f"^{re.escape(name)}": layer.r for name, layer in layers.items() if layer.r != r},
        "alpha_pattern": {
            f"^{re.escape(name)}": layer.lora_alpha
            for name, layer in layers.items()
            if layer.lora_alpha != lora_alpha
        },
        "modules_to_save": trained or None,
        "fan_in_fan_out": any(type(layer.base_layer).__name__ == "Conv1D" for layer in layers.values()),
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _shortest_targets(model: nn.Module, names: list[str]) -> str | list[str]:
    """`target_modules` that chooses just these layers: last parts of names, names, or an expression."""
    for targets in (sorted({name.rpartition(".")[2] for name in names}), names):
        chosen = {n for n, _ in model.named_modules() if any(n == t or n.endswith(f".{t}") for t in targets)}
        if chosen == set(names):
            return targets
    return "|".join(map(re.escape, names))


def _modules_trained_in_full(model: nn.Module) -> list[str]:
    """Names of the modules with trainable parameters that are no matrices of LoRA."""
    layers = lora_layers(model)
    matrices = {f"{name}.{matrix}" for name in layers for matrix in ("lora_A", "lora_B")}
    modules = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name not in matrices:
            module = name.rpartition(".")[0]
            adapted = any(
                f"{layer}.".startswith(f"{module}.") or module.startswith(f"{layer}.") for layer in layers
            )
            if not module or adapted:
                raise ValueError(
                    f"{name} is trainable, but peft's format cannot hold it beside the updates: "
                    "freeze it with requires_grad_(False)"
                )
            modules[module] = None
    return list(modules)


def _write_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Write all files beside their places, then move them: an interrupted save leaves the old ones alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as drafts:
        for name, content in contents.items():
            drafts.enter_context(atomic_write(folder / name)).write_bytes(content)
