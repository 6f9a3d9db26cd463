"""The confined side: runs cells in an IPython shell without a kernel, calls answers, and sends what came of it.

It holds no expected value and no mark. A student's code can change everything here; what leaves is only data.
"""

import base64
import contextlib
import io
import os
import socket
import sys
from collections.abc import Callable, Iterator

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from lecture_lib.checks import session, wire
from lecture_lib.checks.case import Case
from lecture_lib.checks.plain import NotPlain, Raised
from lecture_lib.grading.frames import receive, send

MOST_TEXT = 100_000  # characters of a cell's stream that are kept
MOST_OUTPUTS = 200


class Shell(InteractiveShell):
    """IPython without threads, history and graphical loops: it may be forked."""

    def enable_gui(self, gui: object = None) -> None:
        """There is no window."""

    def init_virtualenv(self) -> None:
        """The packages are what they are."""

    def showtraceback(self, *args: object, **kwargs: object) -> None:
        """The error goes out as data."""


def make_shell() -> InteractiveShell:
    """The one shell, made before a fork."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.cache_size = 0
    shell = Shell.instance(config=config)
    shell.display_pub = CapturingDisplayPublisher(parent=shell, shell=shell)
    shell.run_cell("%matplotlib inline", silent=True)
    return shell


class Capped(io.TextIOBase):
    """A stream of which the first characters are kept."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.left = MOST_TEXT

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        text = str(text)
        if self.left > 0:
            self.parts.append(text[: self.left])
            self.left -= len(text)
        return len(text)


@contextlib.contextmanager
def captured() -> Iterator[Capped]:
    """Both standard streams in one; a warning or a progress bar is text like any other."""
    stream, before = Capped(), (sys.stdout, sys.stderr)
    sys.stdout = sys.stderr = stream
    try:
        yield stream
    finally:
        sys.stdout, sys.stderr = before


def run_cell(shell: InteractiveShell, source: str) -> list[dict]:
    """Run a cell as a notebook does; its outputs in nbformat's shape, uncertain as everything here."""
    shell.display_pub.outputs.clear()
    with captured() as stream:
        result = shell.run_cell(source, store_history=False)
    outputs = (
        [{"output_type": "stream", "name": "stdout", "text": "".join(stream.parts)}] if stream.parts else []
    )
    for each in shell.display_pub.outputs[:MOST_OUTPUTS]:
        outputs.append({"output_type": "display_data", "data": dict(map(_as_text, each["data"].items()))})
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        outputs.append({"output_type": "error", "ename": type(error).__name__, "evalue": _words(error)})
    return outputs


def _as_text(item: tuple[str, object]) -> tuple[str, str]:
    """A picture comes as bytes, all else as text."""
    kind, value = item
    return kind, base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)


def _words(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except BaseException:
        return "an error whose own words cannot be read"


def run_calls(shell: InteractiveShell, request: dict, ask: Callable[[int], Callable]) -> list[str]:
    """What the answer gives on each case: exactly what a check in the notebook runs."""
    raws = request["cases"]
    if request["name"] not in shell.user_ns:
        missing = Raised("NotImplementedError", f"{request['name']} is not there", unwritten=True)
        return [_message(missing)] * len(raws)
    cases = [Case(*wire.loads(raw.encode("ascii"), live=True)) for raw in raws]
    task = session.exercise(request["calls"])
    with captured():
        results = task.run(shell.user_ns[request["name"]], cases, ask if task.ask else None)
    return [_message(each) for each in results]


def _message(result: object) -> str:
    try:
        return wire.dumps(result).decode("ascii")
    except NotPlain as error:
        return wire.dumps(Raised("NotPlain", str(error))).decode("ascii")


def asking(line: socket.socket, place: int) -> Callable:
    """A function that lives on the other side."""

    def ask(*arguments: object) -> object:
        send(line, {"ask": place, "with": wire.dumps(arguments).decode("ascii")})
        told = receive(line)
        if "stop" in told:
            raise RuntimeError(told["stop"])
        return wire.loads(told["told"].encode("ascii"), live=True)

    return ask


def serve(line: socket.socket, shell: InteractiveShell) -> None:
    """Answer requests until the other side hangs up. A copy of this process that a cell has made does not answer too."""
    me = os.getpid()
    while True:
        try:
            request = receive(line)
        except EOFError:
            os._exit(0)
        if "cell" in request:
            reply = {"outputs": run_cell(shell, request["cell"])}
        else:
            reply = {"results": run_calls(shell, request, lambda place: asking(line, place))}
        if os.getpid() != me:
            os._exit(0)
        send(line, reply)
