"""Quantize the linear layers of a model: round-to-nearest, GPTQ, AWQ or FP8.

Axes: N rows of a weight (output features), K columns (input features).
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lecture_lib.fields import choice, whole
from lecture_lib.packed import PackedLinear
from lecture_lib.quantization.awq import awq_scale, scaled
from lecture_lib.quantization.calibration import Batch, second_moments
from lecture_lib.quantization.gptq import gptq_quantize
from lecture_lib.quantization.integers import dequantize
from lecture_lib.quantization.linear import QuantizedLinear
from lecture_lib.quantization.scheme import Scheme

METHODS = ("rtn", "gptq", "awq", "fp8")


def quantize_model(
    model: nn.Module,
    bits: int,
    group_size: int | None = None,
    method: str = "rtn",
    calibration: Iterable[Batch] | Batch | None = None,
    *,
    symmetric: bool | None = None,
    per_tensor: bool = False,
    skip: str | Sequence[str] = (),
    activations: int | None = None,
    include_tied: bool = False,
    act_order: bool = True,
    layers_per_pass: int | None = None,
    compute_dtype: torch.dtype | None = None,
    progress: bool = True,
) -> nn.Module:
    """Replace every linear layer by a `QuantizedLinear`: W to codes of `bits` bits. Works in place.

    Layers are nn.Linear and the Conv1D of transformers' GPT-2. Embeddings stay as they are, and so does a head
    that shares its weight with them, unless `include_tied` (the head then gets codes of its own: faster, not
    smaller). The projections inside nn.MultiheadAttention are not layers and stay.

    For speed on a CPU run 8 bits without groups, or 4 bits in groups of 32, 64 or 128, in bfloat16 (the model, or
    `compute_dtype`). Other combinations rebuild the weights at every call. `activations=8` rounds the inputs of the
    layers too (8-bit weights and activations): faster again on x86, less exact where a few features are loud.

    Args:
        model: any module; changed in place. If an argument is refused, nothing has been changed.
        bits: bits per code, 2 to 8.
        group_size: input features that share a scale, a divisor of every layer's; None: a row.
        method: "rtn" (round to nearest), "gptq", "awq", or "fp8" (8-bit floats).
        calibration: for gptq and awq, batches of model inputs: ids (B, N), tuples or dicts of arguments.
        symmetric: absmax grids; False: affine grids; None: absmax for 8 bits, affine below.
        per_tensor: one scale for a whole weight.
        skip: layers to leave, by name, end of a name, or module around them: "lm_head", "layers.0".
        activations: 8: inputs of the layers in 8 bits as well, each token on a grid of its own; None: weights only.
        include_tied: whether to quantize layers whose weight is used elsewhere too.
        act_order: GPTQ rounds the columns with the largest inputs first.
        layers_per_pass: layers calibrated together, (K, K) float32 each; the next ones see what they give. None: all.
        compute_dtype: dtype of the products; None: that of the activations.
        progress: show a progress bar.

    Returns:
        The same model, or the new layer if the model was a single linear layer.

    Raises:
        ValueError: bits, method or group size that do not fit, no calibration where it is needed, nothing to
            quantize, a model that is quantized already, weights without values (meta device, NaN, infinity).
    """
    scheme = _scheme(bits, group_size, method, symmetric, per_tensor, activations)
    batches = _batches(method, calibration)
    layers = _layers(model, skip, include_tied)
    for name, layer in layers.items():
        _check_layer(name, layer, scheme)
    passes = _passes(list(layers), layers_per_pass)
    with tqdm(total=len(layers), desc=f"{method} {bits} bits", disable=not progress, unit="layer") as bar:
        for names in passes:
            moments = (
                second_moments(model, {n: layers[n] for n in names}, batches, progress) if batches else {}
            )
            _warn_unreached(set(names) - set(moments) if batches else set())
            for name in names:
                new = _quantized(layers[name], scheme, method, moments.pop(name, None), act_order)
                new.compute_dtype = compute_dtype
                model = replace_layer(model, layers[name], new)
                bar.update()
    return model


def stored_bytes(model: nn.Module) -> int:
    """Bytes of everything that saving the model would write; a tensor with two names counts once."""
    tensors = {(t.data_ptr() or id(t), t.shape): t.nbytes for t in model.state_dict(keep_vars=True).values()}
    return sum(tensors.values())


def linear_weight(layer: nn.Module) -> Tensor | None:
    """The weight of a linear layer as torch stores it, (N, K); None if the module is no plain linear layer.

    Subclasses may use their weight in other ways (those of nn.MultiheadAttention do) and are none.
    """
    if type(layer) in (nn.Linear, PackedLinear):
        return layer.weight
    if type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):  # transformers' GPT-2 stores (K, N)
        return layer.weight.T
    return None


def replace_layer(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Put a new layer wherever the old one is used (it may have several names); give the model, or `new` for it."""
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child is old:
                setattr(parent, name, new)
    return new if model is old else model


