"""Results as plain data: builtins and numpy arrays, with the type each had, so that judging trusts no object.

A judged value never compares itself: tensors become arrays by way of their exact type, everything that is
neither a builtin nor an array nor a tensor is refused by name. The plain form can be sent between processes.
"""

import linecache
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SCALARS = (type(None), bool, int, float, complex, str, bytes)
DEEPEST, MOST, WIDEST = 20, 10**5, 10**4  # of a result: nesting, objects, bits of an int
_NOT_THE_READERS = (
    str(Path(__file__).resolve().parents[1]),
    *(path for name, path in sysconfig.get_paths().items() if name.endswith("lib")),
    "<frozen",
)


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
    family: tuple[str, ...] = ()  # full names of its class and of those it descends from


@dataclass(frozen=True)
class Refused:
    """Something that is not a result: what it is, and what was asked for."""

    reason: str
    is_sentence: bool = False  # else the reason completes "returned ..."


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
    return Refused(too_much) if (too_much := _excess(value)) else _plain(value)


def _excess(value: object) -> str | None:
    """What is too deep or too much in a result; the walk keeps its own stack, because a list may hold itself."""
    todo, amount = [(value, 0)], 0
    while todo:
        each, depth = todo.pop()
        if depth > DEEPEST:
            return f"a {type(value).__name__} nested more than {DEEPEST} deep"
        amount += _extent(each)
        if amount > MOST:
            return "far more numbers or characters than any case asks for"
        if type(each) in (list, tuple):
            todo += [(inner, depth + 1) for inner in each]
        elif type(each) is dict:
            todo += [(inner, depth + 1) for inner in each.values()]
    return None


def _extent(value: object) -> int:
    """How much to walk or to copy, in objects; a hundred numbers or characters side by side count as one."""
    torch = sys.modules.get("torch")
    if torch is not None and type(value) is torch.Tensor:
        return 1 + torch.Tensor.numel(value) // 100
    if type(value) is np.ndarray:
        return 1 + value.size // 100
    if type(value) in (str, bytes):
        return 1 + len(value) // 100
    return 1 + len(value) if type(value) in (list, tuple, dict, set, frozenset) else 1


def _plain(value: object) -> object:
    torch = sys.modules.get("torch")
    if torch is not None and type(value) is torch.Tensor:
        return _plain_tensor(value, torch)
    if type(value) is np.ndarray and not value.dtype.hasobject:
        return Array("numpy.ndarray", str(value.dtype), value.copy())
    if _is_scalar(value):
        return value
    if type(value) in (list, tuple):
        return type(value)(_plain(each) for each in value)
    if type(value) in (set, frozenset):
        return type(value)(value) if all(_is_scalar(each) for each in value) else Refused("a set of objects")
    if type(value) is dict:
        return {plain_key(key): _plain(each) for key, each in value.items()}
    if type(value) is int:
        return Refused(f"an int of {value.bit_length()} bits")
    return Refused(f"an object of type {type_name(value)}")


def plain_key(key: object) -> object:
    """A dictionary key as it is if it is a scalar or a tuple of scalars, else its type's name."""
    parts = key if type(key) is tuple else (key,)
    return key if all(_is_scalar(part) for part in parts) else f"a key of type {type_name(key)}"


def _is_scalar(value: object) -> bool:
    return type(value) in SCALARS and not (type(value) is int and value.bit_length() > WIDEST)


def _plain_tensor(tensor: object, torch: object) -> Array | Refused:
    dtype = str(tensor.dtype).removeprefix("torch.")
    try:
        values = (
            torch.Tensor.detach(tensor).cpu().resolve_conj().resolve_neg()
        )  # no method that the tensor brings
        values = values.float() if dtype.startswith(("bfloat16", "float8")) else values
        return Array("torch.Tensor", dtype, values.numpy().copy())
    except (TypeError, RuntimeError):  # sparse, quantised, nested, on no device, of no number type
        return Refused(f"a tensor without plain values ({tensor.layout}, {dtype}, on {tensor.device})")


def raised(error: BaseException) -> Raised:
    """An error as plain data, with the last of the reader's own lines that led to it.

    Args:
        error: whatever an answer raised; not even its words are trusted.

    Returns:
        Its kind, its words, and the line.
    """
    kind = type(error)
    try:
        words = str.strip(str(error)).encode(errors="backslashreplace").decode()
    except Exception:
        words = "an error whose own words cannot be read"
    words = words if len(words) <= 1000 else f"{words[:600]} … {words[-300:]}"
    family = tuple(f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__)
    return Raised(kind.__name__, words, _own_line(error), family)


def _own_line(error: BaseException) -> str:
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_NOT_THE_READERS) and "-packages" not in frame.filename
    ]
    if not own:
        return ""
    text = own[-1].line or linecache.getline(own[-1].filename, own[-1].lineno or 0).strip()
    return f"in your line {own[-1].lineno}: {text}"
