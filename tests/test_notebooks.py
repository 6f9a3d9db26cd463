"""The notebooks that students open: up to date, complete, without solutions; and graded by stock nbgrader as they should be."""

import ast
import datetime
import json
import linecache
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from answers import CHAPTERS, solved
from nbgrader.api import Gradebook

from lecture_lib import checks
from lecture_lib.checks import kinds, session
from scripts.authored import NOTEBOOK_METADATA, dumps, source_notebook
from scripts.notebooks import write
from scripts.release import release, start
from scripts.settings import ROOT, book_url, colab_url, repository, tools_path
from scripts.shown import page

NAMES = sorted(CHAPTERS.values())


def stem(name):
    return name.partition("_")[2]


def released(name):
    return nbformat.read(ROOT / "notebooks" / name / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def rebuilt():
    return release(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_rebuild_gives_the_committed_notebook_byte_by_byte(rebuilt, name):
    committed = (ROOT / "notebooks" / name / f"{name}.ipynb").read_text(encoding="utf-8")
    assert rebuilt[name] == committed, f"`make notebooks` and commit notebooks/{name}"


def test_every_notebook_has_its_source_and_every_chapter_its_notebook():
    assert sorted(path.parent.name for path in (ROOT / "notebooks").glob("*/*.ipynb")) == NAMES
    assert sorted(CHAPTERS) == checks.chapters()


@pytest.mark.parametrize("name", NAMES)
def test_a_released_notebook_is_valid_and_bare(name):
    notebook = released(name)
    nbformat.validate(notebook)
    text = json.dumps(notebook)
    assert "BEGIN SOLUTION" not in text
    assert "END SOLUTION" not in text
    assert all(
        cell.execution_count is None and not cell.outputs
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert "{{" not in "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_line_of_a_solution_is_released(name):
    tasks = checks.chapter(stem(name)).values()
    given = {task.function for task in tasks if task.kind == "bug"}  # these show code, with a mistake in it
    text = "".join(cell.source for cell in released(name).cells if cell.id not in given)
    for cell in solved(stem(name)).values():
        if cell.metadata.get("nbgrader", {}).get("solution") and cell.id not in given:
            body = "".join(re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source, re.DOTALL))
            given = checks.chapter(stem(name)).get(f"{stem(name)}.{cell.id}")
            given = given.given if given else ""  # of a bug to find, all lines but one are right
            lines = [line.strip() for line in body.splitlines() if len(line.strip()) > 25]
            lines = [line for line in lines if line.split("  # ")[0] not in given]
            assert not [line for line in lines if line in text], cell.id


def cells_that_only_import(cells):
    for cell in cells:
        body = ast.parse(re.sub(r"^%.*$", "", cell.source, flags=re.MULTILINE)).body
        if body and all(isinstance(node, ast.Import | ast.ImportFrom) for node in body):
            yield cell.id


@pytest.mark.slow
@pytest.mark.parametrize(
    "function", [(name, task.function) for name in NAMES for task in checks.chapter(stem(name)).values()]
)
def test_an_answer_needs_no_other_answer(function, monkeypatch, capsys):
    """Only one exercise is solved, all others are as they are handed out: its check passes all the same."""
    name, function = function
    monkeypatch.setattr("matplotlib.pyplot.show", lambda *_: None)
    cells = [cell for cell in released(name).cells if cell.cell_type == "code" and cell.id != "install"]
    tasks = {task.function: task for task in checks.chapter(stem(name)).values()}
    imports, names = {cells[0].id, *cells_that_only_import(cells)}, {}
    kinds._guesses.clear()
    for cell in cells:
        source = solved(stem(name))[function].source if cell.id == function else cell.source
        if cell.id in imports or cell.id in tasks:
            path = f"{name}-{cell.id}"
            linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
            exec(compile(source, path, "exec"), names)
        if cell.id == f"check_{function}":
            checks.check(tasks[function].name, names[function])
    assert checks.passed(tasks[function].name), capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_nbgraders_own(name):
    grading = [cell.metadata.nbgrader for cell in released(name).cells if "nbgrader" in cell.metadata]
    assert all(fields.schema_version == 3 for fields in grading)
    assert all(fields.locked for fields in grading if fields.grade and not fields.solution)
    by_hand = {fields.grade_id: fields.points for fields in grading if fields.grade and fields.solution}
    assert len(by_hand) == 1
    assert by_hand == session._content(stem(name)).BY_HAND
    points = {fields.grade_id: fields.points for fields in grading if fields.grade and not fields.solution}
    assert points == {f"check_{task.function}": task.points for task in checks.chapter(stem(name)).values()}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_the_anatomy_of_all(name):
    cells = released(name).cells
    tags = [tag for cell in cells for tag in cell.metadata.get("tags", [])]
    assert cells[0].source.startswith("# Exercises: ")
    assert colab_url(name) in cells[0].source
    assert cells[1].id == "install"
    assert f"{repository()[0]}.git" in cells[1].source
    assert cells[-1].source == f'progress("{stem(name)}")'
    assert {"experiment", "gpu"} <= set(tags)
    headings = [line for cell in cells for line in cell.source.splitlines() if line.startswith("## Exercise")]
    wanted = [f"## Exercise {int(name[:2])}.{i + 1} — " for i in range(len(checks.chapter(stem(name))))]
    assert [heading[: len(start)] for heading, start in zip(headings, wanted, strict=True)] == wanted


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_link_to_the_chapter_leads_to_the_published_page_and_inside_the_book_to_its_own(name):
    text = "\n".join(cell.source for cell in released(name).cells)
    assert f"]({book_url(f'book/{name}.html')})" in text and "](../" not in text
    shown = page(name, solutions=False)
    assert f"](../../book/{name}.md)" in shown and book_url("book/") not in shown


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_prints_an_object_of_matplotlib(name):
    last = [cell.source.splitlines()[-1] for cell in released(name).cells if cell.cell_type == "code"]
    assert [line for line in last if re.match(r"(axes|figure|plt)\b.*\)$", line)] == []


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_install_nothing_but_the_library(name):
    for cell in released(name).cells[2:]:
        assert not re.search(r"^\s*[%!]\s*(pip|conda|apt)|subprocess", cell.source, re.MULTILINE)


# ------------------------------------------------------------------------------------------ graded by stock nbgrader


def nbgrader(course, *arguments):
    command = [sys.executable, "-m", "nbgrader", *arguments]
    environment = os.environ | {"PATH": tools_path(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


# Stock nbgrader is slow: a run tries one chapter, every day another one. CHAPTER=03_attention chooses it.
TODAY = os.environ.get("CHAPTER") or NAMES[datetime.date.today().toordinal() % len(NAMES)]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course as `make gradebook` leaves it, with an assignment registered; its folder's name has a space."""
    folder = tmp_path_factory.mktemp("a") / "my course"
    folder.mkdir()
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    write(folder / "_build" / "source" / TODAY / f"{TODAY}.ipynb", dumps(source_notebook(TODAY)))
    nbgrader(folder, "generate_assignment", "--create", TODAY)
    return folder


@pytest.mark.slow
def test_nbgraders_own_command_gives_the_same_bytes(course):
    made = nbformat.read(course / "notebooks" / TODAY / f"{TODAY}.ipynb", as_version=4)
    made.metadata = NOTEBOOK_METADATA
    start(TODAY, made)
    assert dumps(made) == release([TODAY])[TODAY]


def hand_in(course, student, name, notebook):
    """Submit a notebook; experiments are left out, as they cost time and no points."""
    notebook.cells = [
        cell for cell in notebook.cells if not {"experiment", "gpu"} & set(cell.metadata.get("tags", []))
    ]
    write(course / "_grading" / "submitted" / student / name / f"{name}.ipynb", nbformat.writes(notebook))


def with_mistakes(name, number):
    """The solved notebook with mistake `number` (modulo how many there are) in the place of every solution."""
    notebook = source_notebook(name)
    for cell in notebook.cells:
        task = next((t for t in checks.chapter(stem(name)).values() if t.function == cell.id), None)
        if task is not None:
            index = number % len(task.mistakes)
            cell.source = (
                "import types\nfrom lecture_lib.checks import exercise\n"
                f"task = exercise({task.name!r})\nwrong = task.mistakes[{index}].function\n"
                "wrong = wrong() if task.value else wrong\n"
                "if isinstance(wrong, types.FunctionType):  # a copy, or it would be refused as borrowed\n"
                "    parts = (wrong.__globals__, wrong.__name__, wrong.__defaults__, wrong.__closure__)\n"
                "    copied = types.FunctionType(wrong.__code__.replace(), *parts)\n"
                "    copied.__kwdefaults__ = wrong.__kwdefaults__\n"
                f"    wrong = copied\n{cell.id} = wrong"
            )
    # What shows a result may stumble over a wrong one; only the graded cells matter here.
    notebook.cells = [
        cell
        for place, cell in enumerate(notebook.cells)
        if cell.cell_type != "code" or "nbgrader" in cell.metadata or place < 4
    ]
    return notebook


@pytest.mark.slow
def test_stock_nbgrader_gives_the_marks_that_are_due(course):
    name = TODAY
    tasks = checks.chapter(stem(name)).values()
    wrong = ["mistake00", "mistake01"]  # that a check refuses every mistake is shown in test_checks
    hand_in(course, "right", name, source_notebook(name))
    hand_in(course, "untouched", name, released(name))
    for number, student in enumerate(wrong):
        hand_in(course, student, name, with_mistakes(name, number))
    nbgrader(course, "autograde", "--create", name)
    with Gradebook(f"sqlite:///{course}/_grading/gradebook.db") as gradebook:
        for student in ["right", "untouched", *wrong]:
            grades = gradebook.find_submission_notebook(name, name, student).grades
            scores = {
                grade.cell.name: grade.auto_score for grade in grades if grade.cell.name.startswith("check_")
            }
            due = {
                f"check_{task.function}": float(task.points) if student == "right" else 0.0 for task in tasks
            }
            assert scores == due, student


@pytest.mark.slow
def test_nothing_with_grades_can_be_committed(course):
    write(
        course / "_grading" / "submitted" / "ada" / TODAY / f"{TODAY}.ipynb", nbformat.writes(released(TODAY))
    )
    nbgrader(course, "export")
    assert (course / "_grading" / "grades.csv").exists()
    for stray in (
        "gradebook.db",
        "grades.csv",
        "submitted/ada/x.ipynb",
        "feedback/ada/x.html",
        "gradebook.db.2026-01-01",
    ):
        write(course / stray, "ada 12")
    shutil.copy(ROOT / ".gitignore", course)
    subprocess.run(["git", "init", "-q"], cwd=course, check=True)
    added = subprocess.run(["git", "add", "-n", "."], cwd=course, capture_output=True, text=True, check=True)
    names = {line.removeprefix("add '").removesuffix("'") for line in added.stdout.splitlines()}
    assert names == {".gitignore", "nbgrader_config.py", f"notebooks/{TODAY}/{TODAY}.ipynb"}
