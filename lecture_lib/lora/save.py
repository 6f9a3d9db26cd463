"""Write the updates of a model as an adapter of peft.

A folder holds adapter_config.json (the options) and adapter_model.safetensors: for each adapted layer
`base_model.model.NAME.lora_A.weight` (r, D_in) and `.lora_B.weight` (D_out, r), for a table `.lora_embedding_A`
and `_B`; modules trained in full under their own names. Names are those of the family's checkpoints, so that the
adapter fits the model of transformers; a model of no family keeps its own.

Source: peft, "PEFT checkpoint format".
"""

import json
import os
import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from lecture_lib.files import atomic_write
from lecture_lib.lora.config import CONFIG_FILE, PREFIX, WEIGHTS_FILE
from lecture_lib.lora.fused import Update, joined
from lecture_lib.lora.layer import LoRAEmbedding, LoRALayer
from lecture_lib.lora.model import lora_layers
from lecture_lib.lora.names import Names
from lecture_lib.weights import unwrapped


def save_lora(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write the updates of a model, and the modules trained in full beside them, for `load_lora` and peft.

    Args:
        model: with LoRA that is not merged.
        folder: made if it is not there; an adapter in it is replaced only when both new files are complete.

    Raises:
        ValueError: no LoRA in the model, or a trained parameter that peft's format cannot hold.
    """
    model = unwrapped(model)
    if not lora_layers(model):
        raise ValueError("nothing to save: no LoRA layers (unmerge_lora(model) brings merged ones back)")
    names = Names(model)
    updates, tensors = _updates(names), _as_stored(names, _trained_in_full(model))
    in_full = sorted({key.rpartition(".")[0] for key in tensors})
    for name, update in updates.items():
        is_table = isinstance(names.modules[names.ours[name][0]], LoRAEmbedding)
        ends = ("lora_embedding_A", "lora_embedding_B") if is_table else ("lora_A.weight", "lora_B.weight")
        tensors |= {f"{name}.{ends[0]}": update.A, f"{name}.{ends[1]}": update.B}
    # Copies: safetensors stores neither transposed memory nor memory that two tensors share.
    stored = {PREFIX + name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    config = _describe(names, updates, in_full)
    _write_together(
        Path(folder),
        {WEIGHTS_FILE: save(stored, {"format": "pt"}), CONFIG_FILE: json.dumps(config, indent=2).encode()},
    )


def _updates(names: Names) -> dict[str, Update]:
    """The update of every layer that has one, by its name in the file; one with two names once."""
    updates, seen = {}, set()
    for name, paths in names.ours.items():
        modules = [names.modules[path] for path in paths]
        layers = [module if isinstance(module, LoRALayer) else None for module in modules]
        if any(layers) and not seen & set(layers):
            updates[name] = joined(layers, [module.out_features for module in modules])
        seen |= set(filter(None, layers))
    return updates


def _describe(names: Names, updates: dict[str, Update], in_full: list[str]) -> dict[str, object]:
    """The entries of adapter_config.json, read off the layers themselves."""
    layers = lora_layers(names.model)
    ranks = {name: len(update.A) for name, update in updates.items()}
    alphas = {name: update.lora_alpha for name, update in updates.items()}
    r, lora_alpha = (Counter(numbers.values()).most_common(1)[0][0] for numbers in (ranks, alphas))
    options = {(layer.lora_dropout, layer.use_rslora) for layer in layers.values()}
    if len(options) > 1:
        raise ValueError(
            f"peft has one lora_dropout and one use_rslora for all layers: got {sorted(options)}"
        )
    lora_dropout, use_rslora = options.pop()
    bases = [layer.base_layer for layer in layers.values()]
    in_out = any(type(base).__name__ == "Conv1D" for base in bases)
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": getattr(getattr(names.model, "config", None), "_name_or_path", None)
        or None,
        "r": r,
        "lora_alpha": lora_alpha,
        "lora_dropout": lora_dropout,
        "use_rslora": use_rslora,
        "target_modules": _shortest_targets(names, list(updates)),
        "rank_pattern": {f"^{re.escape(name)}": rank for name, rank in ranks.items() if rank != r},
        "alpha_pattern": {f"^{re.escape(n)}": alpha for n, alpha in alphas.items() if alpha != lora_alpha},
        "modules_to_save": in_full or None,
        "fan_in_fan_out": in_out or any(names.is_transposed(f"{name}.weight") for name in updates),
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _shortest_targets(names: Names, chosen: list[str]) -> str | list[str]:
    """`target_modules` that chooses just these layers: last parts of names, names, or an expression."""
    known = set(names.ours)
    if names.family is not None:  # their model may have parts that ours has not, such as a pooler
        known |= {name.replace("#", "0") for name in names.family.modules.values()}
    for targets in (sorted({name.rpartition(".")[2] for name in chosen}), chosen):
        if {n for n in known if any(f".{n}".endswith(f".{t}") for t in targets)} == set(chosen):
            return targets
    return "|".join(map(re.escape, chosen))


def _trained_in_full(model: nn.Module) -> list[str]:
    """Our paths of the modules with trainable parameters that are no matrices of LoRA."""
    layers, modules = lora_layers(model), {}
    matrices = {id(matrix) for layer in layers.values() for matrix in (layer.lora_A, layer.lora_B)}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter.requires_grad and id(parameter) not in matrices:
            module = name.rpartition(".")[0]
            adapted = any(
                f"{layer}.".startswith(f"{module}.") or module.startswith(f"{layer}.") for layer in layers
            )
            if not module or adapted:
                raise ValueError(
                    f"{name} is trainable, but peft's format cannot hold it; freeze it: requires_grad_(False)"
                )
            modules[module] = None
    return list(modules)


def _as_stored(names: Names, modules: list[str]) -> dict[str, Tensor]:
    """Whole modules of ours as a file holds them."""
    tensors = {}
    for path in modules:
        _, name = names.of(path)
        parts = names.ours[name]
        if not set(parts) <= set(modules):
            raise ValueError(
                f"{path} is trained in full, but the family keeps {', '.join(parts)} in one: train all, or none"
            )
        states = [names.modules[part].state_dict() for part in parts]
        for key, value in states[0].items():
            whole = torch.cat([state[key] for state in states]) if parts[1:] else value
            tensors[f"{name}.{key}"] = whole.t() if names.is_transposed(f"{name}.{key}") else whole
    return tensors


def _write_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Write all files beside their places, then move them: an interrupted save leaves the old ones alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as drafts:
        for name, content in contents.items():
            drafts.enter_context(atomic_write(folder / name)).write_bytes(content)
