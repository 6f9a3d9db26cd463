"""Mistakes that people make: known wrong answers that a check must reject and, meeting them again, recognise.

Most are one changed piece of the right answer's source. They are written as rows ``(hint, old, new)`` on the normalised
source (`source_of`), so that neither line breaks nor comments nor quotes matter, and compiled when first needed.
"""

import ast
import functools
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

Row = tuple  # (hint, old, new, old, new, ...) or (hint, function)


@dataclass(frozen=True)
class Mistake:
    """A known wrong answer and the sentence that helps whoever wrote it."""

    hint: str  # completes "This is what comes out when ..."
    right: Callable | None  # what is changed
    changes: tuple[tuple[str, str], ...] = ()
    written: Callable | None = None  # the wrong answer itself, where no change of a piece gives it

    @functools.cached_property
    def function(self) -> Callable:
        """The wrong answer, made on first use."""
        return self.written or altered(self.right, *self.changes)


def mistake(row: Row, right: Callable | None) -> Mistake:
    """The mistake of a row.

    Args:
        row: ``(hint, old, new)`` with further pairs behind if more is changed, or ``(hint, function)``.
        right: the function or class whose source is changed.
    """
    hint, *rest = row
    if len(rest) == 1 and callable(rest[0]):
        return Mistake(hint, right, written=rest[0])
    return Mistake(hint, right, tuple(zip(rest[::2], rest[1::2], strict=True)))


@functools.cache
def source_of(function: Callable) -> str:
    """The normalised source: as `ast.unparse` writes it, without docstrings, comments and decorators."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            node.decorator_list = []
    return ast.unparse(tree)


def is_source_of(function: object, source: str) -> bool:
    """Whether a function was written so, but for comments and layout."""
    try:
        own = textwrap.dedent(inspect.getsource(function))
        return ast.dump(ast.parse(own)) == ast.dump(ast.parse(source))
    except (OSError, TypeError, SyntaxError):  # no source, or none that stands alone
        return False


def altered_source(function: Callable, *changes: tuple[str, str]) -> str:
    """The normalised source with pieces replaced.

    Args:
        function: a function or class whose source can be read.
        changes: (old, new) pieces; each old piece must occur exactly once when its turn comes.

    Raises:
        ValueError: a piece does not occur exactly once.
    """
    source = source_of(function)
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(
                f"{old!r} occurs {source.count(old)} times in {function.__qualname__}, not once:\n{source}"
            )
        source = source.replace(old, new)
    return source


def altered(function: Callable, *changes: tuple[str, str]) -> Callable:
    """The function with pieces of its normalised source replaced; arguments and errors as `altered_source`.

    Returns:
        The altered function or class, with the globals of the original.
    """
    source = altered_source(function, *changes)
    namespace = dict(vars(sys.modules[function.__module__]))
    exec(compile(source, f"<altered {function.__qualname__}>", "exec"), namespace)  # our own source
    return namespace[function.__name__]
