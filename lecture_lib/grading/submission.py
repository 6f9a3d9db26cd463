"""Marks of one submission: bytes in, plain data out; no path, no database. The unit of threads and of clusters."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from lecture_lib.checks import session
from lecture_lib.checks.case import Case
from lecture_lib.checks.exercise import Exercise
from lecture_lib.checks.message import text
from lecture_lib.checks.verdict import Known, Verdict
from lecture_lib.grading import safe
from lecture_lib.grading.alarms import alarms
from lecture_lib.grading.frames import Ended
from lecture_lib.grading.needed import needed
from lecture_lib.grading.triage import Triaged, Unreadable, is_check, name_of, triage

if TYPE_CHECKING:  # they need Linux; the kernel of a reader's own notebook does not
    from lecture_lib.grading.kernel import Kernel, Kernels
    from lecture_lib.grading.server import Child, Server

CELL_SECONDS = 30.0  # CPU of a cell of the student
RESTARTS = 10  # fresh processes for one submission
WHOLE = 40  # times the seconds of a cell, by the wall clock, that a whole notebook may take
IN_A_ROW = 3  # cells that end their process one after the other: then a cell before them did it


@dataclass
class Result:
    """What became of a submission."""

    marks: dict[str, float] = field(default_factory=dict)  # by nbgrader name of the check
    messages: dict[str, str] = field(default_factory=dict)  # what the check says
    hints: dict[str, str] = field(default_factory=dict)  # the mistake that was recognised
    repairs: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # what ended, hung or could not be read
    alarms: list[str] = field(default_factory=list)
    notebook: str = ""  # the graded copy; empty if nothing could be read
    seconds: float = 0.0  # CPU time of its processes
    by_clock: bool = False  # something was ended by the wall clock: worth another try, alone

    def as_dict(self) -> dict:
        """Plain data for a journal or a wire."""
        return asdict(self)


class Judge:
    """Cases from one secret seed, their right results and those of every mistake: once a class, and never sent out."""

    def __init__(self, seed: int):
        """Take the secret of a run."""
        self.seed = seed
        self._known: dict[str, tuple[list[Case], Known]] = {}
        self._lock = threading.Lock()

    def cases(self, task: Exercise) -> list[Case]:
        """Cases of an exercise."""
        return task.cases(self.seed)

    def known(self, task: Exercise) -> tuple[list[Case], Known]:
        """Cases of an exercise and what is known of them."""
        with self._lock:
            if task.name not in self._known:
                cases = self.cases(task)
                self._known[task.name] = cases, task.known(cases)
            return self._known[task.name]

    def verdict(self, task: Exercise, child: "Child | Kernel") -> Verdict:
        """Let a process call its answer on our cases, and judge here what it sends."""
        cases, known = self.known(task)
        asking = task.questions(cases) if task.ask else None
        outputs = child.calls(task.name, task.function, cases, task.seconds, asking)
        return task.judge(cases, outputs, asking.asked if asking else None, known)


def tasks_of(stem: str) -> dict[str, Exercise]:
    """The exercises of a chapter by the nbgrader name of their check."""
    return {f"check_{task.function}": task for task in session.chapter(stem).values()}


def grade(
    raw: bytes,
    release: bytes,
    stem: str,
    server: "Server | Kernels",
    judge: Judge,
    everything: bool = False,
    seconds: float = CELL_SECONDS,
    tell: Callable[[str, str], None] = lambda name, words: None,
) -> Result:
    """Grade one submission; nothing that is in it raises.

    Args:
        raw: the submitted file.
        release: the released notebook.
        stem: the chapter, such as ``attention``.
        server: starts confined processes.
        judge: has the cases.
        everything: run also experiments and other cells that no answer needs.
        seconds: CPU time that a cell may take.
        tell: gets the name of each check with its message, when it has one.
    """
    tasks = tasks_of(stem)
    try:
        notebook = triage(raw, json.loads(release))
    except Unreadable as error:
        return Result(dict.fromkeys(tasks, 0.0), failures=[str(error)])
    result = Result(dict.fromkeys(tasks, 0.0), repairs=notebook.repairs)
    result.alarms = _alarms(notebook, json.loads(release), tasks)
    _Run(notebook, tasks, server, judge, needed(notebook, everything), seconds, result, tell).all()
    result.notebook = safe.graded_copy(notebook)
    return result


def _alarms(notebook: Triaged, release: dict, tasks: dict[str, Exercise]) -> list[str]:
    """What is worth a look in the cells that are not the course's own."""
    ours = {"".join(cell["source"]).strip() for cell in release["cells"]}
    found = []
    for place, cell in enumerate(notebook.cells):
        if cell["cell_type"] == "code" and cell["source"].strip() not in ours and not is_check(cell):
            where = name_of(cell) or f"cell {place + 1}"
            found += [f"{where}: {each}" for each in alarms(cell["source"], tasks.get(f"check_{where}"))]
    return found


