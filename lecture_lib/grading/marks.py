"""nbgrader's gradebook, written by the grader alone: one transaction a student, hand-given marks kept."""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry

from lecture_lib.grading.triage import is_check, name_of

LATEST = 2**32  # seconds since 1970, in 2106: a clock that shows more is wrong


def back_up(database: Path) -> Path | None:
    """A copy of the gradebook as it stands, beside it; None if there is none yet."""
    if not database.exists():
        return None
    copy = database.with_name(f"{database.stem}-{time.strftime('%Y%m%d-%H%M%S')}{database.suffix}")
    with closing(sqlite3.connect(database)) as old, closing(sqlite3.connect(copy)) as new:
        old.backup(new)
    return copy


@contextmanager
def _own_commands() -> Iterator[None]:
    """Nbgrader starts ``alembic`` by its name for a new gradebook: the one beside this interpreter."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


class Marks:
    """The marks of one assignment."""

    def __init__(self, database: Path, assignment: str, release: dict):
        """Open the gradebook, and register the assignment if nobody has."""
        database.parent.mkdir(parents=True, exist_ok=True)
        with _own_commands():
            self.book, self.assignment = Gradebook(f"sqlite:///{database}"), assignment
        self.cells = [cell for cell in release["cells"] if name_of(cell)]
        self._register()

    def close(self) -> None:
        """Let the file go."""
        self.book.close()

    def _register(self) -> None:
        book, name = self.book, self.assignment
        book.update_or_create_assignment(name)
        book.update_or_create_notebook(name, name)
        for cell in self.cells:
            about = cell["metadata"]["nbgrader"]
            place = (about["grade_id"], name, name)
            if about["grade"]:
                book.update_or_create_grade_cell(
                    *place, max_score=about["points"], cell_type=cell["cell_type"]
                )
            if about["solution"]:
                book.update_or_create_solution_cell(*place)
            text = {
                "source": "".join(cell["source"]),
                "cell_type": cell["cell_type"],
                "locked": about["locked"],
            }
            book.update_or_create_source_cell(*place, checksum=about.get("checksum"), **text)

    def save(
        self, student: str, marks: dict[str, float], written: set[str], handed_in: float | None = None
    ) -> None:
        """One student's marks, all or none.

        Args:
            student: nbgrader's name of the student.
            marks: points by name of the check.
            written: names of the cells graded by hand in which something stands.
            handed_in: time of the submission, seconds since 1970.
        """
        database = self.book.db
        commit, database.commit = (
            database.commit,
            database.flush,
        )  # every call of nbgrader's would end a transaction
        try:
            with database.no_autoflush:  # nbgrader's tables know each other before they are written
                self._save(student, marks, written, handed_in)
            database.commit = commit
            commit()
        except BaseException:
            database.rollback()
            raise
        finally:
            database.commit = commit

    def _save(
        self, student: str, marks: dict[str, float], written: set[str], handed_in: float | None
    ) -> None:
        self.book.update_or_create_student(student)
        known = handed_in and 0 < handed_in < LATEST
        when = datetime.fromtimestamp(handed_in, UTC).replace(tzinfo=None) if known else None
        submission = self.book.update_or_create_submission(
            self.assignment, student, **({"timestamp": when} if when else {})
        )
        (notebook,) = submission.notebooks
        present = {grade.name: grade for grade in notebook.grades}
        for grade in present.values():
            if grade.name in marks:
                grade.auto_score = marks[grade.name]
                grade.needs_manual_grade = False
            elif grade.manual_score is None:
                grade.auto_score = None if grade.name in written else 0.0
                grade.needs_manual_grade = grade.name in written

    def all(self) -> dict[str, dict[str, float | None]]:
        """Every student's points, those given by hand included, by cell; None: it waits for a person."""
        try:
            submissions = self.book.assignment_submissions(self.assignment)
        except MissingEntry:
            return {}
        return {
            each.student.id: {
                g.name: None if g.needs_manual_grade else g.score
                for book in each.notebooks
                for g in book.grades
            }
            for each in submissions
        }


def by_hand(release: dict) -> dict[str, float]:
    """Cells that a person grades, with their points."""
    grading = [
        cell["metadata"]["nbgrader"] for cell in release["cells"] if name_of(cell) and not is_check(cell)
    ]
    return {each["grade_id"]: each["points"] for each in grading if each["grade"]}


def written_by_hand(notebook: str, release: dict) -> set[str]:
    """Hand-graded cells in which the student wrote something."""
    empty = {name_of(cell): "".join(cell["source"]).strip() for cell in release["cells"] if name_of(cell)}
    cells = json.loads(notebook)["cells"] if notebook else []
    mine = {name_of(cell): "".join(cell["source"]).strip() for cell in cells if name_of(cell)}
    return {name for name in by_hand(release) if mine.get(name, empty[name]) != empty[name]}
