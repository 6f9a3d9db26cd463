"""Adapt a model with the files of `save_lora` or peft; nothing in them is executed.

Source: peft, "PEFT checkpoint format".
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lecture_lib.lora.config import CONFIG_FILE, PREFIX, WEIGHTS_FILE, AdapterConfig, read_config
from lecture_lib.lora.fused import Update, parted
from lecture_lib.lora.layer import LoRALayer, adapted
from lecture_lib.lora.model import check_free_of_lora, install, train_in_full
from lecture_lib.lora.names import Names, near_names
from lecture_lib.lora.shapes import can_be_adapted, check_matrices, linear_shape
from lecture_lib.weights import unwrapped

MATRIX = re.compile(r"(?P<layer>.+)\.lora_(embedding_)?(?P<matrix>[AB])(\.weight)?")


def load_lora(
    model: nn.Module, folder: str | os.PathLike[str], autocast_adapter_dtype: bool = True
) -> nn.Module:
    """Adapt a model with an adapter that `save_lora` or peft wrote; the rest of the model is frozen.

    Args:
        model: the model that the adapter was trained on, ours or that of transformers; changed in place only if
            everything fits.
        folder: with adapter_config.json and adapter_model.safetensors.
        autocast_adapter_dtype: updates in float32 on a model in half precision; False: in its dtype.

    Returns:
        The same model; the updates are trainable, on the devices of the layers they adapt.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: a damaged file, an option that is not supported, an adapter for another model, a model
            that has LoRA already.
    """
    folder, inner = Path(folder), unwrapped(model)
    check_free_of_lora(inner)
    config = read_config(_existing(folder, CONFIG_FILE))
    tensors = _read_tensors(_existing(folder, WEIGHTS_FILE))
    matrices, others = _sorted(tensors)
    if not matrices:
        raise ValueError(f"{folder / WEIGHTS_FILE} holds no LoRA matrices")
    places = Places(inner, folder)
    updates = {}
    for name in matrices:
        updates |= places.updates(name, matrices[name], config)
    values = {}
    for key, tensor in others.items():
        values |= places.values(key, tensor)
    modules = places.names.modules
    layers = [
        _layer(modules[path], update, config, autocast_adapter_dtype) for path, update in updates.items()
    ]
    install(inner, layers)
    in_full = [modules[path] for path in places.in_full(config.modules_to_save, list(others))]
    train_in_full(inner, in_full, config.ensure_weight_tying)
    with torch.no_grad():
        for (path, kind), value in values.items():
            getattr(modules[path], kind).copy_(value)
    return model


def _layer(base_layer: nn.Module, update: Update, config: AdapterConfig, autocast: bool) -> LoRALayer:
    """The layer with the two matrices of the file."""
    # Made with rank 1, then given the file's own: peft lets a rank exceed both widths.
    options = (1, update.lora_alpha, config.lora_dropout, config.use_rslora, None, autocast)
    layer = adapted(base_layer, *options)
    layer.set_matrices(*(matrix.to(layer.lora_A, copy=True) for matrix in (update.A, update.B)))
    return layer


def _sorted(tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """The matrices of each layer, and what else the file holds."""
    matrices: dict[str, dict[str, Tensor]] = {}
    others = {}
    for key, tensor in tensors.items():
        match = MATRIX.fullmatch(key)
        if match:
            matrices.setdefault(match["layer"], {})[match["matrix"]] = tensor
        else:
            others[key.replace(".base_layer.", ".")] = tensor  # an adapted table and what it was trained with
    return matrices, others


class Places:
    """Where the tensors of a file belong in a model, whatever names they have."""

    def __init__(self, model: nn.Module, folder: Path) -> None:
        self.model, self.folder, self.names = model, folder, Names(model)
        self.modules = self.names.modules
        self.paths = {path: [path] for path in self.modules} | self.names.ours  # name in the file: ours

    def updates(self, name: str, matrices: Mapping[str, Tensor], config: AdapterConfig) -> dict[str, Update]:
        """Our path: update, for each of our layers that a layer of the file stands for; ValueError if none fits."""
        missing = [f"{name}.lora_{matrix}.weight" for matrix in "AB" if matrix not in matrices]
        if missing:
            raise ValueError(f"{self.folder / WEIGHTS_FILE} is incomplete: {missing[0]} is missing")
        paths = self.paths.get(name, [])
        if not paths or not all(can_be_adapted(self.modules[path]) for path in paths):
            raise ValueError(self.unknown(name, matrices))
        whole = Update(matrices["A"], matrices["B"], config.alpha_of(name))
        widths = [linear_shape(self.modules[path])[1] for path in paths]
        try:
            parts = (
                [whole] if len(paths) == 1 or whole.B.shape[:1] != (sum(widths),) else parted(whole, widths)
            )
            for path, part in zip(paths, parts, strict=len(paths) == len(parts)):
                check_matrices(part.A, part.B, self.modules[path])
        except ValueError as error:
            raise ValueError(
                f"the adapter in {self.folder} is for another model, it does not fit {name}: {error}"
            ) from None
        if len(whole.A) != config.rank_of(name):
            raise ValueError(
                f"{CONFIG_FILE} and {WEIGHTS_FILE} in {self.folder} do not belong together: "
                f"rank {config.rank_of(name)} against lora_A {tuple(whole.A.shape)} of {name}"
            )
        return dict(zip(paths, parts, strict=True))

    def values(self, key: str, tensor: Tensor) -> dict[tuple[str, str], Tensor]:
        """Our (path, kind): value, for each parameter or buffer that a tensor of the file replaces."""
        name, _, kind = key.rpartition(".")
        paths = self.paths.get(name, [])
        own = [getattr(self.modules[path], kind, None) for path in paths]
        shown = tuple(tensor.shape)
        is_there = bool(paths) and all(isinstance(t, Tensor) for t in own)
        value = tensor.t() if self.names.is_transposed(key) else tensor
        whole = (sum(len(t) for t in own), *own[0].shape[1:]) if is_there else None
        if value.shape != whole:
            raise ValueError(
                f"the adapter in {self.folder} is for another model: it holds {key} {shown}, "
                f"{type(self.model).__name__} has {f'{key} {whole}' if is_there else f'no {key}'}"
            )
        rows = value.split([len(t) for t in own]) if value.ndim else [value]
        return {(path, kind): part for path, part in zip(paths, rows, strict=True)}

    def in_full(self, modules_to_save: list[str], keys: list[str]) -> list[str]:
        """Our paths of the modules of the file that are to be trained in full."""
        names = {key.rpartition(".")[0] for key in keys}
        chosen = [name for name in names if any(f".{module}." in f".{name}." for module in modules_to_save)]
        return [path for name in chosen for path in self.paths[name]]

    def unknown(self, name: str, matrices: Mapping[str, Tensor]) -> str:
        """Say that the model has no layer of that name: it is another one, or has other names for the same."""
        lacks = f"{type(self.model).__name__} has no linear layer {name}"
        known = [n for n, paths in self.paths.items() if all(can_be_adapted(self.modules[p]) for p in paths)]
        for other in known:
            alike = f".{other}".endswith(f".{name}") or f".{name}".endswith(f".{other}")
            widths = [linear_shape(self.modules[path]) for path in self.paths[other]]
            fits = matrices["A"].shape[1:] == (widths[0][0],) and len(matrices["B"]) == sum(
                n for _, n in widths
            )
            if alike and fits:
                return (
                    f"the adapter in {self.folder} has other names: {lacks} and calls what fits it {other}; "
                    "load it on the whole model, or the part of one, that it was trained on"
                )
        return f"the adapter in {self.folder} is for another model: {lacks}{near_names(name, known)}"


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
