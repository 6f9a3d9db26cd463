"""A tokenizer whose tokens are the words of a made language, one id a word, in the file format of `tokenizers`."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lecture_lib.pretrained import PretrainedTokenizer
from lecture_lib.pretrained.library_tokenizer import LibraryTokenizer


def word_tokenizer(
    words: Sequence[str], special: Mapping[str, str], first: str | None = None
) -> PretrainedTokenizer:
    """Make a tokenizer that cuts at spaces; the special tokens get the first ids, and a word it does not know the first of all.

    Args:
        words: the vocabulary.
        special: role (pad, eos, bos, mask, cls, unk) -> token.
        first: role of a token that begins every text, such as cls.
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
        "post_processor": None if first is None else _begins_with(special[first], tokens),
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "unk_token": special.get("unk", tokens[0]),
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


def _begins_with(token: str, tokens: Sequence[str]) -> dict[str, object]:
    """Describe the step that puts a token before every text."""
    place = {"SpecialToken": {"id": token, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [place, text],
        "pair": [place, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [tokens.index(token)], "tokens": [token]}},
    }
