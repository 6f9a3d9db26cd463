"""The tokenizer.json of the two families that are trained here, as the `tokenizers` library writes it."""

from collections.abc import Iterable, Sequence
from typing import Any

from lecture_lib.tokenization.added_tokens import AddedToken
from lecture_lib.tokenization.byte_level import GPT2_PATTERN

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def describe_split(pattern: str, trim_offsets: bool = True) -> dict[str, Any]:
    """Give the section `pre_tokenizer` that cuts words by a pattern and spells them in bytes."""
    bytes_only = BYTE_LEVEL | {"use_regex": pattern == GPT2_PATTERN, "trim_offsets": trim_offsets}
    if pattern == GPT2_PATTERN:
        return bytes_only
    by_pattern = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [by_pattern, bytes_only]}


def describe_byte_pair(
    vocab: dict[str, int],
    merges: Iterable[Sequence[str]],
    special_tokens: Iterable[str],
    split: dict[str, Any] = BYTE_LEVEL,
) -> dict[str, Any]:
    """Compose the tokenizer.json of a byte-level tokenizer; `split` is the section `pre_tokenizer`."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            AddedToken(vocab[token], token).to_json() for token in dict.fromkeys(special_tokens)
        ],
        "normalizer": None,
        "pre_tokenizer": split,
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": [list(pair) for pair in merges],
        },
    }


def describe_word_piece(
    vocab: dict[str, int], special_tokens: Sequence[str], lowercase: bool
) -> dict[str, Any]:
    """Compose the tokenizer.json of a BERT-like tokenizer; texts stand between [CLS] and [SEP] if there are both."""
    special = [AddedToken(vocab[token], token) for token in dict.fromkeys(special_tokens) if token in vocab]
    ends = [{"id": token, "ids": [vocab.get(token)], "tokens": [token]} for token in ("[CLS]", "[SEP]")]
    cls, sep = ({"SpecialToken": {"id": end["id"], "type_id": 0}} for end in ends)
    first, second = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    last = {"SpecialToken": {"id": "[SEP]", "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [token.to_json() for token in special],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, first, sep],
            "pair": [cls, first, sep, second, last],
            "special_tokens": {end["id"]: end for end in ends},
        }
        if {"[CLS]", "[SEP]"} <= vocab.keys()
        else None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }
