"""Grading from outside against stock nbgrader: submissions a minute and core, on the same notebooks.

    make notebooks && python benchmarks/grading.py --save          (Linux with bubblewrap; three to five minutes)

One call grades six copies of a solved chapter 3, without its experiment and its GPU cell in both. `stock` is `nbgrader autograde` in
one process; `own` is `lecture grade` with one job: marks and gradebook, and with feedback pages and report. Times are CPU seconds of
the command and all processes that it started. A second row leaves out what is paid once a class: twelve copies less six.

    python benchmarks/grading.py --class         (two minutes: a class of 200 alone, from five templates)

Two hundred notebooks (solved, half solved, known mistakes, one that ends its process, one that computes for ever) with two jobs and
--timeout 3: time, where a submission's time goes, and peak memory of grader, server, a submission's confined processes and all together.
Pages that processes share count in proportion; `confined, own` are those that a submission shares with nobody: what one more job costs.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from unittest.mock import patch

from harness import Benchmark

# isort: split
import nbformat
import psutil

from lecture_lib.checks import chapter
from lecture_lib.checks.exercise import Exercise
from lecture_lib.checks.mistake import altered_source
from lecture_lib.grading import safe, submission
from lecture_lib.grading.server import Child, Server
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


def templates() -> dict[str, bytes]:
    """Five notebooks: solved, half solved, known mistakes, one that ends its process, one that computes for ever."""
    made = {name: source_notebook(ASSIGNMENT) for name in ("solved", "half", "mistakes", "crash", "hang")}
    cells = {name: {cell.id: cell for cell in book.cells} for name, book in made.items()}
    released = json.loads((ROOT / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_bytes())
    empty = {cell["id"]: "".join(cell["source"]) for cell in released["cells"]}
    for place, task in enumerate(chapter(ASSIGNMENT.partition("_")[2]).values()):
        if place % 2:
            cells["half"][task.function].source = empty[task.function]
        changes = next((each.changes for each in task.mistakes if each.changes), None)
        if changes:
            cells["mistakes"][task.function].source = altered_source(task.right, *changes)
    cells["crash"]["softmax"].source = "import os\nos._exit(1)"
    cells["hang"]["softmax"].source = "while True:\n    pass"
    return {name: nbformat.writes(book).encode() for name, book in made.items()}


def whole_class(bench: Benchmark, students: int = 200) -> None:
    """Time and memory of `lecture grade --jobs 2`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "back").mkdir()
        (folder / "notebooks").symlink_to(ROOT / "notebooks")
        given = list(templates().values())
        for number in range(students):
            (folder / "back" / f"student{number:03d}.ipynb").write_bytes(given[number % 5])
        line = [sys.executable, "-m", "lecture_lib.command", "grade", "back", "--assignment", ASSIGNMENT]
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        grader = subprocess.Popen(
            [*line, "--jobs", "2", "--timeout", "3"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=-3,
            stderr=-3,
        )
        peak: Counter = Counter()
        while grader.poll() is None:
            time.sleep(0.1)
            for role, size in taken(grader.pid):
                peak[role] = max(peak[role], size)
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    bench.note(
        f"a class of {students}, 2 jobs: {wall:.0f} s, {wall / students:.2f} s a submission ({cpu:.0f} s of CPU without the confined"
        f" processes; load {os.getloadavg()[1]:.1f}); peak memory in MB: { {role: round(size) for role, size in peak.items()} }"
    )


def taken(pid: int) -> list[tuple[str, float]]:
    """Megabytes of the grader, the server and each tree of confined processes, common pages in proportion, and of all together."""
    found = []
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        size = {each: sizes(each) for each in (first, *first.children(recursive=True))}
        found += [("grader", size[first][0]), ("all together", sum(pss for pss, _ in size.values()))]
        for each in size:
            if "lecture_lib.grading.zygote" in each.cmdline() and each.name() != "bwrap":
                confined = "zygote" in " ".join(each.parent().cmdline()) and each.parent().name() != "bwrap"
                inside = each.children(recursive=True) if confined else []
                pss, own = map(sum, zip(*(size.get(one, (0, 0)) for one in (each, *inside)), strict=True))
                found += [("confined", pss), ("confined, own", own)] if confined else [("server", pss)]
    return found


def sizes(process: psutil.Process) -> tuple[float, float]:
    """Megabytes of a process: common pages in proportion, and pages that are its own alone."""
    with suppress(psutil.Error):
        memory = process.memory_full_info()
        return memory.pss / 2**20, memory.uss / 2**20
    return 0.0, 0.0


def stages(bench: Benchmark, rounds: int = 10) -> None:
    """Where the time of a solved submission goes: CPU of the grader's thread and of the confined process, by stage."""
    spent: Counter = Counter()
    raw = templates()["solved"]
    release = (ROOT / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_bytes()

    def timed(where: object, name: str, stage: str) -> object:
        function = getattr(where, name)

        def measured(first: object, *given: object, **named: object) -> object:
            inside = first.seconds() if isinstance(first, Child) and name != "close" else None
            began = time.thread_time()
            result = function(first, *given, **named)
            spent[f"{stage}, grader"] += time.thread_time() - began
            if inside is not None:
                spent[f"{stage}, confined"] += first.seconds() - inside
            if isinstance(result, Child):
                spent[f"{stage}, confined"] += result.seconds()
            return result

        return patch.object(where, name, measured)

    with Server("nested", stem="attention") as server, ExitStack() as patches:
        judge = submission.Judge(5)
        submission.grade(
            raw, release, "attention", server, judge
        )  # the right results are worked out once a class
        for where, name, stage in (
            (Server, "start", "process ready"),
            (Child, "cell", "answers and set-up"),
            (Child, "calls", "calls of answers"),
            (Exercise, "judge", "judging"),
            (Child, "close", "end of the process"),
            (submission, "triage", "reading and repair"),
            (safe, "graded_copy", "graded copy"),
        ):
            patches.enter_context(timed(where, name, stage))
        began, wall = time.thread_time(), time.monotonic()
        for _ in range(rounds):
            submission.grade(raw, release, "attention", server, judge)
        whole, wall = time.thread_time() - began, time.monotonic() - wall
    for stage, seconds in spent.items():
        bench.note(f"{stage}: {1000 * seconds / rounds:.1f} ms of CPU a submission")
    bench.note(
        f"sum, grader: {1000 * whole / rounds:.1f} ms; wall: {1000 * wall / rounds:.0f} ms a submission, one job"
    )


def main() -> None:
    """Interleaved rounds on two classes of different size, or one large class."""
    alone = "--class" in sys.argv
    sys.argv = [each for each in sys.argv if each != "--class"]
    bench = Benchmark("grading_class" if alone else "grading")
    if alone:
        stages(bench)
        whole_class(bench)
        bench.finish()
        return
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
