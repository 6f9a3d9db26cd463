"""Tokenizer files: what a tokenizer.json must hold, with one clear sentence for whatever is wrong."""

import os
from pathlib import Path
from typing import Any

KINDS = {"BPE": "load it with BytePairTokenizer", "WordPiece": "load it with WordPieceTokenizer"}


def tokenizer_file(path: str | os.PathLike[str]) -> Path:
    """Refuse, in the words of someone who has a tokenizer to load, a path that leads to no file."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the tokenizer.json inside it")
    if not path.exists():
        raise FileNotFoundError(f"there is no tokenizer file {path}")
    return path


def check_kind(description: dict[str, Any], kind: str) -> dict[str, Any]:
    """Give the model of a tokenizer.json if it is of the kind (`BPE`, `WordPiece`) asked for, else a ValueError."""
    model = description.get("model")
    if not isinstance(model, dict):
        raise ValueError("not a tokenizer.json: the section 'model' is missing")
    # Files from before 2020 leave the type out; merges tell.
    found = model.get("type") or ("BPE" if "merges" in model else "WordPiece")
    if found != kind:
        hint = KINDS.get(found, f"lecture_lib reads {' and '.join(KINDS)}")
        raise ValueError(f"this tokenizer.json holds a {found} model, not {kind}; {hint}")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(type(i) is int and i >= 0 for i in vocab.values()):
        raise ValueError("not a tokenizer.json: the vocabulary must give each token an id (0, 1, 2, ...)")
    if len(set(vocab.values())) < len(vocab):
        raise ValueError("not a tokenizer.json: two tokens of the vocabulary share an id")
    return model


def read_merges(model: dict[str, Any]) -> dict[tuple[int, int], tuple[int, int]]:
    """Read the merges of a byte-level BPE model, each written `"a b"` or `["a", "b"]`: (rank, new id) of each pair of ids."""
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
