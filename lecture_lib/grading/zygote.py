"""The process that has imported everything and forks one child a submission: ``python -m lecture_lib.grading.zygote FD WAY [STEM]``.

It holds no secret and reads no submission. WAY is ``nested`` (a child enters namespaces of its own), ``fresh`` (this process
serves one submission and forks nothing) or ``open`` (no isolation). STEM is the chapter whose submissions come.
"""

import contextlib
import gc
import json
import os
import socket
import sys

from lecture_lib.checks import session
from lecture_lib.grading import hands
from lecture_lib.grading.bubble import visible
from lecture_lib.grading.confine import Limits, close_but, confine
from lecture_lib.grading.frames import send

STEP = 64 * 2**10  # bytes of an order


def prepare(stem: str) -> object:
    """Import what a submission needs, and use a chapter's exercises once: many modules are imported only when first used."""
    import ipywidgets  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import torch
    import tqdm

    tqdm.tqdm.monitor_interval = 0  # no thread
    torch.set_num_threads(1)
    for task in session.chapter(stem).values() if stem else ():
        task.run(_another(task.mistakes[0].function), task.cases(0)[:3])
    return hands.make_shell()


def _another(function: object) -> object:
    return lambda *inputs, **named: function(*inputs, **named)


def main(descriptor: int, way: str, stem: str = "") -> None:
    """Prepare, say so, and serve."""
    control = socket.socket(fileno=descriptor)
    shell = prepare(stem if way != "fresh" else "")
    threads = len(os.listdir("/proc/self/task"))
    if way == "fresh":
        limits = Limits(**json.loads(os.environ.pop("LIMITS")))
        confine(control, visible(), limits, inside=False)
        send(control, {"ready": os.getpid()})
        hands.serve(control, shell)
    gc.collect()
    gc.freeze()
    control.sendall(json.dumps({"ready": os.getpid(), "threads": threads}).encode())
    while order := socket.recv_fds(control, STEP, 1):
        raw, given, _, _ = order
        if not raw:
            os._exit(0)
        fork_child(control, given[0], shell, way, Limits(**json.loads(raw)))
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def fork_child(control: socket.socket, given: int, shell: object, way: str, limits: Limits) -> None:
    """One child on the socket `given`; the grader gets a handle of it."""
    seen = visible()
    child = os.fork()
    if child == 0:
        become_child(socket.socket(fileno=given), shell, way, limits, seen)
    os.close(given)
    handle = os.pidfd_open(child)
    socket.send_fds(control, [b"child"], [handle])
    os.close(handle)


def become_child(line: socket.socket, shell: object, way: str, limits: Limits, seen: list[str]) -> None:
    """Shut in, serve, end; never returns."""
    try:
        if way == "nested":
            confine(line, seen, limits)
        else:
            close_but(line.fileno())
        send(line, {"ready": os.getpid()})
        hands.serve(line, shell)
    except OSError as error:
        with contextlib.suppress(OSError):
            send(line, {"refused": str(error)})
    finally:
        os._exit(3)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
