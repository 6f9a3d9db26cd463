"""A class from its folder to the gradebook: alone, in parallel, interrupted, on a cluster; and what nbgrader makes of it."""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from classroom import ASSIGNMENT, FULL, ROOT, cell, needs_isolation, raw, replaced, solved, unsolved
from nbgrader.api import Gradebook

from lecture_lib.command import app
from lecture_lib.grading import course as classes
from lecture_lib.grading import marks as books
from lecture_lib.grading.collect import Submission
from lecture_lib.grading.course import Journal, Places
from lecture_lib.grading.submission import Result

MATE = {"solved": solved, "empty": unsolved}


@pytest.fixture
def course(tmp_path):
    """A course with one released notebook and a class of five that is not all well."""
    needs_isolation()
    target = tmp_path / "notebooks" / ASSIGNMENT
    target.mkdir(parents=True)
    shutil.copy(ROOT / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", target)
    folder = tmp_path / "came back"
    folder.mkdir()
    for name, make in MATE.items():
        (folder / f"{name}.ipynb").write_bytes(raw(make()))
    (folder / "crash.ipynb").write_bytes(raw(replaced("softmax", "import os; os._exit(0)")))
    (folder / "broken.ipynb").write_bytes(raw(solved())[:3000])
    (folder / "=evil.ipynb").write_bytes(
        raw(replaced("why_the_square_root", "<script>alert(1)</script> because"))
    )
    return tmp_path


def command(course, *words, code=0):
    line = [sys.executable, "-m", "lecture_lib.command", *words]
    ran = subprocess.run(
        line,
        capture_output=True,
        text=True,
        cwd=course,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def scores(course):
    with Gradebook(f"sqlite:///{course}/_grading/gradebook.db") as book:
        return {each.student.id: each.score for each in book.assignment_submissions(ASSIGNMENT)}


@pytest.mark.slow
def test_a_class(course):
    before = {path.name: path.read_bytes() for path in (course / "came back").iterdir()}
    told = command(course, "grade", "came back", "--jobs", "2")
    assert "5 graded" in told and "broken: it is no JSON" in told
    expected = {"solved": FULL, "=evil": FULL, "crash": FULL - 3, "broken": 0, "empty": 0}
    assert scores(course) == expected
    assert before == {path.name: path.read_bytes() for path in (course / "came back").iterdir()}
    places = Places(course, ASSIGNMENT)
    rows = list(csv.DictReader((places.run / "grades.csv").open(newline="")))
    assert {row["student"].lstrip("'"): float(row["total"]) for row in rows} == expected
    assert "'=evil" in {row["student"] for row in rows}
    page = (places.run / "report.html").read_text()
    assert "5 submissions" in page and "<script" not in page and "no JSON" in page
    feedback = places.feedback("crash").read_text()
    assert "the process ended" in feedback and "✓ embedding.apply_rotary" in feedback
    assert "<script>" not in places.graded("=evil").read_text()

    # Marks by hand stay when the class is graded again, and a fresh seed gives the same marks.
    with Gradebook(f"sqlite:///{places.database}") as book:
        book.find_submission_notebook(ASSIGNMENT, ASSIGNMENT, "solved")
        grade = book.find_grade("why_the_square_root", ASSIGNMENT, ASSIGNMENT, "solved")
        assert grade.needs_manual_grade
        grade.manual_score, grade.needs_manual_grade = 2.0, False
        book.db.commit()
    command(course, "grade", "came back", "--student", "solved")
    assert scores(course) == expected | {"solved": FULL + 2}
    assert len(list((course / "_grading").glob("gradebook-*.db"))) == 1

    # nbgrader itself reads all of it.
    shutil.copy(ROOT / "nbgrader_config.py", course)
    for words in (["export"], ["generate_feedback", ASSIGNMENT, "--student", "crash", "--force"]):
        ran = subprocess.run(
            [sys.executable, "-m", "nbgrader", *words],
            cwd=course,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
def test_wrong_words_are_one_sentence(course):
    for words, says in (
        (["grade", "nowhere"], "neither a folder nor a zip"),
        (["grade", "came back", "--assignment", "99_x"], "no assignment 99_x"),
        (["grade", "came back", "--student", "nobody"], "nobody of that name"),
        (["grade", "came back", "--course", "came back"], "no released notebooks"),
    ):
        told = command(course, *words, code=1)
        assert says in told and "Traceback" not in told and len(told.strip().splitlines()) == 1


@pytest.mark.slow
def test_without_isolation_it_refuses(course, monkeypatch):
    nothing = course / "bin"
    nothing.mkdir()
    monkeypatch.setenv("PATH", str(nothing))
    told = command(course, "grade", "came back", code=1)
    assert "bubblewrap is not installed" in told and "--no-sandbox" in told
    assert not (course / "_grading" / "gradebook.db").exists()


def test_help_reads_well():
    from typer.testing import CliRunner

    told = CliRunner().invoke(app, ["grade", "--help"])
    assert told.exit_code == 0 and all(
        word in told.output for word in ("--resume", "--jobs", "--scheduler", "--no-sandbox")
    )


def test_a_torn_journal_line_is_no_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, resume=False)
    journal.add("ada", "d", {"marks": {}})
    with open(path, "ab") as file:
        file.write(b'\n{"student": "bob", "digest": "d", "resu')
    assert set(Journal(path, resume=True).done) == {("ada", "d")}
    again = Journal(path, resume=True)
    again.add("bob", "d", {"marks": {}})
    assert set(Journal(path, resume=True).done) == {("ada", "d"), ("bob", "d")}


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(course):
    """Nothing is lost and nothing graded twice, however often the grader dies."""
    folder = course / "came back"
    for number in range(8):
        (folder / f"mate{number}.ipynb").write_bytes(raw(solved()))
    rng, journal = random.Random(3), Places(course, ASSIGNMENT).run / "journal.jsonl"
    line = [sys.executable, "-m", "lecture_lib.command", "grade", "came back", "--jobs", "2"]
    for attempt in range(20):
        words = line + (["--resume"] if attempt else [])
        with subprocess.Popen(
            words, cwd=course, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=-3, stderr=-3
        ) as grader:
            with contextlib.suppress(subprocess.TimeoutExpired):
                grader.wait(rng.uniform(2.0, 7.0))
            grader.send_signal(signal.SIGKILL)
    told = command(course, "grade", "came back", "--resume")
    assert "13 graded" in told and len(scores(course)) == 13
    assert all(scores(course)[f"mate{number}"] == FULL for number in range(8))
    done = [json.loads(each)["student"] for each in journal.read_bytes().split(b"\n") if each.endswith(b"}")]
    assert len(done) == len(set(done)) == 13


@pytest.mark.slow
def test_a_cluster_gives_the_same_marks_though_a_worker_dies(course):
    """The scheduler and its two workers are programs of their own, as on a real cluster."""
    for number in range(6):
        (course / "came back" / f"mate{number}.ipynb").write_bytes(raw(solved()))
    inside = {"cwd": course, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "stdout": -3, "stderr": -3}
    dask, place = [sys.executable, "-m", "dask"], ["--scheduler-file", "cluster.json"]
    worker = [*dask, "worker", *place, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
    with contextlib.ExitStack() as programs:

        def start(line):
            program = subprocess.Popen(line, **inside)
            programs.callback(program.wait)
            programs.callback(program.kill)
            return program

        start([*dask, "scheduler", *place, "--port", "0", "--no-dashboard", "--host", "127.0.0.1"])
        first, _ = start(worker), start(worker)
        until(lambda: (course / "cluster.json").exists())
        address = json.loads((course / "cluster.json").read_text())["address"]
        grader = start(
            [sys.executable, "-m", "lecture_lib.command", "grade", "came back", "--scheduler", address]
        )
        journal = Places(course, ASSIGNMENT).run / "journal.jsonl"
        until(lambda: journal.exists() and journal.read_bytes().count(b"student") >= 2)
        first.kill()
        assert grader.wait(240) == 0
    marks = scores(course)
    assert len(marks) == 11 and all(marks[f"mate{number}"] == FULL for number in range(6))


def until(holds, seconds=120):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@pytest.mark.slow
def test_one_students_marks_are_all_or_none(tmp_path):
    release = json.loads((ROOT / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_bytes())
    book = books.Marks(tmp_path / "gradebook.db", ASSIGNMENT, release)
    book.save("ada", {"check_softmax": 3.0}, set())
    assert book.all()["ada"]["check_softmax"] == 3.0
    with pytest.raises(TypeError):
        book.save("bob", None, set())
    assert set(book.all()) == {"ada"}
    book.close()


@pytest.mark.slow
@pytest.mark.parametrize("when", [-1.0, 0.0, 1e12, None])
def test_a_clock_that_is_wrong_loses_no_marks(tmp_path, when):
    book = books.Marks(tmp_path / "gradebook.db", ASSIGNMENT, unsolved())
    book.save("ada", {"check_softmax": 3.0}, set(), 1e9)
    book.save("ada", {"check_softmax": 2.0}, set(), when)
    assert book.all()["ada"]["check_softmax"] == 2.0
    book.close()


class Late:
    """A grader in which some submissions are slow by the wall clock the first time, some always."""

    def __init__(self, always=()):
        self.always, self.running, self.calls = always, 0, []

    def __call__(self, raw, *about, **options):
        self.running += 1
        time.sleep(0.2)
        beside, self.running = self.running, self.running - 1
        name = raw.decode()
        self.calls.append((name, beside))
        first = [each for each, _ in self.calls].count(name) == 1
        late = name in self.always or (name.startswith("slow") and first)
        return Result({"check_x": 0.0 if late else 1.0}, by_clock=late)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 3])
def test_what_the_wall_clock_ended_is_graded_again_alone_and_once(tmp_path, monkeypatch, jobs):
    grader = Late(always=("slow2",))
    monkeypatch.setattr(classes, "grade", grader)
    monkeypatch.setattr(classes, "Server", lambda way, stem: contextlib.nullcontext())
    (tmp_path / "notebooks" / ASSIGNMENT).mkdir(parents=True)
    Places(tmp_path, ASSIGNMENT).release.write_bytes(b"{}")
    todo = [Submission(name, name, name.encode(), 0.0) for name in ("slow1", "slow2", "a", "b", "c", "d")]
    found = list(classes.here(Places(tmp_path, ASSIGNMENT), 1, "open", jobs)(todo))
    marks = {each.student: result.marks["check_x"] for each, result in found}
    assert len(found) == len(marks) == 6
    again = jobs > 1
    assert marks == {"slow1": float(again), "slow2": 0.0, "a": 1, "b": 1, "c": 1, "d": 1}
    assert len(grader.calls) == 6 + 2 * again
    assert not again or sorted(grader.calls[6:]) == [("slow1", 1), ("slow2", 1)]


def test_by_hand_waits_for_a_person_only_where_something_stands():
    release = unsolved()
    assert books.written_by_hand(json.dumps(release), release) == set()
    answered = unsolved()
    cell(answered, "why_the_square_root")["source"] = "because"
    assert books.written_by_hand(json.dumps(answered), release) == {"why_the_square_root"}
