"""Checkpoints: all that a training needs to go on exactly, in one file that is never half written.

A full disk or a killed process leaves the checkpoint before as it was. Only tensors and plain values are stored, and nothing
in a file is executed.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from lecture_lib.files import atomic_write

FORMAT = "lecture_lib.training 1"
UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    KeyError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write tensors, numbers, strings, and lists and dicts of them in one step; the folder is made if need be.

    Raises:
        OSError: the file could not be written; says why, and that the old one is unharmed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # torch turns some errors of the disk into a RuntimeError.
    with atomic_write(path, "a checkpoint", (RuntimeError,)) as part, open(part, "wb") as file:
        torch.save({"format": FORMAT, **state}, file)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, executing nothing of it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a checkpoint of this library, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as parts:  # torch's own reader does not look at the checksums
            damaged = parts.testzip()
        state = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise ValueError(f"{path} may not be read by this user") from error
    except UNREADABLE as error:
        raise ValueError(f"{path} is damaged, or no checkpoint of this library") from error
    if not isinstance(state, dict) or state.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is damaged, or no checkpoint of this library")
    return state
