r"""Many adapters on one model: each row of a batch goes through its own update, $y_r = x_r W_0 + s_a\, x_r A_a B_a$ with a = a(r).

The large product is one for all rows; the two small ones take each row's matrices, filled up with zeros to the largest rank. A
row without an adapter has the update 0, and so has an adapter in a layer that it leaves alone.

Source: Chen et al. (2023), "Punica: Multi-Tenant LoRA Serving"; Hu et al. (2021).
Axes: R rows, N tokens, n adapters, r largest rank, D_in and D_out widths of a layer.
"""

import copy
import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lecture_lib.lora import LoRALayer, load_lora, lora_layers
from lecture_lib.quantization.model import replace_layer


class Adapters:
    """A model with several adapters, and which of them each row of the next forward takes.

    The model that is given stays as it is: the `model` here has layers of its own on the same weights. Without adapters it is the
    same one.

    Args:
        model: without LoRA; its weights may be quantized.
        folders: each adapter's name and the folder that `save_lora` or peft wrote.

    Raises:
        ValueError: an adapter for another model, one that replaces whole modules, a model that has LoRA already.
    """

    def __init__(self, model: nn.Module, folders: Mapping[str, str | os.PathLike[str]]) -> None:
        self.names = list(folders)
        self.rows = torch.empty(0, dtype=torch.int64)  # (R,) 0: none; a: the a-th name
        self.in_use = False  # whether any row has one
        self.model = twin(model) if folders else model
        found = [loaded(model, name, folder) for name, folder in folders.items()]
        for path in dict.fromkeys(path for layers in found for path in layers):
            base_layer = self.model.get_submodule(path)
            layer = AdaptedRows(base_layer, [layers.get(path) for layers in found], self)
            replace_layer(self.model, base_layer, layer)

    def choose(self, names: Sequence[str | None], device: torch.device) -> None:
        """Say the adapter of each row of the next forward; None: the model itself."""
        self.in_use = any(name is not None for name in names)
        if not self.in_use:
            return
        numbers = [0 if name is None else 1 + self.names.index(name) for name in names]
        self.rows = torch.tensor(numbers, device=device)


class AdaptedRows(nn.Module):
    """A layer, linear or a table, with the updates of several adapters.

    Args:
        base_layer: maps (R, N, D_in) or (R, D_in) linearly, or looks (R, N) ids up.
        layers: the layer that each adapter has in this place; None: it has none.
        chosen: says which of them the rows take.
    """

    def __init__(self, base_layer: nn.Module, layers: Sequence[LoRALayer | None], chosen: Adapters) -> None:
        super().__init__()
        self.base_layer, self.chosen = base_layer, (chosen,)  # in a tuple: it is no part of this module
        known = [layer for layer in layers if layer is not None]
        r, first = max(layer.r for layer in known), known[0]
        self.is_table = isinstance(base_layer, nn.Embedding)
        dtype = max((layer.lora_A.dtype for layer in known), key=lambda each: each.itemsize)
        A = torch.zeros(1 + len(layers), r, first.in_features, dtype=dtype, device=first.lora_A.device)
        B = torch.zeros(1 + len(layers), first.out_features, r, dtype=dtype, device=first.lora_A.device)
        for i, layer in enumerate(layers, 1):
            if layer is not None:
                A[i, : layer.r] = layer.lora_A.detach()
                B[i, :, : layer.r] = layer.scaling * layer.lora_B.detach()
        self.register_buffer("A", A)  # (1 + n, r, D_in), the first of them 0
        self.register_buffer("B", B)  # (1 + n, D_out, r)

    def forward(self, X: Tensor) -> Tensor:
        """Apply the layer and each row's update: (R, ..., D_out) in the dtype of the layer's outputs."""
        Y, rows = self.base_layer(X), self.chosen[0].rows
        if not self.chosen[0].in_use:
            return Y
        if self.is_table:
            XA = self.A[rows[:, None], :, X] * getattr(self.base_layer, "embed_scale", 1)  # (R, N, r)
        else:
            XA = X.reshape(len(rows), -1, X.shape[-1]).to(self.A.dtype) @ self.A[rows].mT
        update = (XA @ self.B[rows].mT).view(Y.shape)
        return (Y.to(update.dtype) + update).to(Y.dtype)


def twin(model: nn.Module) -> nn.Module:
    """Give a model of the same layers on the very same numbers, whose layers may be replaced."""
    same = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
    return copy.deepcopy(model, same | {id(b): b for b in model.buffers()})


def loaded(model: nn.Module, name: str, folder: str | os.PathLike[str]) -> dict[str, LoRALayer]:
    """Read an adapter: its layers by the paths of ours."""
    adapted = load_lora(twin(model), folder)
    layers = lora_layers(adapted)
    matrices = {id(matrix) for layer in layers.values() for matrix in (layer.lora_A, layer.lora_B)}
    for path, parameter in adapted.named_parameters():
        if parameter.requires_grad and id(parameter) not in matrices:
            raise ValueError(
                f"the adapter {name!r} brings a whole {path.rpartition('.')[0]}: many adapters share all but their updates"
            )
    return layers
