"""What a process and all its descendants take: CPU time, memory, number."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from lecture_lib.grading.frames import Ended

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
IDLE = 10  # seconds in which nothing of a process runs or wants to run


@dataclass(frozen=True)
class Taken:
    """CPU seconds, those of children that have ended included; megabytes, shared pages once a process; states of all."""

    seconds: float
    resident: int
    states: str  # a letter a process: R runs or wants to, S and I sleep, D waits for the disk, T was stopped, Z has ended


class Tree:
    """The process behind a pidfd, seen from outside."""

    def __init__(self, handle: int):
        self.handle = handle

    def root(self) -> int:
        """Its number here; -1 once it has ended."""
        for line in Path(f"/proc/self/fdinfo/{self.handle}").read_text().splitlines():
            if line.startswith("Pid:"):
                return int(line.split()[1])
        return -1

    def members(self) -> list[int]:
        """Numbers of all processes of the tree that still run."""
        found, todo = [], [self.root()]
        while todo:
            pid = todo.pop()
            if pid > 0:
                found.append(pid)
                todo += _children(pid)
        return found

    def seconds(self) -> float:
        """CPU time so far."""
        return sum(map(_seconds, self.members()))

    def taken(self) -> Taken:
        """Everything at once."""
        members = self.members()
        states = "".join(map(_state, members))
        return Taken(sum(map(_seconds, members)), sum(map(_resident, members)) >> 20, states)

    def megabytes(self) -> int:
        """Memory, shared pages in proportion: the kernel goes through all of it, some milliseconds a process."""
        return sum(map(_kilobytes, self.members())) >> 10


class Watch:
    """Limits of one request: computing, memory, standing still, and far behind them the wall clock."""

    def __init__(self, tree: Tree, megabytes: int, seconds: float, wall: float):
        self.tree, self.megabytes, self.seconds, self.wall = tree, megabytes, seconds, wall
        self.start = self.busy = time.monotonic()
        self.before = self.last = tree.seconds()

    def look(self) -> None:
        """Raise `Ended` if a limit is passed."""
        taken, now = self.tree.taken(), time.monotonic()
        if taken.seconds > self.last or set(taken.states) & set("RD"):
            self.last, self.busy = taken.seconds, now
        if taken.seconds - self.before > self.seconds:
            raise Ended(f"more than {self.seconds:g} s of computing")
        # The cheap sum is never far below the exact one (the kernel counts it in steps): at half the limit a close look.
        if 2 * taken.resident > self.megabytes and self.tree.megabytes() > self.megabytes:
            raise Ended(f"more than {self.megabytes} MB of memory")
        if "T" in taken.states:
            raise Ended("a process stopped itself")
        if now - self.busy > IDLE:
            raise Ended(f"it waited {IDLE} s for something that did not come")
        if now - self.start > self.wall:
            raise Ended(f"no answer within {self.wall:g} s", by_clock=True)

    def drips(self) -> None:
        """The same for an answer that comes byte by byte."""
        if time.monotonic() - self.start > 2 * self.wall:
            raise Ended(f"no whole answer within {2 * self.wall:g} s", by_clock=True)


def _children(pid: int) -> list[int]:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
        return [
            int(each)
            for task in tasks
            for each in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        ]
    except OSError:
        return []


def _stat(pid: int) -> list[str]:
    """What follows a process's name: its state first."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    return "".join(_stat(pid)[:1])


def _seconds(pid: int) -> float:
    return sum(map(int, _stat(pid)[11:15])) / TICK


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _kilobytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
