"""Save and load a quantized model: one safetensors file with the schemes as JSON in its header.

One file is replaced in one step, so a reader finds the old model or the new one, never a mixture.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lecture_lib.files import atomic_write
from lecture_lib.quantization.linear import QuantizedLinear
from lecture_lib.quantization.model import linear_weight, replace_layer
from lecture_lib.quantization.scheme import Scheme

FILE = "quantized.safetensors"
KEY = "lecture_lib.quantization"
DTYPES = {
    None: None,
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def save_quantized(model: nn.Module, folder: str | os.PathLike) -> None:
    """Write all tensors of the model and the schemes of its quantized layers to `folder`/quantized.safetensors.

    Raises:
        ValueError: the model has no quantized layer.
        OSError: the folder cannot be written; an older file in it is left whole.
    """
    layers = {n: m for n, m in model.named_modules(remove_duplicate=False) if isinstance(m, QuantizedLinear)}
    if not layers:
        raise ValueError("the model has no quantized layer: call quantize_model first")
    tensors, tied = _distinct(model.state_dict())
    header = {"layers": {name: _description(layer) for name, layer in layers.items()}, "tied": tied}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / FILE, failures=(SafetensorError,)) as part:
        save_file(tensors, part, metadata={KEY: json.dumps(header)})


def load_quantized(model: nn.Module, folder: str | os.PathLike) -> nn.Module:
    """Fill a float model of the same architecture with what `save_quantized` wrote.

    Args:
        model: the skeleton, with any weights or none (meta device); changed in place, unless the file is refused.
        folder: holds `quantized.safetensors`.

    Returns:
        The model, quantized, with the dtypes of the file, on the skeleton's device (CPU for a meta skeleton).

    Raises:
        FileNotFoundError: no such file in the folder.
        ValueError: a damaged or foreign file, or one of another architecture.
    """
    header, tensors = _read(Path(folder) / FILE, _device(model))
    layers = {name: _layer(model, name, about, tensors) for name, about in header["layers"].items()}
    _check_names(model, layers, tensors)
    for old, new in layers.values():
        model = replace_layer(model, old, new)
    model.load_state_dict(tensors, assign=True)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, first in header["tied"].items():
        if name in parameters and first in parameters:
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, parameters[first])
    return model


def _distinct(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor once, and for every further name of a tensor its first name."""
    first: dict[tuple, str] = {}
    tensors, tied = {}, {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name
        if first.setdefault(key, name) == name:
            tensors[name] = tensor.contiguous()
        else:
            tied[name] = first[key]
    return tensors, tied


def _description(layer: QuantizedLinear) -> dict:
    dtype = None if layer.compute_dtype is None else str(layer.compute_dtype).removeprefix("torch.")
    return {"scheme": asdict(layer.scheme), "compute_dtype": dtype}


def _device(model: nn.Module) -> str:
    parameter = next(model.parameters(), None)
    return "cpu" if parameter is None or parameter.is_meta else str(parameter.device)


def _read(path: Path, device: str) -> tuple[dict, dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"no quantized model in {path.parent}: expected {FILE}, as save_quantized writes it"
        )
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
        tensors |= {name: tensors[first] for name, first in header["tied"].items()}
        return {"layers": dict(header["layers"]), "tied": header["tied"]}, tensors
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): save the model again") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} was not written by save_quantized: its header lacks the schemes") from error


def _layer(
    model: nn.Module, name: str, about: dict, tensors: dict[str, Tensor]
) -> tuple[nn.Module, QuantizedLinear]:
    """The float layer of the skeleton and the quantized one from the file."""
    old = dict(model.named_modules(remove_duplicate=False)).get(name)
    W = None if old is None else linear_weight(old)
    if W is None:
        raise ValueError(f"the file has a quantized layer {name!r}; this model has no linear layer there")
    prefix = f"{name}." if name else ""
    parts = {
        part: tensors.get(f"{prefix}{part}")
        for part in ("packed", "scale", "zero_point", "bias", "channel_scale")
    }
    try:
        scheme, dtype = Scheme(**about["scheme"]), DTYPES[about["compute_dtype"]]
        new = QuantizedLinear(
            parts["packed"],
            parts["scale"],
            parts["zero_point"],
            W.shape[1],
            scheme,
            None if parts["bias"] is None else nn.Parameter(parts["bias"]),
            parts["channel_scale"],
            dtype,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the description of {name!r} in the file is damaged") from error
    if new.out_features != W.shape[0] or (new.bias is None) != (old.bias is None):
        raise ValueError(f"{name!r} is {new} in the file, but {old} in this model")
    return old, new


def _check_names(model: nn.Module, layers: dict[str, tuple], tensors: dict[str, Tensor]) -> None:
    """Everything outside the quantized layers must be in both, with the same shape."""
    states = (tensors, model.state_dict())
    parts = [{n: t.shape for n, t in state.items() if n.rpartition(".")[0] not in layers} for state in states]
    odd = sorted(name for name in parts[0] | parts[1] if parts[0].get(name) != parts[1].get(name))
    if odd:
        there, here = (tuple(part[odd[0]]) if odd[0] in part else "missing" for part in parts)
        found = f"{odd[0]} is {there} in the file, {here} here ({len(odd)} tensors differ)"
        raise ValueError(f"the file is of another model: {found}")
