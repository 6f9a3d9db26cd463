"""Tokenizer files: read with one clear sentence for whatever is wrong, written whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

KINDS = {"BPE": "BytePairTokenizer", "WordPiece": "WordPieceTokenizer"}


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a UTF-8 file.

    Args:
        path: the file.

    Returns:
        Its text.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, or not UTF-8.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the tokenizer.json inside it")
    if not path.exists():
        raise FileNotFoundError(f"there is no tokenizer file {path}")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a tokenizer file: it is not UTF-8 text") from None


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: the file.

    Returns:
        The object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or cut off, or not an object.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(
            f"{path} is not a tokenizer file: it is not valid JSON (cut off or damaged?)"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} is not a tokenizer file: it holds a {type(content).__name__}, not an object"
        )
    return content


def check_kind(description: dict[str, Any], kind: str) -> dict[str, Any]:
    """Give the model of a tokenizer.json if it is of the kind asked for.

    Args:
        description: content of a tokenizer.json.
        kind: `BPE` or `WordPiece`.

    Returns:
        The section `model`.

    Raises:
        ValueError: no model or no vocabulary, or a model of another kind; the sentence names the kind.
    """
    model = description.get("model")
    if not isinstance(model, dict):
        raise ValueError("not a tokenizer.json: the section 'model' is missing")
    # Files from before 2020 leave the type out; merges tell.
    found = model.get("type") or ("BPE" if "merges" in model else "WordPiece")
    if found != kind:
        hint = (
            f"load it with {KINDS[found]}" if found in KINDS else f"lecture_lib reads {' and '.join(KINDS)}"
        )
        raise ValueError(f"this tokenizer.json holds a {found} model, not {kind}; {hint}")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(type(i) is int and i >= 0 for i in vocab.values()):
        raise ValueError("not a tokenizer.json: the vocabulary must give each token an id (0, 1, 2, ...)")
    if len(set(vocab.values())) < len(vocab):
        raise ValueError("not a tokenizer.json: two tokens of the vocabulary share an id")
    return model


def read_merges(model: dict[str, Any]) -> dict[tuple[int, int], tuple[int, int]]:
    """Read the merges of a byte-level BPE model, each written `"a b"` or `["a", "b"]`.

    Args:
        model: the section `model` of a tokenizer.json.

    Returns:
        (rank, new id) of each pair of ids; rank 0 was learned first.

    Raises:
        ValueError: a merge of tokens that the vocabulary lacks, or a setting that byte-level BPE does not use.
    """
    for setting in (
        "dropout",
        "byte_fallback",
        "fuse_unk",
        "continuing_subword_prefix",
        "end_of_word_suffix",
    ):
        if model.get(setting):
            raise ValueError(f"this BPE has {setting}={model[setting]!r}, which byte-level BPE does not use")
    vocab, table = model["vocab"], {}
    for rank, merge in enumerate(model.get("merges") or []):
        try:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            table[vocab[left], vocab[right]] = (rank, vocab[left + right])
        except (KeyError, ValueError, TypeError):
            raise ValueError(
                f"merge {rank}, {merge!r:.60}, is not a pair of tokens of the vocabulary that make a third"
            ) from None
    return table


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file whole or not at all: to a temporary file beside it, then renamed over it.

    Args:
        path: the file; what stood there is replaced.
        text: its new content.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file name, such as {path / 'tokenizer.json'}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path.name}: there is no folder {path.parent}")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    """Give the permission bits that new files go without (it can only be read by setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
