r"""Weights laid out for decoding on a CPU: the same numbers, read in the order in which one token needs them.

A linear layer holds W^T, one row an output feature. For a single token x the product $x W$ reads W once, and
BLAS reads it about 1.3 times as fast when the outputs of one input feature lie side by side (measured, see
benchmarks/decode.py). Shapes, names and results stay what they are; only strides change, so a laid-out model
can still be trained, saved and quantized.

Axes: D input features, N output features.
"""

import torch
from torch import nn

from lecture_lib.attention import MultiHeadAttention


@torch.no_grad()
def lay_out_for_decoding(model: nn.Module) -> nn.Module:
    """Store the CPU's float32 weights as (in, out), and W_q, W_k and W_v of a layer side by side.

    Other weights are left alone: in bfloat16 the order (out, in) is the faster one. A table shared with the
    head is stored as the head wants it.

    Args:
        model: any module; its weights are moved in place, one layer at a time.

    Returns:
        The same model.
    """
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            lay_side_by_side([module.W_q, module.W_k, module.W_v])
        elif type(module) is nn.Linear and movable(module) and module.weight.is_contiguous():
            module.weight.data = module.weight.T.contiguous().T
    return model


def movable(module: nn.Module) -> bool:
    """Tell whether a module is a plain linear layer that decodes faster as (in, out)."""
    return type(module) is nn.Linear and module.weight.dtype == torch.float32 and module.weight.is_cpu


def lay_side_by_side(maps: list[nn.Module]) -> None:
    """Store maps of the same input in one matrix, so that one product makes all their outputs.

    Args:
        maps: of one layer; left alone unless all are plain linear layers, all with a bias or all without.
    """
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
