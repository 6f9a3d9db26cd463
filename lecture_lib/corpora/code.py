"""Real Python code without a download: the standard library, with its docstrings and comments taken out.

What is left is another language than the prose of `english`, and shares no text with it. For a given installation the
result is always the same; another Python version gives slightly different code.
"""

import ast
import sysconfig
import warnings
import zlib
from functools import cache
from pathlib import Path

from lecture_lib.fields import choice

N_FILES = 80  # the first ones, alphabetically: a megabyte


@cache
def python_code(split: str | None = None) -> str:
    """Join the code of the standard library's first files.

    Args:
        split: "train" (nine files of ten), "validation" (the others) or None. The side of a file depends on its name.
    """
    choice("split", split, ("train", "validation", None))
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:N_FILES]
    chosen = [path for path in files if split in (None, side_of(path))]
    return "".join(code_alone(path.read_text(encoding="utf-8")) + "\n" for path in chosen)


def side_of(path: Path) -> str:
    """Put a file on one side by the checksum of its name."""
    return "validation" if zlib.crc32(path.name.encode()) % 10 == 0 else "train"


def code_alone(source: str) -> str:
    """Take out what is prose: comments, and strings that stand alone as a statement."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file's old habits
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kept = [each for each in node.body if not _is_text(each)]
            node.body = kept or ([] if isinstance(node, ast.Module) else [ast.Pass()])
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
