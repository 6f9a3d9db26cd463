"""Mistakes that people make: known wrong answers that a check must reject and, meeting them again, recognise."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """A known wrong answer and the sentence that helps whoever wrote it."""

    hint: str  # completes "This is what comes out when ..."
    function: Callable


def altered(function: Callable, *changes: tuple[str, str]) -> Callable:
    """The function with parts of its source replaced: a mistake written as the one line that is wrong in it.

    Args:
        function: a function or class of the library; its source is read.
        changes: (old, new) pieces of source; each old piece must occur exactly once when its turn comes.

    Returns:
        The altered function or class, with the globals of the original.

    Raises:
        ValueError: a piece does not occur exactly once.
    """
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} occurs {source.count(old)} times in {function.__qualname__}, not once")
        source = source.replace(old, new)
    namespace = dict(vars(inspect.getmodule(function)))
    exec(
        compile(ast.parse(source), f"<altered {function.__qualname__}>", "exec"), namespace
    )  # our own source
    return namespace[function.__name__]
