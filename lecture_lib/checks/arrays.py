"""Arrays and tensors as tagged lists, and back; no object is trusted to describe itself."""

import base64
import math
import sys

import numpy as np

from lecture_lib.checks.plain import Array, NotPlain

NUMBERS = (
    "float64",
    "float32",
    "float16",
    "complex64",
    "complex128",
    "int64",
    "int32",
    "int16",
    "int8",
    "bool",
)
NUMBERS = (*NUMBERS, "uint8", "uint16", "uint32", "uint64")


def text(raw: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(raw).decode("ascii")


def bytes_(text: str) -> bytes:
    """Text as bytes."""
    return base64.b64decode(text, validate=True)


def array_out(array: np.ndarray) -> list:
    """A numpy array of numbers."""
    if array.dtype.name not in NUMBERS or not array.dtype.isnative:
        raise NotPlain(f"an array of {array.dtype}")
    return ["numpy", array.dtype.name, list(array.shape), text(array.tobytes())]


def tensor_out(tensor: object) -> list:
    """The storage as it lies, so that views and broadcast tensors arrive as what they are."""
    torch = sys.modules["torch"]
    name = str(tensor.dtype).removeprefix("torch.")
    if (
        tensor.layout is not torch.strided
        or tensor.device.type != "cpu"
        or name not in (*NUMBERS, "bfloat16")
    ):
        raise NotPlain(f"a tensor of {name}, {tensor.layout}, on {tensor.device}")
    tensor = tensor.detach().resolve_conj().resolve_neg()
    flat = torch.as_strided(tensor, (_span(tensor.shape, tensor.stride()),), (1,))
    raw = flat.contiguous().view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return ["torch", name, list(tensor.shape), list(tensor.stride()), text(raw)]


def _span(shape: tuple, stride: tuple) -> int:
    """How many places of the storage a tensor reaches over."""
    return 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True)) if math.prod(shape) else 0


def _sizes(sizes: list) -> tuple[int, ...]:
    if (
        type(sizes) is not list
        or len(sizes) > 16
        or not all(type(n) is int and 0 <= n < 2**40 for n in sizes)
    ):
        raise NotPlain("no shape")
    return tuple(sizes)


def array_in(name: str, shape: list, text: str) -> np.ndarray:
    """A numpy array, after a look at every part of its description."""
    if name not in NUMBERS:
        raise NotPlain("no number type")
    return np.frombuffer(bytes_(text), np.dtype(name)).reshape(_sizes(shape)).copy()


def plain_array_in(kind: str, dtype: str, name: str, shape: list, text: str) -> Array:
    """An `Array`, likewise."""
    if kind not in ("torch.Tensor", "numpy.ndarray") or type(dtype) is not str or not 0 < len(dtype) < 20:
        raise NotPlain("an array of no kind")
    return Array(kind, dtype, array_in(name, shape, text))


def tensor_in(name: str, shape: list, stride: list, text: str) -> object:
    """A tensor that reaches no further than its bytes."""
    import torch

    if name not in (*NUMBERS, "bfloat16"):
        raise NotPlain("no number type")
    dtype, raw, shape, stride = getattr(torch, name), bytes_(text), _sizes(shape), _sizes(stride)
    flat = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    if _span(shape, stride) != flat.numel():
        raise NotPlain("a tensor that does not fit its bytes")
    return flat.as_strided(shape, stride)
