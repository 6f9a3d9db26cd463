"""Where a checkpoint is: a folder, or a name on the Hugging Face Hub."""

import os
from pathlib import Path

WANTED = ["*.json", "*.safetensors", "*.txt", "*.spm", "*.jinja"]


def find_folder(name_or_folder: str | os.PathLike[str]) -> Path:
    """Find the folder of a checkpoint, downloading it if it is a name on the Hub.

    Args:
        name_or_folder: a folder, or a name on the Hub.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: there is no such folder, and the name cannot be reached.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    name = os.fspath(name_or_folder)
    if folder.exists() or folder.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise FileNotFoundError(f"there is no folder {folder}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise FileNotFoundError(
            f"there is no folder {name}; to download a model of that name, pip install huggingface-hub"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=WANTED))
    except (
        Exception
    ) as error:  # no network, no such model, no permission: the library has many classes for them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileNotFoundError(
            f"there is no folder {name}, and the Hub does not give a model of that name: {reason}"
        ) from None
