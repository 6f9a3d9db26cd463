"""Results as plain data: builtins and numpy arrays, with the type each had, so that judging trusts no object.

A judged value never compares itself: tensors become arrays by way of their exact type, everything that is
neither a builtin nor an array nor a tensor is refused by name. `wire` sends the plain form between processes.
"""

import dis
import linecache
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

SCALARS = (type(None), bool, int, float, complex, str, bytes)
DEEPEST, MOST, WIDEST = 20, 10**5, 10**4  # of a result: nesting, objects, bits of an int
KEYS, LARGEST = 5000, 4 * 2**20  # keys and members of sets in all; bytes of numbers and characters in all
PYTHONS = {"f": "float", "i": "int", "u": "int", "b": "bool", "c": "complex"}  # by numpy's letter for a kind
FLOATS_BELOW_32 = ("bfloat16", "float8")  # numpy has no such numbers: they are held as float32
_NOT_THE_READERS = (
    str(Path(__file__).resolve().parents[1]),
    *(path for name, path in sysconfig.get_paths().items() if name.endswith("lib")),
    "<frozen",
)


class NotPlain(ValueError):
    """A value that is no plain data, or a message that does not hold any, within the limits."""


@dataclass(frozen=True)
class Array:
    """An array with the library and the number type it came with (bfloat16 is held as float32)."""

    kind: str  # "torch.Tensor" or "numpy.ndarray"
    dtype: str  # "float32", "int64", ...
    values: np.ndarray

    def __repr__(self) -> str:
        return f"{self.kind.rpartition('.')[2].lower()}({numbers_of(self.values)})"


def numbers_of(values: np.ndarray) -> str:
    """Numbers of an array with four digits; small ones beside large ones as 0, but not where all are small."""
    finite = np.abs(values[np.isfinite(values)])
    tiny = 0 < finite.max(initial=0) < 1e-3
    return np.array2string(values, precision=4, suppress_small=not tiny, separator=", ")


@dataclass(frozen=True)
class Raised:
    """An error inside the answer: its kind and words, and the reader's own line in which it arose."""

    kind: str
    words: str
    line: str = ""  # "in your line 4: scores = Q @ K"
    family: tuple[str, ...] = ()  # full names of its class and of those it descends from
    unwritten: bool = False  # whether it is the `raise NotImplementedError` of a stub

    def __repr__(self) -> str:
        return f"{'an' if self.kind[:1] in 'AEIOU' else 'a'} {self.kind}"


@dataclass(frozen=True)
class Refused:
    """Something that is not a result: what it is, and what was asked for."""

    reason: str
    is_sentence: bool = False  # else the reason completes "returned ..."


def told(words: str) -> Refused:
    """A refusal in a whole sentence."""
    return Refused(words, is_sentence=True)


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
    todo, objects, room, keys = [(value, 0)], 0, 0, 0
    while todo:
        each, depth = todo.pop()
        if depth > DEEPEST:
            return f"a {type(value).__name__} nested more than {DEEPEST} deep"
        objects, room = objects + 1, room + _room(each)
        if type(each) in (list, tuple):
            objects += len(each)
            todo += [(inner, depth + 1) for inner in each] if objects <= MOST else []
        elif type(each) in (dict, set, frozenset):
            keys += len(each)
            inside = [*each, *(each.values() if type(each) is dict else ())] if keys <= KEYS else []
            todo += [(inner, depth + 1) for inner in inside]
        if objects > MOST or room > LARGEST or keys > KEYS:
            return "far more numbers or characters than any case asks for"
    return None


def _room(value: object) -> int:
    """Bytes that a copy of a value takes, without what it holds."""
    torch = sys.modules.get("torch")
    if torch is not None and type(value) is torch.Tensor:
        return torch.Tensor.numel(value) * max(4, value.dtype.itemsize)
    if type(value) is np.ndarray:
        return value.nbytes
    return 4 * len(value) if type(value) is str else len(value) if type(value) is bytes else 0


