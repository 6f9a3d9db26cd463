"""Checkpoints: all that a training needs to go on exactly, in one file that is never half written.

A file is first written beside the old one and then takes its name in one step, so that a full disk or a
killed process leaves the old one as it was. Only tensors and plain values are stored, and nothing in a file
is executed.
"""

import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

FORMAT = "lecture_lib.training 1"


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write a checkpoint in one step: afterwards there is the new file, or still the old one.

    Args:
        path: the file; its folder is made if need be.
        state: tensors, numbers, strings, and lists and dicts of them.

    Raises:
        OSError: the file could not be written; says why, and that the old one is unharmed.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:  # torch turns some errors of the disk into a RuntimeError
        kept = f"the checkpoint before it is unharmed: {path}" if path.exists() else "there is none before it"
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise OSError(f"could not write a checkpoint ({reason}); {kept}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, executing nothing of it.

    Args:
        path: a file of `save_checkpoint`.

    Returns:
        The state that was saved.

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
    except (
        OSError,
        RuntimeError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        KeyError,
        ValueError,
    ) as error:
        raise ValueError(f"{path} is damaged, or no checkpoint of this library") from error
    if not isinstance(state, dict) or state.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is damaged, or no checkpoint of this library")
    return state
