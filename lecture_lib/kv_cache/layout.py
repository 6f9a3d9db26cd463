r"""Weights laid out for a machine: the same numbers, read in the order in which one token needs them.

A linear layer holds W^T, one row an output feature. For a single token x the product $x W$ reads W once. On a CPU
BLAS reads float32 about 1.3 times as fast when the outputs of one input feature lie side by side, and oneDNN reads
bfloat16 up to twice as fast in blocks of its own (measured, see benchmarks/quantization.py). Shapes, names and
results stay what they are, so a laid-out model can still be trained, saved, adapted and quantized.

Axes: D input features, N output features.
"""

import torch
from torch import Tensor, nn

from lecture_lib.attention import MultiHeadAttention
from lecture_lib.kv_cache.side_by_side import SideBySide, is_hooked
from lecture_lib.packed import PackedLinear, forget, has_packed_bfloat16, packed_in_one
from lecture_lib.quantization.linear import QuantizedLinear, in_one_product

PLAIN = (nn.Linear, PackedLinear)


class PackedSideBySide(SideBySide):
    """Apply several maps to one input, in one product from a packed copy of all their weights or codes."""

    def __call__(self, X: Tensor, *maps: nn.Module) -> tuple[Tensor, ...]:
        """Give (..., N_i) for each map."""
        kind, found = type(maps[0]), None
        if kind is not nn.Linear and all(type(m) is kind and not is_hooked(m) for m in maps):
            if kind is PackedLinear:
                Y = packed_in_one(X, *maps)
                found = None if Y is None else Y.split([m.out_features for m in maps], -1)
            elif kind is QuantizedLinear:
                found = in_one_product(X, list(maps))
        return super().__call__(X, *maps) if found is None else tuple(found)


@torch.no_grad()
def lay_out_for_decoding(model: nn.Module) -> nn.Module:
    """Arrange a model's weights for steps of a few tokens on this CPU, W_q, W_k and W_v of a layer as one.

    float32 weights are stored as (in, out). bfloat16 weights stay, and products read packed copies of them where
    the processor computes in bfloat16: twice the memory. A table shared with the head is stored as the head wants
    it. Quantized layers read W_q, W_k and W_v of a layer at once. Everything else, and every processor that would
    not gain, is left alone. A copy follows its weight, but not numbers that are written through `.data`: after
    those, call this again.

    Args:
        model: any module; changed in place, one layer at a time.

    Returns:
        The same model.
    """
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.in_one = PackedSideBySide()
            lay_side_by_side([module.W_q, module.W_k, module.W_v])
        elif type(module) in PLAIN:
            forget(module.weight)
            module.__class__ = PackedLinear if is_half(module) and has_packed_bfloat16() else nn.Linear
            if movable(module) and module.weight.is_contiguous():
                module.weight.data = module.weight.T.contiguous().T
    return model


def movable(module: nn.Module) -> bool:
    """Tell whether a module is a plain linear layer that decodes faster as (in, out)."""
    return type(module) in PLAIN and module.weight.dtype == torch.float32 and module.weight.is_cpu


def is_half(module: nn.Module) -> bool:
    """Tell whether a module is a plain linear layer in bfloat16 on a CPU."""
    return type(module) in PLAIN and module.weight.dtype == torch.bfloat16 and module.weight.is_cpu


def lay_side_by_side(maps: list[nn.Module]) -> None:
    """Store float32 maps of the same input in one matrix, if all have a bias or none has."""
    if not all(map(movable, maps)) or len({m.bias is None for m in maps}) > 1:
        return
    weight = torch.cat([m.weight.T for m in maps], 1)  # (D, N_1 + N_2 + ...)
    ends = weight.shape[1] if maps[0].bias is None else None
    sizes = [m.out_features for m in maps]
    for m, part in zip(maps, weight.split(sizes, 1), strict=True):
        m.weight.data = part.T
    if ends is None:
        for m, part in zip(maps, torch.cat([m.bias for m in maps]).split(sizes), strict=True):
            m.bias.data = part
