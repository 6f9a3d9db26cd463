"""Adapt a model with the files of `save_lora` or peft; nothing in them is executed.

Source: peft, "PEFT checkpoint format".
"""

import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lecture_lib.lora.config import CONFIG_FILE, PREFIX, WEIGHTS_FILE, AdapterConfig, read_config
from lecture_lib.lora.layer import LoRALinear, check_matrices, check_strength, is_linear
from lecture_lib.lora.model import check_free_of_lora, install, near_names

MATRIX = re.compile(r"(?P<layer>.+)\.(?P<matrix>lora_[AB])\.weight")


def load_lora(model: nn.Module, folder: str | os.PathLike[str]) -> nn.Module:
    """Adapt a model with an adapter that `save_lora` or peft wrote; the rest of the model is frozen.

    Args:
        model: the model that the adapter was trained on; changed in place only if everything fits.
        folder: with adapter_config.json and adapter_model.safetensors.

    Returns:
        The same model; the updates are trainable and have dtype and device of the layers they adapt.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: a damaged file, an option that is not supported, an adapter for another model, a model
            that has LoRA already.
    """
    folder = Path(folder)
    check_free_of_lora(model)
    config = read_config(_existing(folder, CONFIG_FILE))
    tensors = _read_tensors(_existing(folder, WEIGHTS_FILE))
    matches = {key: MATRIX.fullmatch(key) for key in tensors}
    names = list(dict.fromkeys(match["layer"] for match in matches.values() if match))
    if not names:
        raise ValueError(f"{folder / WEIGHTS_FILE} holds no LoRA matrices")
    for name in names:
        _check_fits(model, name, tensors, config, folder)
    others = {key: tensor for key, tensor in tensors.items() if not matches[key]}
    targets = {key: _stored_in_full(model, key, tensor, folder) for key, tensor in others.items()}
    install(model, {name: _adapted(model, name, tensors, config) for name in names})
    with torch.no_grad():
        for key, target in targets.items():
            target.copy_(others[key])
            if isinstance(target, nn.Parameter):
                target.requires_grad_(any(f".{module}." in f".{key}" for module in config.modules_to_save))
    return model


def _check_fits(
    model: nn.Module, name: str, tensors: dict[str, Tensor], config: AdapterConfig, folder: Path
) -> None:
    """ValueError unless the model has this layer and the file has two matrices that fit it."""
    modules = dict(model.named_modules())
    if name not in modules or not is_linear(modules[name]):
        linear = [other for other, module in modules.items() if other and is_linear(module)]
        raise ValueError(
            f"the adapter in {folder} is for another model: {type(model).__name__} has no linear layer {name}"
            f"{near_names(name, linear)}"
        )
    missing = [key for key in _keys(name) if key not in tensors]
    if missing:
        raise ValueError(f"{folder / WEIGHTS_FILE} is incomplete: {missing[0]} is missing")
    lora_A, lora_B = (tensors[key] for key in _keys(name))
    try:
        check_matrices(lora_A, lora_B, modules[name])
        check_strength(config.alpha_of(name), config.lora_dropout)
    except ValueError as error:
        raise ValueError(f"the adapter in {folder} does not fit {name}: {error}") from None
    if len(lora_A) != config.rank_of(name):
        raise ValueError(
            f"{CONFIG_FILE} and {WEIGHTS_FILE} in {folder} do not belong together: "
            f"rank {config.rank_of(name)} against lora_A {tuple(lora_A.shape)} of {name}"
        )


def _adapted(model: nn.Module, name: str, tensors: dict[str, Tensor], config: AdapterConfig) -> LoRALinear:
    """The layer of that name with the two matrices of the file."""
    # Made with rank 1, then given the file's own: peft lets a rank exceed both widths.
    layer = LoRALinear(
        model.get_submodule(name), 1, config.alpha_of(name), config.lora_dropout, config.use_rslora
    )
    layer.set_matrices(*(tensors[key].to(layer.lora_A, copy=True) for key in _keys(name)))
    return layer


def _keys(name: str) -> tuple[str, str]:
    """Names of a layer's two matrices in the file."""
    return f"{name}.lora_A.weight", f"{name}.lora_B.weight"


def _stored_in_full(model: nn.Module, key: str, tensor: Tensor, folder: Path) -> Tensor:
    """The parameter or buffer of the model that a tensor in the file replaces; ValueError if none fits."""
    own = dict(model.named_parameters(remove_duplicate=False)) | dict(
        model.named_buffers(remove_duplicate=False)
    )
    if key not in own or own[key].shape != tensor.shape:
        found = f"has {key} {tuple(own[key].shape)}" if key in own else f"has no {key}"
        raise ValueError(
            f"the adapter in {folder} is for another model: it holds {key} {tuple(tensor.shape)}, "
            f"{type(model).__name__} {found}"
        )
    return own[key]


def _existing(folder: Path, name: str) -> Path:
    """Path of a file of the adapter; FileNotFoundError says what the folder holds instead."""
    if not (folder / name).is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        remark = (
            "; adapter_model.bin is a pickle, which can run code: convert it to safetensors"
            if pickled
            else ""
        )
        raise FileNotFoundError(
            f"no {name} in {folder}: an adapter has {CONFIG_FILE} and {WEIGHTS_FILE}{remark}"
        )
    return folder / name


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of the file by the model's own names; ValueError if it is damaged or not of an adapter."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    strange = next((key for key in tensors if not key.startswith(PREFIX)), None)
    if strange is not None:
        raise ValueError(f"{path} is no adapter of peft: the tensor {strange} does not start with {PREFIX}")
    return {key.removeprefix(PREFIX): tensor for key, tensor in tensors.items()}
