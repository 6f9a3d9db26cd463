"""A clean Jupyter kernel in the place of a confined process: for a reader's own notebook, on every platform, not shut in."""

import queue
import subprocess
import sys
import time
from pathlib import Path

from jupyter_client import KernelManager

from lecture_lib.checks import session, wire
from lecture_lib.checks.case import Case
from lecture_lib.checks.exercise import Exercise
from lecture_lib.checks.plain import NotPlain
from lecture_lib.checks.script import Questions
from lecture_lib.grading import hands
from lecture_lib.grading.frames import Ended
from lecture_lib.grading.submission import Judge

RESULTS = "application/x-lecture-results"  # kind of the output that carries the results of calls
START = 120  # seconds until a kernel is ready
LOOK = 0.5  # seconds between two looks at whether it is still there


class Today(Judge):
    """Cases as a notebook of this reader has them today."""

    def __init__(self) -> None:
        super().__init__(0)

    def cases(self, task: Exercise) -> list[Case]:
        """Those that ``check`` draws."""
        return task.cases(session.todays_seed(task.name))


class Kernels:
    """Starts kernels of this interpreter in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def start(self) -> "Kernel":
        """A fresh kernel."""
        return Kernel(self.folder)


class Kernel:
    """One kernel, with what `server.Child` has; times are those of the clock on the wall."""

    def __init__(self, folder: Path):
        """Start it in that folder.

        Raises:
            RuntimeError: it does not start.
        """
        self._manager = KernelManager(kernel_name="python3")
        self._manager.kernel_spec.argv = [
            sys.executable,
            *["-m", "ipykernel_launcher", "-f", "{connection_file}"],
        ]
        quiet = subprocess.DEVNULL
        self._manager.start_kernel(cwd=str(folder), stdout=quiet, stderr=quiet)
        self._client = self._manager.client()
        self._client.start_channels()
        try:
            self._client.wait_for_ready(START)
            self.cell("import matplotlib.pyplot, torch, lecture_lib.checks", START)  # on no cell's time
        except (RuntimeError, Ended):
            self.close()
            raise

    def cell(self, source: str, seconds: float) -> list[dict]:
        """Run a cell; its outputs in nbformat's shape. `Ended` after that many seconds, or if the kernel dies."""
        sent = self._client.execute(source, store_history=False, allow_stdin=False)
        outputs, end = [], time.monotonic() + seconds
        while True:
            message = self._message(end, seconds)
            if message is None or message["parent_header"].get("msg_id") != sent:
                continue
            if message["content"].get("execution_state") == "idle":
                return outputs
            if message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
                outputs.append({"output_type": message["msg_type"], **message["content"]})

    def _message(self, end: float, seconds: float) -> dict | None:
        try:
            return self._client.get_iopub_msg(timeout=LOOK)
        except queue.Empty:
            if not self._manager.is_alive():
                raise Ended("the kernel died") from None
            return None
        finally:
            if time.monotonic() > end:
                raise Ended(f"no end within {seconds:g} s", by_clock=True)

    def calls(
        self,
        exercise: str,
        variable: str,
        cases: list[Case],
        seconds: float,
        questions: Questions | None = None,
    ) -> list:
        """As `server.Child.calls`; questions are answered in the kernel, as a check does, and noted here."""
        raws = [case.message for case in cases]
        line = f"__import__('lecture_lib.grading.kernel').grading.kernel.call_here({exercise!r}, {variable!r}, {raws!r})"
        data = [each.get("data", {}) for each in self.cell(line, 3 * seconds)]
        found = next((each[RESULTS] for each in data if RESULTS in each), None)
        if found is None:
            raise Ended("the answer could not be called")
        try:
            results, asked = (
                [wire.loads(each.encode("ascii")) for each in found[:-1]],
                wire.loads(found[-1].encode()),
            )
        except NotPlain as error:
            raise Ended(f"gave results that are no plain data ({error})") from None
        for place, mine in enumerate(asked if questions else ()):
            questions.asked[place] += mine
        return results

    def seconds(self) -> float:
        """Nobody counts."""
        return 0.0

    def close(self) -> None:
        """End it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def call_here(exercise: str, variable: str, raws: list[str]) -> None:
    """In the kernel: call an answer on cases, and put the results out."""
    from IPython import get_ipython
    from IPython.display import publish_display_data

    task, shell = session.exercise(exercise), get_ipython()
    asking = task.questions([Case(*wire.loads(raw.encode("ascii"), live=True)) for raw in raws])
    results = hands.run_calls(shell, {"calls": exercise, "name": variable, "cases": raws}, asking)
    publish_display_data({RESULTS: [*results, wire.dumps(asking.asked).decode("ascii")]})
