"""Files: written whole or not at all, read with one clear sentence for whatever is wrong."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], what: str | None = None, failures: tuple[type[Exception], ...] = ()
) -> Iterator[Path]:
    """Write a file whole or not at all: under another name beside it, given here, which takes its name at the end.

    A folder is refused. `what`: what an error calls the file. `failures`: what the writer raises, beside OSError.

    Raises:
        FileNotFoundError: the folder does not exist.
        OSError: the disk is full or refuses; what stood there is unharmed.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path.name}: there is no folder {path.parent}")
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        part.touch(exist_ok=False)
        mode = part.stat().st_mode  # a writer may make the file anew, for its owner alone
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        part.chmod(mode)
        os.replace(part, path)
    except (OSError, *failures) as error:
        kept = "the one before it is unharmed" if path.exists() else "there is none before it"
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise OSError(f"could not write {what or path.name} ({reason}); {kept}: {path}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file, whole or not at all, as `atomic_write`."""
    with atomic_write(path) as part:
        part.write_bytes(text.encode("utf-8"))


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a UTF-8 file, and refuse another."""
    try:
        return Path(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text (damaged?)") from None


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that holds an object; what is not UTF-8, not JSON, cut off, or no object is refused."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not valid JSON (cut off or damaged?)") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not an object")
    return content
