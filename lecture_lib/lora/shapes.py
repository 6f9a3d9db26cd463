"""Which layers LoRA can adapt, and which ranks and matrices fit them."""

from torch import Tensor, nn

from lecture_lib.fields import whole


def is_linear(module: nn.Module) -> bool:
    """Whether the module is a linear layer: it has `in_features` and `out_features`, or is GPT-2's `Conv1D`."""
    widths = (getattr(module, "in_features", None), getattr(module, "out_features", None))
    return _is_conv1d(module) or all(isinstance(width, int) and width > 0 for width in widths)


def can_be_adapted(module: nn.Module) -> bool:
    """Whether LoRA has an update for the module: a linear layer or a table of vectors."""
    return is_linear(module) or isinstance(module, nn.Embedding)


def linear_shape(module: nn.Module, found: str = "got") -> tuple[int, int]:
    """(D_in, D_out) of a layer that LoRA can adapt; ValueError for any other module, which `found` leads to."""
    if not can_be_adapted(module):
        raise ValueError(f"LoRA adapts linear layers and embeddings only: {found} {type(module).__name__}")
    return tuple(module.weight.shape) if stores_in_out(module) else (module.in_features, module.out_features)


def stores_in_out(module: nn.Module) -> bool:
    """Whether the weight is stored (D_in, D_out): a table, or GPT-2's `Conv1D`."""
    return isinstance(module, nn.Embedding) or _is_conv1d(module)


def check_rank(r: int, base_layer: nn.Module, name: str = "the layer") -> int:
    """Give the rank as Python's own integer; ValueError unless it lies in 1 ... min(D_in, D_out)."""
    d_in, d_out = linear_shape(base_layer, f"{name} is")
    why = f", the smaller width of {name} ({d_in} inputs, {d_out} outputs)"
    return whole("rank r", r, 1, min(d_in, d_out), why)


def check_matrices(lora_A: Tensor, lora_B: Tensor, base_layer: nn.Module) -> None:
    """ValueError unless lora_A is (r, D_in) and lora_B (D_out, r) for the widths of the layer."""
    d_in, d_out = linear_shape(base_layer)
    r = len(lora_A) if lora_A.ndim else 0
    if r == 0 or lora_A.shape != (r, d_in) or lora_B.shape != (d_out, r):
        raise ValueError(
            f"lora_A {tuple(lora_A.shape)} and lora_B {tuple(lora_B.shape)} do not fit a layer with "
            f"{d_in} inputs and {d_out} outputs"
        )


def check_mergeable(base_layer: nn.Module, name: str = "the layer") -> None:
    """ValueError unless the layer has a floating-point weight of its own to add the update to."""
    weight = base_layer._parameters.get("weight")
    if weight is None or not weight.is_floating_point() or weight.element_size() < 2:
        raise ValueError(
            f"{name} ({type(base_layer).__name__}) has no floating-point weight to merge into: "
            "merge before quantizing, or keep the adapter beside the quantized weights"
        )


def _is_conv1d(module: nn.Module) -> bool:
    """GPT-2's `Conv1D` of transformers: a linear layer whose weight is stored (D_in, D_out)."""
    return type(module).__name__ == "Conv1D" and module.weight.ndim == 2