class _Run:
    """The cells of one submission in order, in as many processes as it takes."""

    def __init__(
        self,
        notebook: Triaged,
        tasks: dict,
        server: "Server | Kernels",
        judge: Judge,
        run: set[int],
        seconds: float,
        result: Result,
        tell: Callable[[str, str], None],
    ):
        self.notebook, self.tasks, self.server, self.judge = notebook, tasks, server, judge
        self.seconds, self.result, self.tell, self.began = seconds, result, tell, time.monotonic()
        checks = {i: tasks[name] for i, cell in enumerate(notebook.cells) if (name := name_of(cell)) in tasks}
        self.plan = [(i, checks.get(i)) for i in range(len(notebook.cells)) if i in checks or i in run]
        self.child: Child | Kernel | None = None
        self.blamed: set[int] = set()
        self.in_a_row = 0
        self.ended: dict[str, str] = {}  # answers whose own cell ended the process

    def all(self) -> None:
        """Go on until the end; a cell that ends its process is left out from then on."""
        at = 0
        try:
            while at < len(self.plan) and len(self.blamed) <= RESTARTS and self.in_a_row < IN_A_ROW:
                at = self.go_on(at)
        finally:
            self.leave()
        for place, task in self.plan[at:]:
            if task:
                self.blame(
                    place, Ended("not run: too many cells before it ended their process or did nothing")
                )

    def go_on(self, at: int) -> int:
        """Run from there on; the place to go on from."""
        current = at
        try:
            if self.child is None:
                self.child = self.server.start()
                for current in (i for i in range(at) if i not in self.blamed and not self.plan[i][1]):
                    self.child.cell(self.notebook.cells[self.plan[current][0]]["source"], self.seconds)
            for current in range(at, len(self.plan)):
                self.one(*self.plan[current])
                self.in_a_row = 0
            return len(self.plan)
        except Ended as error:
            self.blame(self.plan[current][0], error)
            self.blamed.add(current)
            self.in_a_row += 1
            self.leave()
            return max(at, current + (current >= at))

    def one(self, place: int, task: Exercise | None) -> None:
        """A cell, or the check of an answer as it stands at this place."""
        if time.monotonic() - self.began > WHOLE * self.seconds:
            raise Ended(f"the whole notebook took more than {WHOLE * self.seconds:g} s", by_clock=True)
        cell = self.notebook.cells[place]
        if task is None:
            cell["outputs"] = safe.outputs(self.child.cell(cell["source"], self.seconds))
            return
        verdict = self.judge.verdict(task, self.child)
        name = name_of(cell)
        self.result.marks[name] = float(task.points) if verdict.passed else 0.0
        self.result.hints[name] = (
            "" if verdict.passed else "not written" if verdict.unwritten else verdict.hint
        )
        ended = verdict.unwritten and self.ended.get(task.function)
        self.say(
            place, f"✗ {task.name}   the cell of the answer was ended: {ended}" if ended else text(verdict)
        )

    def say(self, place: int, words: str) -> None:
        """The course's message in the place of the check's output."""
        cell = self.notebook.cells[place]
        cell["outputs"] = [safe.stream(words)]
        self.result.messages[name_of(cell)] = safe.plain_text(words)
        self.tell(name_of(cell), words)

    def blame(self, place: int, error: Ended) -> None:
        """Note what ended a process, where the reader sees it."""
        cell = self.notebook.cells[place]
        self.result.by_clock |= error.by_clock
        self.result.failures.append(f"{name_of(cell) or f'cell {place + 1}'}: {error}")
        if name_of(cell) in self.tasks:
            self.say(place, f"✗ {self.tasks[name_of(cell)].name}   {error}")
            return
        cell["outputs"] = [safe.stream(f"This cell was ended: {error}")]
        self.ended[name_of(cell) or ""] = str(error)

    def leave(self) -> None:
        """End the process."""
        if self.child:
            self.result.seconds += self.child.seconds()
            self.child.close()
        self.child = None