def _plain(value: object) -> object:
    torch = sys.modules.get("torch")
    if torch is not None and type(value) is torch.Tensor:
        return _plain_tensor(value, torch)
    if type(value) is np.ndarray:
        return _plain_array(value)
    if _is_scalar(value):
        return value
    if type(value) in (list, tuple):
        return type(value)([_plain(each) for each in value])
    if type(value) in (set, frozenset):
        fits = all(_is_key(each) for each in value)
        return type(value)(value) if fits else Refused("a set of objects")
    if type(value) is dict:
        return {plain_key(key): _plain(each) for key, each in value.items()}
    if type(value) is int:
        return Refused(f"an int of {value.bit_length()} bits")
    if isinstance(value, np.generic) and np.dtype(type(value)).kind in PYTHONS:
        own = PYTHONS[np.dtype(type(value)).kind]
        return Refused(
            f"an object of type {type_name(value)} ({own}(...) makes a number of Python's own of it)"
        )
    return Refused(f"an object of type {type_name(value)}")


def plain_key(key: object) -> object:
    """A dictionary key as it is if it is a scalar or a tuple of scalars, else its type's name."""
    return key if _is_key(key) else f"a key of type {type_name(key)}"


def _is_key(key: object) -> bool:
    return all(_is_scalar(part) for part in (key if type(key) is tuple else (key,)))


def _is_scalar(value: object) -> bool:
    return type(value) in SCALARS and not (type(value) is int and value.bit_length() > WIDEST)


def _plain_array(array: np.ndarray) -> Array | Refused:
    if array.dtype.kind not in "biufc" or array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        return Refused(f"an array of {array.dtype}")
    return Array("numpy.ndarray", array.dtype.name, np.array(array, array.dtype.newbyteorder("="), order="C"))


def _plain_tensor(tensor: object, torch: object) -> Array | Refused:
    dtype = str(tensor.dtype).removeprefix("torch.")
    try:  # no method that the tensor brings
        values = torch.Tensor.detach(tensor).cpu().resolve_conj().resolve_neg()
        values = values.float() if dtype.startswith(FLOATS_BELOW_32) else values
        return Array("torch.Tensor", dtype, np.array(values.numpy(), order="C"))
    except (TypeError, RuntimeError):  # sparse, quantised, nested, on no device, of no number type
        return Refused(f"a tensor without plain values ({tensor.layout}, {dtype}, on {tensor.device})")


def raised(error: BaseException) -> Raised:
    """An error as plain data, with the last of the reader's own lines that led to it.

    Args:
        error: whatever an answer raised; neither its words nor its class are trusted.

    Returns:
        Its kind, its words, and the line.
    """
    try:
        words = str.strip(str(error)).encode(errors="backslashreplace").decode()
    except BaseException:
        words = "an error whose own words cannot be read"
    words = words if len(words) <= 1000 else f"{words[:600]} … {words[-300:]}"
    kind = type.__dict__["__name__"].__get__(type(error))
    family = tuple(f"{_module(each)}.{type.__dict__['__qualname__'].__get__(each)}" for each in _kin(error))
    line, unwritten = _own_line(error.__traceback__)
    return Raised(
        kind[:200], words, line[:500], family[:20], unwritten and family[0] == "builtins.NotImplementedError"
    )


def _kin(error: BaseException) -> tuple[type, ...]:
    return type.__dict__["__mro__"].__get__(type(error))


def _module(kind: type) -> str:
    module = type.__dict__["__dict__"].__get__(kind).get("__module__", "builtins")
    return module if type(module) is str else "?"


def _own_line(trace: TracebackType | None) -> tuple[str, bool]:
    """The reader's deepest line in a traceback, and whether it is a `raise` of theirs that made it."""
    steps = []
    while trace is not None:
        steps.append(trace)
        trace = trace.tb_next
    own = [step for step in steps if not _foreign(step.tb_frame.f_code.co_filename)]
    if not own:
        return "", False
    code, place = own[-1].tb_frame.f_code, own[-1].tb_lasti
    text = linecache.getline(code.co_filename, own[-1].tb_lineno).strip()
    raises = own[-1] is steps[-1] and dis.opname[code.co_code[place]] == "RAISE_VARARGS"
    return f"in your line {own[-1].tb_lineno}: {text}", raises


def _foreign(filename: str) -> bool:
    return filename.startswith(_NOT_THE_READERS) or "-packages" in filename
