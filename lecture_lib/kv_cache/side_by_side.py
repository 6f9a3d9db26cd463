"""Maps of the same input as one product, where their weights lie side by side in memory.

Axes: D input features, N_i output features of map i.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def joined(tensors: list[Tensor | None]) -> Tensor | None:
    """Find the one tensor that several are rows of: (N_1 + N_2 + ..., D) weights or (N_1 + ...,) biases.

    It is no copy; None if they are not neighbours in memory.
    """
    if any(t is None for t in tensors):
        return None
    first, place = tensors[0], tensors[0].storage_offset()
    for t in tensors:
        same = (
            t.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
            and t.stride() == first.stride()
        )
        if not same or t.stride(0) != 1 or t.storage_offset() != place:
            return None
        place += len(t)
    return first.as_strided((place - first.storage_offset(), *first.shape[1:]), first.stride())


def is_hooked(module: nn.Module) -> bool:
    """Tell whether a call of a module does more than its forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


class SideBySide:
    """Apply several linear maps to one input: X W_1, X W_2, ..., in one product where memory allows it.

    What is kept is a view of the weights of now: it is looked for anew when one of them has moved.
    """

    def __init__(self) -> None:
        self.addresses, self.found = None, None

    def __call__(self, X: Tensor, *maps: nn.Module) -> tuple[Tensor, ...]:
        """Give (..., N_i) for each map."""
        if torch.is_grad_enabled() or any([type(m) is not nn.Linear or is_hooked(m) for m in maps]):
            return tuple(m(X) for m in maps)
        addresses = [None if t is None else t.data_ptr() for m in maps for t in (m.weight, m.bias)]
        if addresses != self.addresses:
            self.addresses, self.found = addresses, self.look(maps)
        if self.found is None:
            return tuple(m(X) for m in maps)
        weight, bias, sizes = self.found
        return F.linear(X, weight, bias).split_with_sizes(sizes, -1)

    def look(self, maps: tuple[nn.Linear, ...]) -> tuple[Tensor, Tensor | None, list[int]] | None:
        """Find the weight and the bias of all, if they are one."""
        weight = joined([m.weight.detach() for m in maps])
        bias = joined([None if m.bias is None else m.bias.detach() for m in maps])
        if weight is None or (bias is None and any(m.bias is not None for m in maps)):
            return None
        return weight, bias, [m.out_features for m in maps]
