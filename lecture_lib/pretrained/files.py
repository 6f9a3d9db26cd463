"""Files of a checkpoint: read with one clear sentence for whatever is wrong, written whole or not at all.

Weights are read from safetensors alone: numbers behind a table of contents, with nothing in them that could
run.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lecture_lib.files import atomic_write, read_json, write_text

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def read_settings(path: Path, optional: bool = False) -> dict[str, Any]:
    """Read a JSON file of a checkpoint.

    Args:
        path: the file.
        optional: give an empty object if there is no such file.

    Returns:
        The object that it holds.

    Raises:
        FileNotFoundError: there is no such file, and it is not optional.
        ValueError: it is not JSON, or cut off, or not an object.
    """
    if optional and not path.is_file():
        return {}
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} holds no {path.name}, so it is no Hugging Face checkpoint")
    return read_json(path)


def weight_files(folder: Path) -> list[Path]:
    """Find the safetensors files of a checkpoint, one or several (shards).

    Args:
        folder: the checkpoint.

    Returns:
        The files.

    Raises:
        FileNotFoundError: there are none, or a shard is missing.
        ValueError: the weights are there as pickles only, or the index of the shards makes no sense.
    """
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        weight_map = read_settings(folder / INDEX).get("weight_map")
        names = set(weight_map.values()) if isinstance(weight_map, dict) and weight_map else {None}
        if not all(isinstance(name, str) and name == os.path.basename(name) for name in names):
            raise ValueError(f"{folder / INDEX} names no safetensors files beside it")
        lost = sorted(name for name in names if not (folder / name).is_file())
        if lost:
            raise FileNotFoundError(
                f"{folder} lacks {len(lost)} of {len(names)} weight files, the first {lost[0]}"
            )
        return [folder / name for name in sorted(names)]
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ValueError(
            f"{folder} holds its weights as a pickle ({pickles[0]}), which can run any program when opened; "
            "convert it to safetensors where you trust it"
        )
    raise FileNotFoundError(f"{folder} holds no weights: there is no {SINGLE} and no {INDEX}")


def open_weights(path: Path) -> dict[str, Callable[[], Tensor]]:
    """Open a safetensors file without reading its numbers yet.

    Args:
        path: the file.

    Returns:
        Name of each tensor: a function that reads it.

    Raises:
        ValueError: the file is cut off or no safetensors file.
    """
    try:
        file = safe_open(path, framework="pt")
        return {name: lambda name=name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a safetensors file (cut off or damaged?): {error}") from None


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all.

    Args:
        path: the file; what stood there is replaced.
        tensors: name of each tensor: its numbers.
    """
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path, failures=(SafetensorError,)) as part:
        save_file(whole, part, metadata={"format": "pt"})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all.

    Args:
        path: the file; what stood there is replaced.
        content: its new content.
    """
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
