"""The instructor's notebook of a chapter, from the authored text: solutions/NN_stem.md.

The text is MyST, which jupytext reads; what is the same everywhere is added here (badge, install cell, exercise headings, check cells,
nbgrader's metadata).

What an author writes:
- ``{{ badge }}`` under the title becomes the Colab badge with the notebook's points; ``## Softmax {{ attention.softmax }}``
  becomes the exercise's numbered heading with difficulty, minutes and points;
- a link to ``../../book/NN_stem.md`` becomes one to the published page: a notebook on Colab has no book beside it;
- a code cell with ``:exercise: attention.softmax`` holds the solution between ### BEGIN SOLUTION and ### END SOLUTION, or
  nothing at all if the library's function of that name is the solution; its check cell is added behind it;
- ``+++ {"question": "why_scale", "points": 3}`` makes the next Markdown cell a hand-graded answer (the text is the model answer).
"""

import copy
import itertools
import re

import jupytext
import nbformat

from lecture_lib.checks import exercise
from scripts.exercise_cells import check_source, solution_source
from scripts.settings import ROOT, book_url, colab_url, repository

INSTALL = '''\
# On Colab this fetches the course's library alone; nothing that is already installed is touched.
try:
    import lecture_lib
except ImportError:
    %pip install -q --no-deps "git+{url}.git@{branch}"'''
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
PAGE = re.compile(r"\(\.\./\.\./book/(\w+)\.md\)")
HEADING = re.compile(r"^## (.+?) \{\{ (\w+\.\w+) \}\}$", re.MULTILINE)
NOTEBOOK_METADATA = {
    "colab": {"provenance": []},
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def nbgrader_metadata(grade_id: str, grade: bool, solution: bool, points: int | None = None) -> dict:
    """A cell's metadata as nbgrader's own formgrader writes it (schema 3)."""
    locked = not solution
    fields = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": locked,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    return {"nbgrader": fields | ({"points": points} if grade else {})}


def heading(title: str, task_name: str, number: str) -> str:
    """``## Exercise 3.2 — title`` and under it ``●●○ · 15 min · 4 points``."""
    task = exercise(task_name)
    dots = "●" * task.difficulty + "○" * (3 - task.difficulty)
    points = f"{task.points} point{'s' * (task.points != 1)}"
    return f"## Exercise {number} — {title}\n\n{dots} · {task.minutes} min · {points}"


def badge(name: str, points: int) -> str:
    """The line under a notebook's title."""
    return f"[![Open in Colab]({BADGE})]({colab_url(name)}) · {points} points"


def source_notebook(name: str) -> nbformat.NotebookNode:
    """The instructor's notebook of a chapter: solutions in place, nbgrader's metadata on every cell that counts.

    Args:
        name: ``NN_stem``, such as ``03_attention``.
    """
    authored = jupytext.reads((ROOT / "solutions" / f"{name}.md").read_text(encoding="utf-8"), fmt="md:myst")
    cells = []
    for cell in authored.cells:
        cells += _built(cell, first=not cells, name=name)
    points = sum(cell.metadata.get("nbgrader", {}).get("points", 0) for cell in cells)
    _number(cells)
    numbers = (f"{int(name[:2])}.{place}" for place in itertools.count(1))
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("{{ badge }}", badge(name, points))
            cell.source = PAGE.sub(lambda found: f"({book_url(f'book/{found[1]}.html')})", cell.source)
            cell.source = HEADING.sub(lambda found: heading(found[1], found[2], next(numbers)), cell.source)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=copy.deepcopy(NOTEBOOK_METADATA))
    nbformat.validate(notebook)
    return notebook


def _built(cell: nbformat.NotebookNode, first: bool, name: str) -> list[nbformat.NotebookNode]:
    """The cell itself, and the ones that always go with it."""
    if first:
        url, branch = repository()
        install = nbformat.v4.new_code_cell(INSTALL.format(url=url, branch=branch), id="install")
        install.metadata = {"tags": ["remove-cell", "install"]}
        return [cell, install]
    if task_name := cell.metadata.pop("exercise", None):
        task = exercise(task_name)
        cell.source = solution_source(task_name, cell.source)
        cell.metadata |= nbgrader_metadata(task.function, grade=False, solution=True)
        check = nbformat.v4.new_code_cell(check_source(task_name))
        check.metadata = nbgrader_metadata(
            f"check_{task.function}", grade=True, solution=False, points=task.points
        )
        return [cell, check]
    if question := cell.metadata.pop("question", None):
        cell.metadata = nbgrader_metadata(
            question, grade=True, solution=True, points=cell.metadata.pop("points")
        )
        cell.source = f"### BEGIN SOLUTION\n{cell.source}\n### END SOLUTION"
    return [cell]


def _number(cells: list[nbformat.NotebookNode]) -> None:
    """Cell ids that a rebuild gives again: the grade_id where there is one, else the cell's place."""
    for place, cell in enumerate(cells):
        graded = cell.metadata.get("nbgrader", {}).get("grade_id")
        tags = cell.metadata.get("tags", [])
        cell.id = graded or ("install" if "install" in tags else f"cell-{place:02d}")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def dumps(notebook: nbformat.NotebookNode) -> str:
    """A notebook as the text that is committed."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"
