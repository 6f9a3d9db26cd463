"""The trusted end of the line: a forking server, and a handle to each confined process."""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from lecture_lib.checks import wire
from lecture_lib.checks.case import Case
from lecture_lib.checks.plain import NotPlain
from lecture_lib.checks.script import Questions
from lecture_lib.grading.bubble import NoIsolation, bubblewrap, environment
from lecture_lib.grading.confine import Limits
from lecture_lib.grading.frames import MOST, Ended, receive, send
from lecture_lib.grading.tree import Tree, Watch

START = 120  # seconds until a server or a process is ready
LOOK = 0.1  # seconds between two looks at what a process takes
PATIENCE = 4  # wall clock to CPU, and...
GRACE = 15  # ... seconds more, before a process that does nothing is ended
UNREAD = struct.pack("qq", 10, 0)  # seconds and microseconds for one that reads nothing of what it is sent


class Server:
    """Starts confined processes. May be used by several threads."""

    def __init__(self, way: str = "nested", limits: Limits | None = None, stem: str = ""):
        """Start it.

        Args:
            way: ``nested``, ``fresh`` or ``open``, see `zygote`.
            limits: of each process.
            stem: the chapter whose submissions come; what they use is then imported once, and not by each of them.

        Raises:
            NoIsolation: it does not start that way.
        """
        self.way, self.limits, self.stem, self._lock = way, limits or Limits(), stem, threading.Lock()
        if way != "fresh":
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._process = self._run(theirs)
            self._control.settimeout(START)
            try:
                self.about = json.loads(self._control.recv(4096) or b"null")
            except (TimeoutError, OSError):
                self.about = None
            if self.about is None:
                self._process.kill()
                raise NoIsolation(
                    "the grading server did not start; `bwrap --version` must work for this user"
                )

    def _run(self, theirs: socket.socket) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "lecture_lib.grading.zygote",
            str(theirs.fileno()),
            self.way,
            self.stem,
        ]
        if self.way != "open":
            command = bubblewrap(command, self.limits.scratch_mb)
        settings = environment() | {"LIMITS": json.dumps(asdict(self.limits))}
        quiet = None if os.environ.get("LECTURE_DEBUG") else subprocess.DEVNULL
        place = "/" if self.way != "open" else None
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env=settings,
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=quiet,
            stderr=quiet,
        )
        theirs.close()
        return process

    def start(self) -> "Child":
        """A fresh confined process.

        Raises:
            NoIsolation: it could not be shut in.
        """
        mine, theirs = socket.socketpair()
        if self.way == "fresh":
            process = self._run(theirs)
            return Child(mine, os.pidfd_open(process.pid), self.limits, process)
        with self._lock, theirs:  # or two threads would take each other's
            socket.send_fds(self._control, [json.dumps(asdict(self.limits)).encode()], [theirs.fileno()])
            _, handles, _, _ = socket.recv_fds(self._control, 64, 1)
        if not handles:
            raise NoIsolation("the grading server has gone")
        return Child(mine, handles[0], self.limits)

    def close(self) -> None:
        """End it and everything it started."""
        if self.way != "fresh":
            self._control.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2)
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Child:
    """One confined process. Whatever it sends is data of unknown worth."""

    def __init__(
        self, line: socket.socket, handle: int, limits: Limits, process: subprocess.Popen | None = None
    ):
        self._line, self._handle, self.limits, self._process = line, handle, limits, process
        self._tree = Tree(handle)
        self._line.settimeout(LOOK)
        try:
            hello = self._reply(self._watch(START, START))
        except Ended as error:
            hello = {"refused": error}
        if "ready" not in hello:
            self.close()
            raise NoIsolation(f"student code cannot be shut in here ({str(hello.get('refused'))[:200]})")

    def cell(self, source: str, seconds: float) -> object:
        """Run a cell; what the process says are its outputs. `Ended` after that much CPU time."""
        self._send({"cell": source})
        return self._reply(self._watch(seconds)).get("outputs")

    def calls(
        self,
        exercise: str,
        variable: str,
        cases: list[Case],
        seconds: float,
        questions: Questions | None = None,
    ) -> list:
        """Plain results of an answer on cases; a question of the answer is put to `questions`, on this side.

        Args:
            exercise: its full name.
            variable: the name under which the answer stands.
            cases: the calls.
            seconds: CPU time for all of them, questions included.
            questions: what the answer may ask.

        Raises:
            Ended: the process died, took too much, or sent what is not plain.
        """
        raws = [case.message for case in cases]
        self._send({"calls": exercise, "name": variable, "cases": raws})
        watch = self._watch(seconds)
        reply, asked = self._reply(watch), 0
        while "ask" in reply:
            asked += len(str(reply.get("with")))
            if asked > MOST:  # questions are kept
                raise Ended(f"asked more than {MOST} bytes of questions")
            self._send(answered(reply, questions, len(cases)))
            watch.look()  # the time is one for all questions
            reply = self._reply(watch)
        replies = reply.get("results")
        if (
            type(replies) is not list
            or len(replies) != len(cases)
            or not all(type(each) is str for each in replies)
        ):
            raise Ended("sent no results")
        try:
            return [wire.loads(each.encode("ascii")) for each in replies]
        except (NotPlain, UnicodeEncodeError) as error:
            raise Ended(f"sent results that are no plain data ({error})") from None

    def _send(self, message: dict) -> None:
        self._line.settimeout(None)
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, UNREAD)
        try:
            send(self._line, message)
        except OSError as error:
            raise Ended(f"took no message ({type(error).__name__})") from None

    def _watch(self, seconds: float, wall: float | None = None) -> Watch:
        return Watch(self._tree, self.limits.tree_mb, seconds, wall or PATIENCE * seconds + GRACE)

    def _reply(self, watch: Watch) -> dict:
        def wait() -> None:
            while not select.select([self._line], [], [], LOOK)[0]:
                watch.look()
            watch.drips()

        try:
            return receive(self._line, wait)
        except (EOFError, OSError):
            raise Ended("the process ended") from None
        except NotPlain as error:
            raise Ended(f"sent {error}") from None

    def seconds(self) -> float:
        """CPU time of the process and all that it started, so far."""
        return self._tree.seconds()

    def close(self) -> None:
        """End the process and all that it started, whatever it does."""
        self._line.close()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        select.select([self._handle], [], [], 5)
        os.close(self._handle)
        if self._process:
            self._process.wait()


def answered(reply: dict, questions: Questions | None, n_cases: int) -> dict:
    """The reply to a question of an answer; it is counted and kept on this side."""
    place: object = reply.get("ask")
    if questions is None or type(place) is not int or not 0 <= place < n_cases:
        raise Ended("asked where nothing can be asked")
    oracle: Callable = questions(place)
    try:
        told = oracle(*wire.loads(str(reply.get("with")).encode("ascii", "replace")))
        return {"told": wire.dumps(told).decode("ascii")}
    except Exception as error:
        return {"stop": f"{type(error).__name__}: {error}"[:500]}
