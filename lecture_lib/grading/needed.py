"""Which cells run: answers, the student's own cells, and every cell that binds a global name which these read."""

import ast
import builtins
import functools
import symtable
from dataclasses import dataclass

from lecture_lib.grading.triage import Triaged, is_check, name_of

NEVER = {"install", "gpu"}
LONG = {"experiment"}
STRAIGHT = (
    ast.Assign,
    ast.FunctionDef,
    ast.ClassDef,
    ast.Import,
    ast.ImportFrom,
)  # bind their names in any case


@dataclass(frozen=True)
class Names:
    """Global names that a cell binds, and those that it reads."""

    bound: frozenset[str]
    read: frozenset[str]


@functools.lru_cache(128)  # most cells are the course's own, in every submission the same
def names(source: str) -> Names | None:
    """What a cell binds, and what it reads before it has bound it; None if it is no Python."""
    lines = [line for line in source.splitlines() if not line.lstrip().startswith(("%", "!"))]
    bound, surely, read = set(), set(), set()
    try:
        for statement in ast.parse("\n".join(lines)).body:
            mine, used = _of_statement(ast.unparse(statement))
            read |= used - surely
            bound |= mine
            surely |= mine if isinstance(statement, STRAIGHT) else set()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return Names(frozenset(bound), frozenset(read - set(vars(builtins))))


def _of_statement(source: str) -> tuple[set[str], set[str]]:
    """Global names that a statement binds, and those that it or a function in it reads."""
    top = symtable.symtable(source, "cell", "exec")
    bound = {
        s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()
    }
    read, todo = set(), [top]
    while todo:
        table = todo.pop()
        todo += table.get_children()
        outer = table.get_type() == "module"
        read |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (outer or s.is_global())}
    return bound, read


def needed(notebook: Triaged, everything: bool = False) -> set[int]:
    """Places of the code cells to run.

    Args:
        notebook: after triage.
        everything: run the rest too, but for installation and GPU cells.
    """
    cells, skipped = notebook.cells, NEVER if everything else NEVER | LONG
    code = [
        i
        for i, cell in enumerate(cells)
        if cell["cell_type"] == "code" and not (name_of(cell) and is_check(cell))
    ]
    code = [i for i in code if not cells[i].get("spare")]  # another copy of an answer counts
    code = [i for i in code if i in notebook.own or not skipped & _tags(cells[i])]
    if everything:
        return set(code)
    known = {i: names(cells[i]["source"]) for i in code}
    run = {i for i in code if name_of(cells[i]) or i in notebook.own}
    while True:
        wanted = frozenset().union(*(known[i].read for i in run if known[i]))
        more = {i for i in code if i not in run and known[i] and known[i].bound & wanted and i < max(run)}
        if not more:
            return run
        run |= more


def _tags(cell: dict) -> set[str]:
    tags = cell["metadata"].get("tags")
    return {each for each in tags if type(each) is str} if type(tags) is list else set()
