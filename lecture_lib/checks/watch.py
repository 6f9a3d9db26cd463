"""Seeing that an answer is the reader's own: calls into the library's solution are noticed while it runs."""

import importlib
import sys
import types
from collections.abc import Callable, Iterable


class Borrowed(Exception):
    """The answer called what it was asked to write."""


def codes(function: object) -> Iterable[types.CodeType]:
    """Code objects of a function, or of every method of a class."""
    function = getattr(function, "__wrapped__", function)
    if isinstance(function, type):
        for member in vars(function).values():
            yield from codes(getattr(member, "__func__", member))
    elif isinstance(function, types.FunctionType):
        yield function.__code__


def resolve(dotted: str) -> object | None:
    """The object of a dotted name such as ``lecture_lib.attention.softmax``; None if there is none."""
    module_name, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name, None)
    except ImportError:
        return None


def call_watched(call: Callable, functions: dict[str, object], kernels: Iterable[str]) -> object:
    """Call and stop at the first use of a function that belongs to someone else.

    Args:
        call: the call to watch, without arguments.
        functions: Python functions and classes that may not run, by the name to tell the reader.
        kernels: names of compiled functions that may not run, such as ``softmax``.

    Returns:
        What the call returned.

    Raises:
        Borrowed: one of them ran; the message names it.
    """
    owned = {id(code): name for name, function in functions.items() for code in codes(function)}
    kernels, seen = set(kernels), []

    def notice(frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and id(frame.f_code) in owned:
            seen.append(owned[id(frame.f_code)])
        elif event == "c_call" and getattr(argument, "__name__", None) in kernels:
            seen.append(_kernel_name(argument))

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        result = call()
        if sys.getprofile() is not notice:
            seen.append("sys.setprofile")
    finally:
        sys.setprofile(before)
    if seen:
        raise Borrowed(seen[0])
    return result


def _kernel_name(function: object) -> str:
    owner = getattr(function, "__self__", None)
    return f"Tensor.{function.__name__}" if hasattr(owner, "dtype") else f"torch's {function.__name__}"
