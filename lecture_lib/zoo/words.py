"""A tokenizer whose tokens are the words of a made language, one id a word, in the file format of `tokenizers`."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lecture_lib.pretrained import PretrainedTokenizer
from lecture_lib.pretrained.library_tokenizer import LibraryTokenizer


def word_tokenizer(
    words: Sequence[str], special: Mapping[str, str], unknown: str | None = None
) -> PretrainedTokenizer:
    """Make a tokenizer that cuts at spaces; the special tokens get the first ids.

    Args:
        words: the vocabulary.
        special: role (pad, eos, bos, mask, cls, unk) -> token.
        unknown: role of the token that stands for any other word; None: the pad token.
    """
    tokens = [*dict.fromkeys(special.values()), *words]
    added = [
        {
            "id": i,
            "content": token,
            "special": True,
            "normalized": False,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
        }
        for i, token in enumerate(dict.fromkeys(special.values()))
    ]
    description = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "unk_token": special.get(unknown or "unk", tokens[0]),
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(description), encoding="utf-8")
        inner = LibraryTokenizer(path)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": token for role, token in special.items()},
    }
    return PretrainedTokenizer(inner, settings)
