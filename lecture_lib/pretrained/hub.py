"""Where a checkpoint is: a folder, or a name on the Hugging Face Hub."""

import os
from pathlib import Path

WANTED = ["*.json", "model*.safetensors", "vocab.txt", "merges.txt", "*.spm", "*.jinja"]
REASONS = {  # errors of huggingface_hub, the narrower first
    "GatedRepoError": "its owner must grant you access first",
    "RepositoryNotFoundError": "the Hub has no such model, or it is private",
    "HFValidationError": "this is no name of a model either",
    "LocalEntryNotFoundError": "the Hub cannot be reached and the model was not downloaded before",
    "OfflineModeIsEnabled": "the Hub cannot be reached and the model was not downloaded before",
}


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

        return Path(snapshot_download(name, allow_patterns=WANTED))
    except ImportError:
        reason = "to download a model of that name, pip install huggingface-hub"
    except Exception as error:  # the library has many classes for no network, no model, no permission
        names = [kind.__name__ for kind in type(error).__mro__]
        reason = next((REASONS[name] for name in names if name in REASONS), f"{names[0]} on the Hub")
    raise FileNotFoundError(f"there is no folder {name}; {reason}")
