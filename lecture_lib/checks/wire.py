"""Plain data as bytes and back: JSON in which every container is tagged and arrays are base64.

What comes back has the very types that were sent: a tuple is a tuple and may be a key, -0.0, nan and 10**400 arrive
as they were, a tensor keeps its strides. No object is built that is not named here, and nothing is unpickled.
"""

import json
import sys
from collections.abc import Callable

import numpy as np

from lecture_lib.checks.arrays import array_in, array_out, bytes_, plain_array_in, tensor_in, tensor_out, text
from lecture_lib.checks.plain import DEEPEST, KEYS, MOST, WIDEST, Array, NotPlain, Raised, Refused

MOST_BYTES = 8 * 2**20  # of one message
ENTRIES, DEPTH = 4 * MOST, 2 * DEEPEST  # a level of plain data is two of JSON at most
CONTAINERS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def dumps(value: object) -> bytes:
    """The message for a value: builtins, arrays, tensors, ``Array``, ``Raised``, ``Refused``, nested at will.

    Raises:
        NotPlain: something else is in it, or too much.
    """
    try:
        raw = json.dumps(_Writer().write(value, 0), allow_nan=False, separators=(",", ":")).encode("ascii")
    except (RecursionError, MemoryError, OverflowError) as error:
        raise NotPlain(f"the value cannot be written down ({type(error).__name__})") from None
    if len(raw) > MOST_BYTES:
        raise NotPlain(f"the value takes {len(raw)} bytes, more than {MOST_BYTES}")
    return raw


def loads(raw: bytes, live: bool = False) -> object:
    """The value of a message, whoever wrote it.

    Args:
        raw: the message.
        live: whether tensors and arrays may come out (the inputs of a case). False: only ``Array`` and builtins, because
            a tensor of stride 0 can stand for a terabyte.

    Raises:
        NotPlain: for whatever is wrong with the message.
    """
    if not isinstance(raw, bytes | bytearray) or len(raw) > MOST_BYTES:
        raise NotPlain(f"a message is at most {MOST_BYTES} bytes")
    try:
        return _Reader(live).read(
            json.loads(bytes(raw).decode("ascii"), parse_constant=_no, parse_float=_no), 0
        )
    except NotPlain:
        raise
    except (
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        RecursionError,
        MemoryError,
        RuntimeError,
    ) as error:
        raise NotPlain(f"no plain data ({type(error).__name__})") from None


def _no(text: str) -> None:
    raise NotPlain("a number outside its tag")


class _Limits:
    """Counts what a message holds."""

    def __init__(self) -> None:
        self.entries = self.keys = 0

    def count(self, depth: int, keys: int = 0) -> None:
        self.entries, self.keys = self.entries + 1, self.keys + keys
        if depth > DEPTH or self.entries > ENTRIES or self.keys > KEYS:
            raise NotPlain("too deep, or too many entries")


class _Writer(_Limits):
    def write(self, value: object, depth: int) -> object:
        kind = type(value)
        self.count(depth, len(value) if kind in (dict, set, frozenset) else 0)
        if value is None or kind is bool:
            return value
        if kind in (list, tuple, set, frozenset):
            return [kind.__name__, *(self.write(each, depth + 1) for each in value)]
        if kind is dict:
            return ["dict", *([self.write(k, depth + 1), self.write(x, depth + 1)] for k, x in value.items())]
        if kind in _LEAVES:
            return _LEAVES[kind](value)
        if "torch" in sys.modules and kind is sys.modules["torch"].Tensor:
            return tensor_out(value)
        raise NotPlain(f"{kind.__module__}.{kind.__qualname__} is not plain data")


def _int_out(value: int) -> object:
    if value.bit_length() > WIDEST:
        raise NotPlain(f"an int of {value.bit_length()} bits")
    return value if value.bit_length() < 64 else ["int", hex(value)]


_LEAVES: dict[type, Callable] = {
    int: _int_out,
    float: lambda x: ["float", x.hex()],
    complex: lambda z: ["complex", z.real.hex(), z.imag.hex()],
    str: lambda s: s if s.isascii() else ["str", text(s.encode("utf-8", "surrogatepass"))],
    bytes: lambda b: ["bytes", text(b)],
    np.ndarray: array_out,
    Array: lambda a: ["Array", a.kind, a.dtype, *array_out(a.values)[1:]],
    Raised: lambda r: (
        [
            "Raised",
            *(text(s.encode("utf-8", "surrogatepass")) for s in (r.kind, r.words, r.line)),
            r.unwritten,
        ]
        + [text(s.encode("utf-8", "surrogatepass")) for s in r.family]
    ),
    Refused: lambda r: ["Refused", text(r.reason.encode("utf-8", "surrogatepass")), r.is_sentence],
}


class _Reader(_Limits):
    def __init__(self, live: bool) -> None:
        super().__init__()
        self.live = live

    def read(self, value: object, depth: int) -> object:
        tagged = type(value) is list and value and type(value[0]) is str
        tag, rest = (value[0], value[1:]) if tagged else ("", [])
        self.count(depth, len(rest) if tag in ("dict", "set", "frozenset") else 0)
        if value is None or type(value) in (bool, str):
            return value
        if type(value) is int:
            return _int_in(value)
        if tag in CONTAINERS:
            return CONTAINERS[tag]([self.read(each, depth + 1) for each in rest])
        if tag == "dict":
            return {self.read(key, depth + 1): self.read(each, depth + 1) for key, each in rest}
        if tag in ("torch", "numpy") and not self.live:
            raise NotPlain("a live array")
        if tag not in _READ:
            raise NotPlain("an entry without a known tag")
        return _READ[tag](*rest)


def _int_in(value: int) -> int:
    if value.bit_length() > WIDEST:
        raise NotPlain("a huge int")
    return value


def _hex_in(text: str) -> int:
    if len(text) > WIDEST // 4 + 4:
        raise NotPlain("a huge int")
    return _int_in(int(text, 16))


def _str_in(text: str) -> str:
    return bytes_(text).decode("utf-8", "surrogatepass")


def _word_in(text: str) -> str:
    return _str_in(text)[:4000]


def _raised_in(kind: str, words: str, line: str, unwritten: bool, *family: str) -> Raised:
    if type(unwritten) is not bool or len(family) > 60:
        raise NotPlain("an error without words")
    return Raised(_word_in(kind), _word_in(words), _word_in(line), tuple(map(_word_in, family)), unwritten)


def _refused_in(reason: str, is_sentence: bool) -> Refused:
    if type(is_sentence) is not bool:
        raise NotPlain("a refusal without a reason")
    return Refused(_word_in(reason), is_sentence)


_READ: dict[str, Callable] = {
    "int": _hex_in,
    "float": float.fromhex,
    "complex": lambda real, imag: complex(float.fromhex(real), float.fromhex(imag)),
    "str": _str_in,
    "bytes": bytes_,
    "numpy": array_in,
    "torch": tensor_in,
    "Array": plain_array_in,
    "Raised": _raised_in,
    "Refused": _refused_in,
}
