"""What a process and all its descendants take: CPU time, memory, number."""

import os
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Taken:
    """CPU seconds, those of children that have ended included; megabytes, shared pages in proportion; is one stopped."""

    seconds: float
    megabytes: int
    stopped: bool


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
        stopped = any(_state(pid) == "T" for pid in members)
        return Taken(sum(map(_seconds, members)), sum(map(_kilobytes, members)) >> 10, stopped)


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


def _kilobytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
