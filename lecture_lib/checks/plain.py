"""Results as plain data: builtins and numpy arrays, with the type each had, so that judging trusts no object.

A judged value never compares itself: tensors become arrays by way of their exact type, everything that is
neither a builtin nor an array nor a tensor is refused by name. The plain form can be sent between processes.
"""

import sys
from dataclasses import dataclass

import numpy as np

SCALARS = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True)
class Array:
    """An array with the library and the number type it came with (bfloat16 is held as float32)."""

    kind: str  # "torch.Tensor" or "numpy.ndarray"
    dtype: str  # "float32", "int64", ...
    values: np.ndarray


@dataclass(frozen=True)
class Raised:
    """An error inside the answer: its kind and words, and the reader's own line in which it arose."""

    kind: str
    words: str
    line: str = ""  # "line 4: scores = Q @ K"


@dataclass(frozen=True)
class Refused:
    """Something that is not a result: what it is, and what was asked for."""

    reason: str


def type_name(value: object) -> str:
    """The name a reader knows a type by: ``torch.Tensor``, ``list``, ``MyTensor``."""
    kind = type(value)
    return (
        kind.__qualname__
        if kind.__module__ in ("builtins", "__main__")
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def plain(value: object) -> object:
    """Plain data for a result, with every type exact.

    Args:
        value: what an answer returned.

    Returns:
        The same nest of lists, tuples, dictionaries and scalars, with an ``Array`` for every tensor and array,
        and ``Refused`` in place of anything else, subclasses of the allowed types included.
    """
    torch = sys.modules.get("torch")
    if torch is not None and type(value) is torch.Tensor:
        return _plain_tensor(value, torch)
    if type(value) is np.ndarray and value.dtype != object:
        return Array("numpy.ndarray", str(value.dtype), value.copy())
    if type(value) in SCALARS:
        return value
    if type(value) in (list, tuple):
        return type(value)(plain(each) for each in value)
    if type(value) in (set, frozenset):
        return (
            type(value)(value)
            if all(type(each) in SCALARS for each in value)
            else Refused("a set of objects")
        )
    if type(value) is dict:
        return {plain_key(key): plain(each) for key, each in value.items()}
    return Refused(f"an object of type {type_name(value)}")


def plain_key(key: object) -> object:
    """A dictionary key as it is if it is a scalar or a tuple of scalars, else its type's name."""
    parts = key if type(key) is tuple else (key,)
    return key if all(type(part) in SCALARS for part in parts) else f"a key of type {type_name(key)}"


def _plain_tensor(tensor: object, torch: object) -> Array | Refused:
    if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
        return Refused(f"a tensor without plain values ({tensor.layout}, on {tensor.device})")
    dtype = str(tensor.dtype).removeprefix("torch.")
    values = tensor.detach().cpu().resolve_conj().resolve_neg()
    values = values.float() if dtype.startswith(("bfloat16", "float8")) else values
    return Array("torch.Tensor", dtype, values.numpy().copy())
