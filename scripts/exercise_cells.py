"""The cells of an exercise: what its author wrote, what the student's cell starts with, and the check.

A solution cell holds its solution between ### BEGIN SOLUTION and ### END SOLUTION. It may be empty where a function of the
library is the solution, and for "find the bug". What the student gets instead depends on the kind:

- write, judge: the function without its body, as nbgrader makes it;
- bug: the code with the mistake (`Exercise.given`);
- predict, weights: the cell without the solution; a line such as `guess = None` stays before it.
"""

import ast
import inspect
import re
import textwrap

from lecture_lib.checks import exercise
from lecture_lib.checks.watch import resolve

SOLUTION = re.compile(r"^[ \t]*### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION\n?", re.DOTALL | re.MULTILINE)


def solution_source(name: str, body: str) -> str:
    """Source of the instructor's cell: as authored, or the right function with its body marked as the solution."""
    if body.strip():
        if not SOLUTION.search(body):
            raise SystemExit(f"{name}: the solution cell has no ### BEGIN SOLUTION ... ### END SOLUTION")
        return body
    task = exercise(name)
    right = task.right if task.kind == "bug" else resolve(f"lecture_lib.{name}") or task.right
    if task.kind != "bug" and right.__module__.startswith("lecture_lib.exercises"):
        raise SystemExit(f"{name}: the cell is empty and lecture_lib has no {name} to fill it with")
    source = re.sub(rf"\b{right.__name__}\b", task.function, textwrap.dedent(inspect.getsource(right)))
    node = ast.parse(source).body[0]
    first = node.body[1 if ast.get_docstring(node) is not None else 0]
    lines, indent = source.splitlines(), " " * first.col_offset
    head, body_lines = lines[: first.lineno - 1], lines[first.lineno - 1 :]
    imports = task.given.split("def ")[0].splitlines() if task.kind == "bug" else []
    return "\n".join(
        [*imports, *head, f"{indent}### BEGIN SOLUTION", *body_lines, f"{indent}### END SOLUTION"]
    )


def start_source(name: str, instructors: str) -> str | None:
    """Source of the student's cell where it is not the function without its body, else None."""
    task = exercise(name)
    if task.kind == "bug":
        return task.given.rstrip("\n")
    return SOLUTION.sub("", instructors).rstrip("\n") if task.value else None


def check_source(name: str) -> str:
    """Source of the check cell. It stands on its own, whatever the names of the notebook mean by then."""
    return f'from lecture_lib.checks import check\n\ncheck("{name}", {exercise(name).function})'
