"""The cells of an exercise: what its author wrote, what the student's cell starts with, and the check.

A solution cell holds its solution between ### BEGIN SOLUTION and ### END SOLUTION. It may be empty where the library's
function of that name is the solution, and for "find the bug"; it may be the head of a function and its docstring alone where
the exercise's own `right`, with the same arguments, is the solution. What the student gets instead depends on the kind:

- write, judge: the function without its body, or the class without those of its methods, as nbgrader makes it;
- bug: the code with the mistake (`Exercise.given`);
- predict, weights: the cell without the solution; a line such as `guess = None` stays before it.
"""

import ast
import inspect
import re
import textwrap

from lecture_lib.checks import exercise
from lecture_lib.checks.watch import resolve

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
SOLUTION = re.compile(r"^[ \t]*### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION\n?", re.DOTALL | re.MULTILINE)


def solution_source(name: str, body: str) -> str:
    """Source of the instructor's cell: as authored, or the right function with its body marked as the solution."""
    if SOLUTION.search(body):
        return body
    task = exercise(name)
    named = None if body.strip() or task.kind == "bug" else resolve(f"lecture_lib.{name}")
    right = named or task.right
    if right is None:
        raise SystemExit(f"{name}: lecture_lib has no {name} to fill the cell with, and the cell no solution")
    source = re.sub(rf"\b{right.__name__}\b", task.function, textwrap.dedent(inspect.getsource(right)))
    lines = _marked(source)
    if body.strip():
        if _arguments(body) != _arguments(source):
            raise SystemExit(
                f"{name}: the cell's function and the exercise's `right` differ in their arguments"
            )
        first = next(place for place, line in enumerate(lines) if line.strip() == BEGIN)
        lines = [*body.rstrip().splitlines(), *lines[first:]]
    imports = task.given.split("def ")[0].splitlines() if task.kind == "bug" else []
    return "\n".join([*imports, *lines])


def _marked(source: str) -> list[str]:
    """Lines of a function, or of a class with all its methods, each body behind its docstring between the marks."""
    node, lines = ast.parse(source).body[0], source.splitlines()
    is_class = isinstance(node, ast.ClassDef)
    functions = [each for each in node.body if isinstance(each, ast.FunctionDef)] if is_class else [node]
    for each in reversed(functions):
        first = each.body[1 if ast.get_docstring(each) is not None else 0]
        part, indent = slice(first.lineno - 1, each.end_lineno), " " * first.col_offset
        lines[part] = [indent + BEGIN, *lines[part], indent + END]
    return lines


def _arguments(source: str) -> list[tuple[str, str | None]]:
    """Names and defaults of a function's arguments."""
    given = ast.parse(source).body[0].args
    defaults = [None] * (len(given.args) - len(given.defaults)) + [ast.unparse(d) for d in given.defaults]
    return [(each.arg, default) for each, default in zip(given.args, defaults, strict=True)]


def start_source(name: str, instructors: str) -> str | None:
    """Source of the student's cell where it is not the function without its body, else None."""
    task = exercise(name)
    if task.kind == "bug":
        return task.given.rstrip("\n")
    return SOLUTION.sub("", instructors).rstrip("\n") if task.value else None


def check_source(name: str) -> str:
    """Source of the check cell. It stands on its own, whatever the names of the notebook mean by then."""
    return f'from lecture_lib.checks import check\n\ncheck("{name}", {exercise(name).function})'