def _scheme(
    bits: int,
    group_size: int | None,
    method: str,
    symmetric: bool | None,
    per_tensor: bool,
    activations: int | None,
) -> Scheme:
    choice("method", method, METHODS)
    if symmetric is None:
        symmetric = bool(bits == 8)  # a NumPy integer compares to no bool of Python
    return Scheme(bits, group_size, symmetric, per_tensor, method == "fp8", activations)


def _batches(method: str, calibration: Iterable[Batch] | Batch | None) -> list[Batch]:
    """The batches as a list (they may be run several times); empty for methods that look at weights only."""
    if method not in ("gptq", "awq"):
        return []
    if isinstance(calibration, Tensor | Mapping):
        calibration = [calibration]
    batches = list(calibration or ())
    if not batches:
        raise ValueError(f"{method} needs calibration: pass a list of model inputs, e.g. ids (B, N)")
    return batches


def _layers(model: nn.Module, skip: str | Sequence[str], include_tied: bool) -> dict[str, nn.Module]:
    if any(isinstance(module, QuantizedLinear) for module in model.modules()):
        raise ValueError("the model is quantized already: start again from the float model")
    layers = {name: module for name, module in model.named_modules() if linear_weight(module) is not None}
    skip = (skip,) if isinstance(skip, str) else skip
    tied = set() if include_tied else _tied(model, layers)
    skipped = {name for pattern in skip for name in _matching(pattern, layers)}
    kept = {name: layer for name, layer in layers.items() if name not in tied | skipped}
    if not kept:
        none = f"{type(model).__name__} has no linear layers"
        found = f"all linear layers are skipped or tied: {', '.join(layers)}"
        raise ValueError(f"nothing to quantize: {found if layers else none}")
    return kept


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Names that are the pattern, end in it, or lie below it."""
    found = [name for name in names if f".{pattern}." in f".{name}."]
    if not found:
        raise ValueError(f"skip={pattern!r} names no linear layer; there are {', '.join(names)}")
    return found


def _tied(model: nn.Module, layers: Mapping[str, nn.Module]) -> set[str]:
    """Names of the layers whose weight is also a parameter of another module."""
    owners: dict[int, set[int]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(id(module))
    return {name for name, layer in layers.items() if len(owners[id(layer.weight)]) > 1}


def _check_layer(name: str, layer: nn.Module, scheme: Scheme) -> None:
    W = linear_weight(layer)
    if W.is_meta:
        raise ValueError(f"{name} has no values yet (meta device): load the weights first")
    if not torch.isfinite(W).all():
        raise ValueError(f"the weights of {name} hold NaN or infinity")
    if scheme.group_size is not None and W.shape[1] % scheme.group_size:
        raise ValueError(f"group_size={scheme.group_size} does not divide the {W.shape[1]} inputs of {name}")


def _passes(names: list[str], size: int | None) -> list[list[str]]:
    size = len(names) if size is None else whole("layers_per_pass", size, 1)
    return [names[i : i + size] for i in range(0, len(names), size)]


def _warn_unreached(names: set[str]) -> None:
    if names:
        listed = ", ".join(sorted(names)[:4])
        warnings.warn(f"calibration never reached {listed}: rounded to nearest instead", stacklevel=3)


@torch.no_grad()
def _quantized(
    layer: nn.Module, scheme: Scheme, method: str, H: Tensor | None, act_order: bool
) -> QuantizedLinear:
    W, s = linear_weight(layer).detach().contiguous(), None
    if method == "awq" and H is not None:
        s = awq_scale(W, H, lambda scaled: _there_and_back(scaled, scheme))
        W = scaled(W, s)
    if method == "gptq" and H is not None:
        scale, zero_point = scheme.grid(W)
        q = gptq_quantize(W, H, scale, zero_point, scheme.bits, act_order)
    else:
        q, scale, zero_point = scheme.codes(W)
    return QuantizedLinear.from_codes(q, scale, zero_point, scheme, bias=layer.bias, channel_scale=s)


def _there_and_back(W: Tensor, scheme: Scheme) -> Tensor:
    return dequantize(*scheme.codes(W))
