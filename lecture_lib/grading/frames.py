"""Frames on a socket: four bytes of length, then a JSON object. What arrives may be hostile; it is data or an error."""

import json
import socket
import struct
from collections.abc import Callable

from lecture_lib.checks.plain import NotPlain

MOST = 32 * 2**20  # bytes of one frame
MOST_PARTS = 2**21  # brackets and commas in it: a frame of empty objects alone would take 25 times its size
PIECE = 2**20


class Ended(Exception):
    """A confined process is gone, and why; ``by_clock``: slow by the wall clock, which a busy machine may have caused."""

    def __init__(self, why: str, by_clock: bool = False):
        super().__init__(why)
        self.by_clock = by_clock


def send(line: socket.socket, message: dict) -> None:
    """Send one object."""
    raw = json.dumps(message).encode("ascii")
    line.sendall(struct.pack(">I", len(raw)) + raw)


def receive(line: socket.socket, wait: Callable[[], None] | None = None) -> dict:
    """The next object.

    Args:
        line: the socket.
        wait: called before each read; returns when there is something to read, and may raise.

    Raises:
        EOFError: the other side has gone.
        NotPlain: a frame too long, or not a JSON object.
    """
    (size,) = struct.unpack(">I", _exactly(line, 4, wait))
    if size > MOST:
        raise NotPlain(f"a frame of {size} bytes")
    raw = _exactly(line, size, wait)
    if sum(map(raw.count, (b"[", b"{", b","))) > MOST_PARTS:
        raise NotPlain(f"a frame of more than {MOST_PARTS} parts")
    try:
        message = json.loads(raw.decode("ascii"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise NotPlain(f"a frame that is no JSON ({type(error).__name__})") from None
    if type(message) is not dict:
        raise NotPlain("a frame that is no JSON object")
    return message


def _exactly(line: socket.socket, size: int, wait: Callable[[], None] | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        if wait:
            wait()
        part = line.recv(min(size - len(parts), PIECE))
        if not part:
            raise EOFError("the other side has gone")
        parts += part
    return bytes(parts)
