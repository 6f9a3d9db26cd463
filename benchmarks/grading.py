"""Grading from outside against stock nbgrader: submissions a minute and core, on the same notebooks.

    python benchmarks/grading.py --save          (Linux with bubblewrap; three to five minutes)

One call grades six copies of a solved chapter 3, without its experiment and its GPU cell in both. `stock` is `nbgrader autograde` in
one process; `own` is `lecture grade` with one job: marks and gradebook, and with feedback pages and report. Times are CPU seconds of
the command and all processes that it started. A second row leaves out what is paid once a class: twelve copies less six.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Benchmark

# isort: split
import nbformat

from scripts.authored import source_notebook
from scripts.settings import ROOT

ASSIGNMENT, FEW, MANY = "03_attention", 6, 18


def course(folder: Path, students: int) -> Path:
    """A course with that many submissions in nbgrader's tree, experiment and GPU cell emptied."""
    solved = source_notebook(ASSIGNMENT)
    for cell in solved.cells:
        if {"experiment", "gpu"} & set(cell.metadata.get("tags", [])):
            cell.source = ""
    for number in range(students):
        place = folder / "_grading" / "submitted" / f"student{number:03d}" / ASSIGNMENT
        place.mkdir(parents=True)
        (place / f"{ASSIGNMENT}.ipynb").write_text(nbformat.writes(solved))
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copytree(ROOT / "_build" / "source" / ASSIGNMENT, folder / "_build" / "source" / ASSIGNMENT)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    run(folder, "nbgrader", "generate_assignment", "--create", "--force", ASSIGNMENT)
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", dirs_exist_ok=True)
    return folder


def run(folder: Path, *command: str) -> float:
    """CPU seconds of a command and of all that it started and waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    settings = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    line = [sys.executable, "-m", *command]
    done = subprocess.run(line, cwd=folder, env=settings, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def stock(folder: Path) -> float:
    """Marks by nbgrader."""
    return run(folder, "nbgrader", "autograde", "--create", "--force", ASSIGNMENT)


def own(folder: Path) -> float:
    """Marks, gradebook, feedback pages and report by `lecture grade`."""
    return run(
        folder,
        "lecture_lib.command",
        "grade",
        "_grading/submitted",
        "--assignment",
        ASSIGNMENT,
        "--jobs",
        "1",
    )


def main() -> None:
    """Interleaved rounds on two classes of different size."""
    bench = Benchmark("grading")
    with tempfile.TemporaryDirectory() as folder:
        few, many = (course(Path(folder) / str(n), n) for n in (FEW, MANY))
        rows = []
        for _ in range(2):
            rows.append({"stock": [stock(few), stock(many)], "own": [own(few), own(many)]})
        each = {
            side: [(row[side][1] - row[side][0]) / (MANY - FEW) for row in rows] for side in ("stock", "own")
        }
        whole = {side: [row[side][1] / MANY for row in rows] for side in ("stock", "own")}
    for name, seconds in (("each further submission", each), (f"a class of {MANY}, everything", whole)):
        ratio = min(seconds["stock"]) / min(seconds["own"])
        bench.note(
            f"{name}: stock {min(seconds['stock']):.2f} s, own {min(seconds['own']):.3f} s of CPU, {ratio:.1f} times"
        )
        bench.goal(f"{name}: stock / own", ratio, at_least=8)
    bench.note(json.dumps(rows))
    bench.finish()


if __name__ == "__main__":
    main()
