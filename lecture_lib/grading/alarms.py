"""What a person should look at: alarms never change a mark."""

import ast
import functools
from contextlib import suppress

from lecture_lib.checks.exercise import Exercise
from lecture_lib.checks.mistake import source_of

MACHINERY = {
    "ctypes",
    "gc",
    "setprofile",
    "settrace",
    "__code__",
    "__globals__",
    "__closure__",
    "_getframe",
    "__builtins__",
}
GIVEN = ("checks.check", "checks.passed", "checks.progress")  # what a notebook imports by itself
OURS = ("lecture_lib.checks", "lecture_lib.exercises", "lecture_lib.grading")


def alarms(source: str, task: Exercise | None = None) -> list[str]:
    """Why a cell is worth a look: it names the machinery, or it is code of the course, letter for letter.

    Args:
        source: a cell.
        task: the exercise that it answers.
    """
    try:
        tree = ast.parse(
            "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    used = sorted(_words(tree))
    found = [f"uses {', '.join(used)}"] if used else []
    if task:
        mine = _bare(tree, task.function)
        known = {"the library's code": task.right, "the check's reference": task.reference}
        found += [f"is {whose}" for whose, function in known.items() if mine in _written(function)]
    return found


@functools.cache  # once a class
def _written(function: object) -> tuple[str, ...]:
    try:
        tree = ast.parse(source_of(function))
        return tuple(_bare(tree, node.name) for node in tree.body if hasattr(node, "name"))
    except (OSError, TypeError, SyntaxError):  # no source
        return ()


def _bare(tree: ast.AST, name: str) -> str | None:
    """A definition without its name, its docstring, its annotations; they are taken out of the tree."""
    for node in getattr(tree, "body", []):
        if getattr(node, "name", None) == name:
            node.name, node.returns = "answer", None
            for each in ast.walk(node):
                if isinstance(each, ast.arg):
                    each.annotation = None
            first = node.body[0]
            text = isinstance(first, ast.Expr) and isinstance(getattr(first, "value", None), ast.Constant)
            node.body = node.body[text:]
            with suppress(RecursionError):  # the course has no expression that deep
                return ast.dump(node)
    return None


def _words(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        found |= {name for name in _named(node) if name.split(".")[0] in MACHINERY}
        found |= {name for name in _named(node) if name.startswith(OURS) and not name.endswith(GIVEN)}
    return found


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{each.name}" for each in node.names]
    return [getattr(node, "id", None) or getattr(node, "attr", "")]
