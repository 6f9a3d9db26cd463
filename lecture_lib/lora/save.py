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
from lecture_lib.lora.names import all_modules, is_transposed, our_names, their_names
from lecture_lib.wrapped import unwrapped


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
        raise ValueError(
            "nothing to save: the model has no LoRA layers (unmerge_lora(model) brings merged ones back)"
        )
    updates, in_full = _updates(model), _trained_in_full(model)
    tensors = {}
    for name, update in updates.items():
        endings = ("lora_embedding_A", "lora_embedding_B") if name in _tables(model) else (
            "lora_A.weight", "lora_B.weight"
        )  # fmt: skip
        tensors |= zip((f"{name}.{end}" for end in endings), (update.lora_A, update.lora_B), strict=True)
    tensors |= in_full
    # Copies: safetensors stores neither transposed memory nor memory that two tensors share.
    stored = {PREFIX + name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    modules = sorted({key.rpartition(".")[0] for key in in_full})
    config = _describe(model, updates, modules)
    _write_together(
        Path(folder),
        {WEIGHTS_FILE: save(stored, {"format": "pt"}), CONFIG_FILE: json.dumps(config, indent=2).encode()},
    )


def _updates(model: nn.Module) -> dict[str, Update]:
    """The update of every layer that has one, by its name in the file."""
    modules, updates = all_modules(model), {}
    for name, paths in our_names(model).items():
        layers = [modules[path] if isinstance(modules[path], LoRALayer) else None for path in paths]
        if any(layers):
            updates[name] = joined(layers, [len(modules[path].weight) for path in paths] if paths[1:] else [])
    first: dict[int, str] = {}
    for path, module in modules.items():  # a layer with two names stands in the file once
        first.setdefault(id(module), their_names(model).get(path, path))
    return {name: update for name, update in updates.items() if name in first.values()}


def _tables(model: nn.Module) -> set[str]:
    """Names in the file of the adapted tables."""
    theirs = their_names(model)
    return {theirs.get(n, n) for n, layer in lora_layers(model).items() if isinstance(layer, LoRAEmbedding)}


def _describe(model: nn.Module, updates: dict[str, Update], in_full: list[str]) -> dict[str, object]:
    """The entries of adapter_config.json, read off the layers themselves."""
    layers = lora_layers(model)
    ranks = {name: len(update.lora_A) for name, update in updates.items()}
    alphas = {name: update.lora_alpha for name, update in updates.items()}
    r, lora_alpha = (Counter(numbers.values()).most_common(1)[0][0] for numbers in (ranks, alphas))
    options = {(layer.lora_dropout, layer.use_rslora) for layer in layers.values()}
    if len(options) > 1:
        raise ValueError(
            f"peft's format has one lora_dropout and one use_rslora for all layers: got {sorted(options)}"
        )
    lora_dropout, use_rslora = options.pop()
    bases = [layer.base_layer for layer in layers.values()]
    in_out = any(type(base).__name__ == "Conv1D" for base in bases)
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": getattr(getattr(model, "config", None), "_name_or_path", None) or None,
        "r": r,
        "lora_alpha": lora_alpha,
        "lora_dropout": lora_dropout,
        "use_rslora": use_rslora,
        "target_modules": _shortest_targets(model, list(updates)),
        "rank_pattern": {f"^{re.escape(name)}": rank for name, rank in ranks.items() if rank != r},
        "alpha_pattern": {f"^{re.escape(n)}": alpha for n, alpha in alphas.items() if alpha != lora_alpha},
        "modules_to_save": in_full or None,
        "fan_in_fan_out": in_out or any(is_transposed(model, f"{name}.weight") for name in updates),
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _shortest_targets(model: nn.Module, names: list[str]) -> str | list[str]:
    """`target_modules` that chooses just these layers: last parts of names, names, or an expression."""
    known = our_names(model)
    for targets in (sorted({name.rpartition(".")[2] for name in names}), names):
        chosen = {n for n in known if any(n == t or n.endswith(f".{t}") for t in targets)}
        if chosen == set(names):
            return targets
    return "|".join(map(re.escape, names))


def _trained_in_full(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the modules with trainable parameters that are no matrices of LoRA, as a file names them."""
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
                    f"{name} is trainable, but peft's format cannot hold it beside the updates: "
                    "freeze it with requires_grad_(False)"
                )
            modules[module] = None
    return _as_stored(model, list(modules))


def _as_stored(model: nn.Module, modules: list[str]) -> dict[str, Tensor]:
    """Their tensors of whole modules of ours."""
    theirs, known, tensors = their_names(model), our_names(model), {}
    for path in modules:
        name = theirs.get(path, path)
        parts = known[name] if path in theirs else [path]
        if not set(parts) <= set(modules):
            raise ValueError(
                f"{path} is trained in full, but the family keeps {', '.join(parts)} in one: train all of them so, "
                "or none"
            )
        for key in model.get_submodule(path).state_dict():
            whole = torch.cat([model.get_submodule(part).state_dict()[key] for part in parts])
            stored = f"{name}.{key}"
            tensors[stored] = whole.t() if is_transposed(model, stored) else whole
    return tensors


def _write_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Write all files beside their places, then move them: an interrupted save leaves the old ones alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as drafts:
        for name, content in contents.items():
            drafts.enter_context(atomic_write(folder / name)).write_bytes(content)
