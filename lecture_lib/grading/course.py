"""A class: every submission graded, in parallel, journalled, and written into nbgrader's gradebook."""

import hashlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from lecture_lib.files import write_text
from lecture_lib.grading.collect import Submission
from lecture_lib.grading.server import Server
from lecture_lib.grading.submission import Judge, Result, grade, tasks_of


@dataclass(frozen=True)
class Places:
    """Where a course keeps things: nbgrader's layout."""

    root: Path
    assignment: str

    @property
    def release(self) -> Path:
        """The released notebook."""
        return self.root / "notebooks" / self.assignment / f"{self.assignment}.ipynb"

    @property
    def database(self) -> Path:
        """The gradebook."""
        return self.root / "_grading" / "gradebook.db"

    @property
    def run(self) -> Path:
        """Journal, seed and reports of this assignment."""
        return self.root / "_grading" / "runs" / self.assignment

    def graded(self, student: str) -> Path:
        """A graded copy."""
        return self.root / "_grading" / "autograded" / student / self.assignment / f"{self.assignment}.ipynb"

    def feedback(self, student: str) -> Path:
        """A page for the student."""
        return self.root / "_grading" / "feedback" / student / self.assignment / f"{self.assignment}.html"

    @property
    def stem(self) -> str:
        """The chapter's stem."""
        return self.assignment.partition("_")[2]


class Journal:
    """One line a student that is done; a torn last line is no line."""

    def __init__(self, path: Path, resume: bool):
        """Open it, anew or to go on."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.done = path, {}
        self._lock = threading.Lock()
        for line in path.read_bytes().split(b"\n") if resume and path.exists() else []:
            try:
                entry = json.loads(line)
                self.done[entry["student"], entry["digest"]] = entry["result"]
            except (ValueError, KeyError, TypeError):
                continue
        if not resume:
            path.unlink(missing_ok=True)

    def add(self, student: str, digest: str, result: dict) -> None:
        """Write a line that is on the disk when this returns."""
        line = json.dumps({"student": student, "digest": digest, "result": result})
        with self._lock, open(self.path, "ab") as file:
            file.write(b"\n" + line.encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass
class Outcome:
    """A student's part of a run."""

    submission: Submission
    result: Result  # without the notebook, which may hold megabytes of pictures
    copy: Path | None  # the graded copy; None if nothing could be read

    def notebook(self) -> str:
        """The graded copy; empty if there is none."""
        return self.copy.read_text(encoding="utf-8") if self.copy else ""


def secret_seed(places: Places, resume: bool) -> int:
    """A fresh seed, kept for a run that goes on."""
    path = places.run / "seed"
    if resume and path.exists():
        return int(path.read_text())
    seed = secrets.randbits(62)
    places.run.mkdir(mode=0o700, parents=True, exist_ok=True)  # nobody else reads the seed
    write_text(path, str(seed))
    return seed


def digest(submission: Submission, release: bytes) -> str:
    """Of everything a result depends on."""
    return hashlib.sha256(release + b"\0" + submission.raw + submission.problem.encode()).hexdigest()


def run(
    places: Places,
    submissions: list[Submission],
    grader: Callable[[list[Submission]], Iterable[tuple[Submission, Result]]],
    resume: bool = False,
) -> Iterator[Outcome]:
    """Grade what is not graded yet, and keep each result before it is given out.

    Args:
        places: of the course.
        submissions: one a student.
        grader: `here` or `on_cluster`.
        resume: leave out what the journal has.
    """
    release = places.release.read_bytes()
    journal = Journal(places.run / "journal.jsonl", resume)
    todo = []
    for each in submissions:
        known = journal.done.get((each.student, digest(each, release)))
        if known is not None and (
            places.graded(each.student).exists() or not known["marks"] or known["failures"]
        ):
            copy = places.graded(each.student)
            yield Outcome(each, Result(**known), copy if copy.exists() else None)
        else:
            todo.append(each)
    for submission, result in grader(todo):
        copy = places.graded(submission.student) if result.notebook else None
        if copy:
            copy.parent.mkdir(parents=True, exist_ok=True)
            write_text(copy, result.notebook)
        result.notebook = ""
        journal.add(submission.student, digest(submission, release), result.as_dict())
        yield Outcome(submission, result, copy)


def unread(submission: Submission, stem: str) -> Result | None:
    """The result of a file that cannot be read."""
    return (
        Result(dict.fromkeys(tasks_of(stem), 0.0), failures=[submission.problem])
        if submission.problem
        else None
    )


def here(
    places: Places, seed: int, way: str, jobs: int, **options: object
) -> Callable[[list[Submission]], Iterator[tuple[Submission, Result]]]:
    """Grade on this machine, `jobs` at a time; what the wall clock ended is tried again, alone."""
    release, stem = places.release.read_bytes(), places.stem

    def graded(todo: list[Submission]) -> Iterator[tuple[Submission, Result]]:
        if not todo:
            return
        judge, late = Judge(seed), []
        for task in tasks_of(stem).values():
            judge.known(task)
        with Server(way, stem=stem) as server, ThreadPoolExecutor(jobs) as pool:

            def one(each: Submission) -> Result:
                return unread(each, stem) or grade(each.raw, release, stem, server, judge, **options)

            waiting = {pool.submit(one, each): each for each in todo}
            for future in as_completed(waiting):
                each, result = waiting.pop(future), future.result()
                if result.by_clock and jobs > 1:
                    late.append(each)
                else:
                    yield each, result
            for each in late:
                yield each, one(each)

    return graded
