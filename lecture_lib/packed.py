"""Copies of weights in the order that a fast kernel wants: made at the first use, and never stale.

A copy belongs to the tensors it was made of. It is made anew when one of them has other numbers, another dtype or
another place in memory, and goes when they go. Modules, state dicts, copies and pickles know nothing of it; it
costs the memory of the weights once more. Numbers that were written through `tensor.data` are not seen: torch does
not count such changes.

Products are operators of torch, so that `torch.jit.trace` writes down the weights themselves, and the copies are
looked for at every call of what was recorded.

Axes: K input features, N output features.
Source: oneDNN, "Understanding memory formats" (blocked layouts).
"""

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

OPERATORS = torch.library.Library("lecture_lib", "FRAGMENT")
_copies = WeakTensorKeyDictionary()  # first of the sources: {maker: (state of all sources, copy)}


def operator(signature: str, width: Callable[..., int]) -> Callable:
    """Decorate a product X -> (..., N): `torch.ops.lecture_lib.NAME`, one step of a recording, without gradient.

    Args:
        signature: name, arguments and result in torch's notation; the first argument is X.
        width: gives N from the other arguments, so that `torch.compile` knows the shape.
    """
    name = signature.partition("(")[0]
    OPERATORS.define(signature)

    def register(product: Callable) -> Callable:
        OPERATORS.impl(name, product, "CompositeExplicitAutograd")
        fake = lambda X, *others: X.new_empty((*X.shape[:-1], width(*others)))  # noqa: E731
        torch.library.register_fake(f"lecture_lib::{name}", fake, lib=OPERATORS)
        return product

    return register


def prepared(make: Callable, sources: Sequence[Tensor | None], *details: Any) -> Any:
    """Give `make(sources, *details)`, made once for as long as the sources are what they were.

    Args:
        make: a function of the module; the copies of different functions stand side by side.
        sources: the tensors it reads, the first of them a weight. Changes of tensors that were made in inference
            mode are not counted: from them the copy is made at every call.
        details: numbers it needs.
    """
    try:
        state = (
            details,
            *[t if t is None else (t.data_ptr(), t._version, t.dtype, t.shape) for t in sources],
        )
    except RuntimeError:  # made in inference mode: no version
        return make(sources, *details)
    known = _copies.get(sources[0])
    if known is None:
        known = _copies[sources[0]] = {}
    entry = known.get(make)
    if entry is None or entry[0] != state:
        known.pop(make, None)  # first, so that there are never two
        with torch.no_grad():
            copy = make([None if t is None else t.detach() for t in sources], *details)
        entry = known[make] = state, copy
    return entry[1]


def forget(weight: Tensor) -> None:
    """Drop the copies of a weight, for those who have changed it through `.data`."""
    _copies.pop(weight, None)


recorded_with_objects = ContextVar("recorded_with_objects", default=False)  # by who holds `objects_of`


def objects_of(tensors: Iterable[Tensor]) -> list[torch.ScriptObject]:
    """Give the copies of weights that are objects of a kernel and no tensors: a recording must hold them itself."""
    copies = [copy for weight in tensors for _, copy in _copies.get(weight, {}).values()]
    parts = [part for copy in copies for part in (copy if isinstance(copy, tuple) else (copy,))]
    return [part for part in parts if isinstance(part, torch.ScriptObject)]


def counted(*tensors: Tensor | None) -> bool:
    """Tell whether torch counts the changes of these tensors; it does not for those made in inference mode."""
    return not any(t is not None and t.is_inference() for t in tensors)


@operator(
    "packed_linear(Tensor X, Tensor[] weights, Tensor[] biases) -> Tensor",
    width=lambda weights, biases: sum(map(len, weights)),
)
def packed_linear(X: Tensor, weights: list[Tensor], biases: list[Tensor]) -> Tensor:
    r"""Apply maps side by side, $X\,[W_1, W_2, …] + [b_1, b_2, …]$, by oneDNN's product with a packed weight.

    Args:
        X: (..., K) bfloat16 inputs.
        weights: (N_i, K) bfloat16, one or more.
        biases: (N_i,) each, or none at all.

    Returns:
        (..., N_1 + N_2 + …) bfloat16.
    """
    if not (has_packed_bfloat16() and counted(*weights, *biases)):
        return F.linear(X, torch.cat(weights), torch.cat(biases) if biases else None)
    W, b = prepared(_pack, (*weights, *biases), len(weights))
    return torch.ops.mkldnn._linear_pointwise(X, W, b, "none", [], "")


def _pack(tensors: list[Tensor], n_weights: int) -> tuple[Tensor, Tensor | None]:
    weights, biases = tensors[:n_weights], tensors[n_weights:]
    return torch.ops.mkldnn._reorder_linear_weight(torch.cat(weights)), torch.cat(biases) if biases else None


class PackedLinear(nn.Linear):
    """A linear layer that reads, where nothing is learned, a copy of its bfloat16 weight in oneDNN's order.

    A layer becomes one by `layer.__class__ = PackedLinear`: its parameters, hooks and names stay. In another
    dtype, on another device or with gradients it is the plain layer.
    """

    def forward(self, X: Tensor) -> Tensor:
        """Apply the layer: (..., K) to (..., N)."""
        Y = packed_in_one(X, self)
        return F.linear(X, self.weight, self.bias) if Y is None else Y


def packed_in_one(X: Tensor, *layers: nn.Linear) -> Tensor | None:
    """Apply maps side by side by the packed product.

    Args:
        X: (..., K) inputs.
        layers: maps of K features.

    Returns:
        (..., N_1 + N_2 + …), or None unless all is in bfloat16 on a CPU, nothing learns, and all maps have a bias or
        none has.
    """
    weights, biases = [m.weight for m in layers], [m.bias for m in layers if m.bias is not None]
    tensors = (X, *weights, *biases)
    if not all(t.dtype == torch.bfloat16 and t.device.type == "cpu" for t in tensors):
        return None
    if (
        torch.is_grad_enabled()
        and any(t.requires_grad for t in tensors)
        or len(biases) not in (0, len(layers))
    ):
        return None
    return torch.ops.lecture_lib.packed_linear(X, weights, biases)


@cache
@torch.no_grad()
def has_packed_bfloat16() -> bool:
    """Tell whether this processor computes in bfloat16 and torch has the packed product, by trying it."""
    wide = any(getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in ("avx512_bf16", "amx_tile"))
    W, X = torch.eye(16, 32, dtype=torch.bfloat16), torch.arange(64.0).view(2, 32).bfloat16()
    try:
        return wide and torch.equal(
            torch.ops.mkldnn._linear_pointwise(X, _pack([W], 1)[0], None, "none", [], ""), X[:, :16]
        )
    except (RuntimeError, NotImplementedError, AttributeError):
        return False
