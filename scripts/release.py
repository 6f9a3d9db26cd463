"""The notebook that students open, from the instructor's: nbgrader's own steps, without its database."""

import nbformat
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)
from nbgrader.utils import compute_checksum
from traitlets.config.loader import Config, PyFileConfigLoader

from lecture_lib.checks import chapter
from scripts.authored import NOTEBOOK_METADATA, dumps, source_notebook
from scripts.exercise_cells import start_source
from scripts.settings import ROOT

# What `nbgrader generate_assignment` does, less the kernel for generated tests and the gradebook.
STEPS = (
    LockCells,
    ClearSolutions,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    ClearHiddenTests,
    ClearMarkScheme,
    ComputeChecksums,
    CheckCellMetadata,
)


def nbgrader_settings() -> Config:
    """The settings of nbgrader_config.py."""
    return PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()


def released(name: str, settings: Config) -> str:
    """Text of the notebook for students.

    Args:
        name: ``NN_stem``, such as ``03_attention``.
        settings: nbgrader's, which say what a stub looks like.
    """
    notebook = nbformat.from_dict(source_notebook(name))
    resources = {"unique_key": name, "nbgrader": {"notebook": name, "assignment": name, "student": "."}}
    for step in STEPS:
        notebook, resources = step(config=settings).preprocess(notebook, resources)
    notebook.metadata = NOTEBOOK_METADATA
    start(name, notebook)
    return dumps(notebook)


def start(name: str, notebook: nbformat.NotebookNode) -> None:
    """Put what a student starts with into the cells of exercises that are not a function without its body."""
    sources = {cell.id: cell.source for cell in source_notebook(name).cells}
    tasks = {task.function: full for full, task in chapter(name.partition("_")[2]).items()}
    for cell in notebook.cells:
        fields = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and fields.get("solution"):
            text = start_source(tasks[fields["grade_id"]], sources[cell.id])
            if text is not None:
                cell.source = text
                fields["checksum"] = compute_checksum(cell)


def release(names: list[str]) -> dict[str, str]:
    """Text of the notebooks of several chapters, by name."""
    settings = nbgrader_settings()
    return {name: released(name, settings) for name in names}
