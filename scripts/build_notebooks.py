"""Build the notebooks that students open: solutions/NN_stem.md -> notebooks/NN_stem/NN_stem.ipynb.

The authored text is MyST; jupytext reads it, this script adds what is the same everywhere (badge, install cell,
exercise headings, check cells, nbgrader's metadata), nbgrader takes the solutions out. A rebuild is byte-identical.

    python scripts/build_notebooks.py [03_attention ...]

What an author writes:
- ``{{ badge }}`` under the title becomes the Colab badge with the notebook's points; ``## Softmax {{ attention.softmax }}``
  becomes the exercise's numbered heading with difficulty, minutes and points;
- a code cell with ``:exercise: attention.softmax`` holds the solution between ### BEGIN SOLUTION and ### END SOLUTION, or
  nothing at all if the library's function of that name is the solution; its check cell is added behind it (`exercise_cells`
  says what the kinds of exercise need);
- ``+++ {"question": "why_scale", "points": 3}`` makes the next Markdown cell a hand-graded answer (the text is the model answer).
"""

import argparse
import copy
import itertools
import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from exercise_cells import check_source, solution_source, start_source  # noqa: E402

from lecture_lib.checks import chapter, exercise  # noqa: E402
from lecture_lib.files import write_text  # noqa: E402

INSTALL = '''\
# On Colab this fetches the course's library alone; nothing that is already installed is touched.
try:
    import lecture_lib
except ImportError:
    %pip install -q --no-deps "git+{url}.git@{branch}"'''
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
HEADING = re.compile(r"^## (.+?) \{\{ (\w+\.\w+) \}\}$", re.MULTILINE)
NOTEBOOK_METADATA = {
    "colab": {"provenance": []},
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def repository() -> tuple[str, str]:
    """URL and branch of the course's repository, from the one place where they stand."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    return settings["url"].rstrip("/"), settings["branch"]


def colab_url(name: str) -> str:
    """Address that opens the notebook of a chapter in Colab."""
    url, branch = repository()
    slug = re.sub(r"^https?://github\.com/", "", url)
    return f"https://colab.research.google.com/github/{slug}/blob/{branch}/notebooks/{name}/{name}.ipynb"


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


def release(names: list[str]) -> dict[str, str]:
    """Text of the notebooks for students, made by nbgrader from the instructor's.

    Args:
        names: ``NN_stem`` of each chapter.

    Returns:
        For each name the notebook's text.
    """
    from nbgrader.apps import NbGraderAPI
    from traitlets.config.loader import PyFileConfigLoader

    # nbgrader makes its database by calling `alembic` by name: the one beside this Python must be found first.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
        config.CourseDirectory.root = folder
        config.CourseDirectory.source_directory, config.CourseDirectory.release_directory = (
            "source",
            "release",
        )
        config.CourseDirectory.db_url = f"sqlite:///{folder}/gradebook.db"
        for name in names:
            path = Path(folder, "source", name, f"{name}.ipynb")
            path.parent.mkdir(parents=True)
            path.write_text(dumps(source_notebook(name)), encoding="utf-8")
        api = NbGraderAPI(config=config)
        built = {}
        for name in names:
            result = api.generate_assignment(name, force=True, create=True)
            if not result["success"]:
                raise SystemExit(
                    f"nbgrader could not release {name}:\n{result.get('error') or result.get('log')}"
                )
            notebook = nbformat.read(Path(folder, "release", name, f"{name}.ipynb"), as_version=4)
            notebook.metadata = NOTEBOOK_METADATA
            start(name, notebook)
            built[name] = dumps(notebook)
    return built


def start(name: str, notebook: nbformat.NotebookNode) -> None:
    """Put what a student starts with into the cells of those exercises that are not a function without its body."""
    from nbgrader.utils import compute_checksum

    sources = {cell.id: cell.source for cell in source_notebook(name).cells}
    tasks = {task.function: full for full, task in chapter(name.partition("_")[2]).items()}
    for cell in notebook.cells:
        fields = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and fields.get("solution"):
            text = start_source(tasks[fields["grade_id"]], sources[cell.id])
            if text is not None:
                cell.source = text
                fields["checksum"] = compute_checksum(cell)


def chapters() -> list[str]:
    """Names of the chapters that have an authored notebook."""
    return sorted(path.stem for path in (ROOT / "solutions").glob("[0-9][0-9]_*.md"))


def write(path: Path, text: str) -> bool:
    """Write a file in one step, and only if its text is new."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return True


def chapter_table() -> str:
    """The table of chapters for the README: title, exercises, the way to Colab."""
    rows = ["| chapter | exercises | |", "|---|---|---|"]
    for name in chapters():
        title = re.search(
            r"^# (.+)$", (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8"), re.MULTILINE
        )[1]
        asked = HEADING.findall((ROOT / "solutions" / f"{name}.md").read_text(encoding="utf-8"))
        page, tasks = f"[{title}](book/{name}.md)", ", ".join(task.lower() for task, _ in asked)
        rows.append(f"| {int(name[:2])} {page} | {tasks} | [![Open in Colab]({BADGE})]({colab_url(name)}) |")
    return "\n".join(rows)


def outputs(names: list[str]) -> dict[Path, str]:
    """Every generated file of the repository with its text: the notebooks named, and the README's table."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = f"<!-- chapters -->\n{chapter_table()}\n<!-- end -->"
    readme = re.sub(r"<!-- chapters -->.*<!-- end -->", lambda _: table, readme, flags=re.DOTALL)
    files = {ROOT / "notebooks" / name / f"{name}.ipynb": text for name, text in release(names).items()}
    return files | {ROOT / "README.md": readme}


def main() -> None:
    """Build the notebooks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="chapters, such as 03_attention; all if none is named")
    parser.add_argument("--source", type=Path, help="also write the instructor's notebooks below this folder")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file is not up to date"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(chapters()):
        parser.error(f"no solutions/{unknown.pop()}.md; there are {', '.join(chapters())}")
    names = arguments.names or chapters()
    for path, text in outputs(names).items():
        if arguments.check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            sys.exit(f"{path.relative_to(ROOT)} is not up to date: run `make notebooks` and commit it")
        if not arguments.check and write(path, text):
            print(f"written: {path.relative_to(ROOT)}")
    for name in names if arguments.source else ():
        write(arguments.source / name / f"{name}.ipynb", dumps(source_notebook(name)))
    if "OWNER" in repository()[0]:
        print(
            f"Badges and install cells point to {repository()[0]}: set it in _config.yml, then `make notebooks`."
        )


if __name__ == "__main__":
    main()
