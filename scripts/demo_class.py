"""An invented class, graded: right, wrong, unfinished and broken notebooks of one chapter, made from its solutions.

python -m scripts.demo_class [ASSIGNMENT [STUDENTS]]    writes below _build/demo_class; nothing of the course is touched
"""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from lecture_lib.checks import chapter
from lecture_lib.checks.mistake import altered_source
from scripts.authored import source_notebook
from scripts.settings import ROOT

FOLDER = ROOT / "_build" / "demo_class"
NAMES = "Ada Bela Carl Dora Emil Fae Gus Hana Ivo Jana Kofi Lea Milo Nora Otto Pia Quin Rosa Sven Tara Ugo Vera Wim Xia Yara Zeno"


def cells(notebook: dict) -> dict[str, dict]:
    """Its graded cells by name."""
    found = {each["metadata"].get("nbgrader", {}).get("grade_id"): each for each in notebook["cells"]}
    return {name: cell for name, cell in found.items() if name}


def submission(assignment: str, rng: random.Random, skill: float) -> dict:
    """A notebook in which each answer is right with that probability, else a known mistake or not written."""
    solved = json.loads(nbformat.writes(source_notebook(assignment)))
    released = json.loads((ROOT / "notebooks" / assignment / f"{assignment}.ipynb").read_bytes())
    for task in chapter(assignment.partition("_")[2]).values():
        if rng.random() < skill:
            continue
        source = cells(released)[task.function]["source"]
        mistakes = [each for each in task.mistakes if each.changes] if rng.random() < 0.7 else []
        if mistakes and not task.value:
            mistake = rng.choice(mistakes)
            source = altered_source(mistake.right, *mistake.changes)
        cells(solved)[task.function]["source"] = source
    return solved


def make(folder: Path, assignment: str, students: int) -> None:
    """A folder as it comes back: notebooks named by student, three of them damaged in the usual ways."""
    rng = random.Random(2)
    names = [
        f"{name} {i // 26 + 1}" if i >= 26 else name for i, name in enumerate((NAMES.split() * 99)[:students])
    ]
    for number, name in enumerate(names):
        raw = json.dumps(submission(assignment, rng, rng.choice([0.4, 0.7, 0.9, 1.0]))).encode()
        if number % 10 == 3:
            raw = b"\xef\xbb\xbf" + raw
        if number % 10 == 5:
            raw = raw[: len(raw) // 2]
        if number % 10 == 7:
            raw = raw.replace(b'"nbgrader"', b'"lost"')
        (folder / f"{name} {assignment}.ipynb").write_bytes(raw)


def main(assignment: str = "03_attention", students: str = "30") -> None:
    """Make the class and grade it."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    back = FOLDER / "came back"
    back.mkdir(parents=True)
    (FOLDER / "notebooks").symlink_to(ROOT / "notebooks")
    make(back, assignment, int(students))
    command = [sys.executable, "-m", "lecture_lib.command", "grade", str(back), "--course", str(FOLDER)]
    sys.exit(subprocess.run([*command, "--assignment", assignment]).returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])
