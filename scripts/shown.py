"""The notebook of a chapter as its page shows it: what a student opens, with the outputs of the solution.

The solution's code runs but is shown only under ``course: show_solutions`` in ``_config.yml``.
"""

import json
import re

import nbformat

from scripts.authored import source_notebook
from scripts.settings import ROOT, book_url, config

BADGE = re.compile(r"\[!\[Open in Colab\]\(\S+\)\]")
HIDDEN = "*The output below comes from a solution that is not shown here.*"


def show_solutions() -> bool:
    """The setting ``course.show_solutions`` of ``_config.yml``."""
    return bool(config().get("course", {}).get("show_solutions", False))


def page(name: str, solutions: bool) -> str:
    """The notebook of a chapter as its page shows it.

    Args:
        name: ``NN_stem``.
        solutions: whether solution code and model answers are shown.

    Returns:
        The text of a notebook that can be executed.
    """
    stubs = nbformat.read(ROOT / "notebooks" / name / f"{name}.ipynb", as_version=4).cells
    stub = {cell.id: cell.source for cell in stubs}
    notebook = source_notebook(name)
    notebook.cells = [shown for cell in notebook.cells for shown in _shown(cell, stub, solutions)]
    return json.dumps(notebook)


def _shown(cell: nbformat.NotebookNode, stub: dict[str, str], solutions: bool) -> list[nbformat.NotebookNode]:
    """The cells of the page that stand for one cell of the notebook."""
    grading = cell.metadata.get("nbgrader")
    if "gpu" in cell.metadata.get("tags", []):
        cell.metadata.tags = [*cell.metadata.tags, "skip-execution"]
    if not grading or not grading["solution"]:
        cell.source = BADGE.sub("[Open in Colab]", cell.source)  # the badge's picture lies on another server
        published = rf"\({re.escape(book_url('book/'))}(\w+)\.html\)"  # here the pages are the book's own
        cell.source = re.sub(published, r"(../../book/\1.md)", cell.source)
        if grading and not solutions:
            return [cell, nbformat.v4.new_markdown_cell(HIDDEN, id=f"{cell.id}-hidden")][::-1]
        return [cell]
    cell.source = re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", cell.source, flags=re.MULTILINE).rstrip()
    if cell.cell_type == "markdown":
        answer = f":::{{admonition}} Model answer\n:class: dropdown\n{cell.source}\n:::"
        task = "*Your answer here; it is read and graded by a person.*"
        return [nbformat.v4.new_markdown_cell(answer if solutions else task, id=cell.id)]
    seen = nbformat.v4.new_markdown_cell(f"```python\n{stub[cell.id]}\n```", id=f"{cell.id}-stub")
    cell.metadata = {"tags": ["hide-input" if solutions else "remove-input"]}
    return [seen, cell]
