"""Frames on a socket: four bytes of length, then a JSON object. What arrives may be hostile; it is data or an error."""

import json
import socket
import struct
from collections.abc import Callable

from lecture_lib.checks.plain import NotPlain

MOST = 32 * 2**20  # bytes of one frame
PIECE = 2**20


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
