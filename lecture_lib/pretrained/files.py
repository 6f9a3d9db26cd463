"""Files of a checkpoint: found, read with one clear sentence for whatever is wrong, and replaced all at once.

Weights are read from safetensors alone: numbers behind a table of contents, with nothing in them that could run.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lecture_lib.files import atomic_write, read_json, write_text

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
WANTED = ("*.json", "model*.safetensors", "vocab.txt", "merges.txt", "*.spm", "*.model", "*.jinja")
DECIDING = (  # files of a model and its tokenizer, in any of the forms that programs look for
    *(
        CONFIG,
        "generation_config.json",
        SINGLE,
        INDEX,
        "model-*-of-*.safetensors",
        "consolidated*.safetensors",
    ),
    *("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json"),
    *(
        "tf_model.h5",
        "flax_model.msgpack",
        "adapter_config.json",
        "adapter_model.safetensors",
        "adapter_model.bin",
    ),
    *(
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "tekken.json",
    ),
    *(
        "vocab.json",
        "target_vocab.json",
        "vocab.txt",
        "merges.txt",
        "*.spm",
        "tokenizer.model",
        "spiece.model",
    ),
    *(
        "sentencepiece.bpe.model",
        "chat_template.jinja",
        "chat_template.json",
        "additional_chat_templates/*.jinja",
    ),
)
POINTER = b"version https://git-lfs.github.com/spec/"
REASONS = {  # errors of huggingface_hub, the narrower first
    "GatedRepoError": "its owner must grant you access first",
    "RepositoryNotFoundError": "the Hub has no such model, or it is private",
    "HFValidationError": "this is no name of a model either",
    "LocalEntryNotFoundError": "the Hub cannot be reached and the model was not downloaded before",
    "OfflineModeIsEnabled": "the Hub cannot be reached and the model was not downloaded before",
}


def find_folder(name_or_folder: str | os.PathLike[str]) -> Path:
    """Find the folder of a checkpoint, downloading it if it is a name on the Hugging Face Hub."""
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    name = os.fspath(name_or_folder)
    if folder.exists() or folder.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise FileNotFoundError(f"there is no folder {folder}")
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=list(WANTED)))
    except ImportError:
        reason = "to download a model of that name, pip install huggingface-hub"
    except Exception as error:  # the library has many classes for no network, no model, no permission
        names = [kind.__name__ for kind in type(error).__mro__]
        reason = next((REASONS[name] for name in names if name in REASONS), f"{names[0]} on the Hub")
    raise FileNotFoundError(f"there is no folder {name}; {reason}")


def refuse_pointers(folder: Path, tokenizer: bool = True) -> None:
    """Refuse a folder that was cloned without Git LFS, which leaves small text files in place of large ones."""
    weights = (CONFIG, "generation_config.json", INDEX, "model*.safetensors", "pytorch_model*.bin")
    wanted = {*weights, *WANTED} if tokenizer else weights
    for path in sorted(path for pattern in wanted for path in folder.glob(pattern) if path.is_file()):
        with open(path, "rb") as file:
            if file.read(len(POINTER)) == POINTER:
                raise ValueError(
                    f"{path} is a Git LFS pointer, not the file itself: install git-lfs and `git lfs pull`, or download it"
                )


def read_settings(path: Path, optional: bool = False) -> dict[str, Any]:
    """Read the object that a JSON file of a checkpoint holds; {} if there is none and it is `optional`."""
    if optional and not path.is_file():
        return {}
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} holds no {path.name}, so it is no Hugging Face checkpoint")
    return read_json(path)


def weight_files(folder: Path) -> list[Path]:
    """Find the safetensors files of a checkpoint, one or several (shards)."""
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
    """Open a safetensors file without reading its numbers yet: name of each tensor, a function that reads it."""
    try:
        file = safe_open(path, framework="pt")
        return {name: lambda name=name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a safetensors file (cut off or damaged?): {error}") from None


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path, failures=(SafetensorError,)) as part:
        save_file(whole, part, metadata={"format": "pt"})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Give a folder to write a new checkpoint into; the old one stands until the new one is complete.

    Then config.json goes first and comes last, so that a crash leaves either one of the two or a folder without config.json,
    which nothing loads. Files that are no checkpoint's stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".saving-") as new:
        yield Path(new)
        old = {
            path
            for pattern in DECIDING
            for path in folder.glob(pattern)
            if path.is_file() or path.is_symlink()
        }
        for path in sorted(old, key=lambda path: path.name != CONFIG):
            path.unlink()
        for path in sorted(Path(new).iterdir(), key=lambda path: path.name == CONFIG):
            os.replace(path, folder / path.name)
