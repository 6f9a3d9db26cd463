"""Which isolation works on this machine, tried for real."""

from lecture_lib.grading.bubble import NoIsolation
from lecture_lib.grading.server import Ended, Server

WORDS = {
    "nested": "bubblewrap, and namespaces of its own for every submission",
    "fresh": "bubblewrap and a new interpreter for every submission (slower)",
    "open": "NO ISOLATION: student code can read and change whatever this user can",
}
PROBE = """
import socket
try:
    socket.socket(socket.AF_INET).connect(("127.0.0.1", 9))
    print("open")
except PermissionError:
    print("shut")
except OSError:
    print("open")
"""


def works(way: str) -> str:
    """Why student code cannot be shut in that way; empty if it can."""
    try:
        with Server(way) as server:
            child = server.start()
            try:
                outputs = child.cell(PROBE, 20)
            finally:
                child.close()
    except (NoIsolation, Ended, OSError) as error:
        return str(error)
    shown = outputs[0].get("text") if type(outputs) is list and outputs and type(outputs[0]) is dict else ""
    return "" if shown == "shut\n" else "a confined process reached the network"


def best() -> str:
    """The fastest way that works.

    Raises:
        NoIsolation: none does; the words say why and what to do.
    """
    reasons = {}
    for way in ("nested", "fresh"):
        reasons[way] = works(way)
        if not reasons[way]:
            return way
    raise NoIsolation(
        f"student code cannot be shut in on this machine ({reasons['fresh']}). Grade on Linux with bubblewrap and user"
        " namespaces, or in a container that allows them; --no-sandbox grades without isolation, at your own risk"
    )
