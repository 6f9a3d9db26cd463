"""What surrounds the merges in a tokenizer.json: normalizer, pre-tokenizer, post-processor.

The families of byte-level BPE differ only here: GPT-2 cuts words by one pattern, Llama 3 and Qwen by others
(at most three digits, or one, in a word), Qwen composes accents first, Llama 3 begins with a token.
Each part is read from its JSON section; a part that is not known is named, never passed over.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

import regex

from lecture_lib.tokenization.byte_level import GPT2_PATTERN, PATTERNS

Section = Mapping[str, Any]
Normalizer = Callable[[str], str]
Splitter = Callable[[str], list[str]]
WHOLE = frozenset(PATTERNS.values())


def unchanged(text: str) -> str:
    """Give back the text itself, the normalizer of a file that names none."""
    return text


def build_normalizer(section: Section | None) -> Normalizer:
    """Read the normalizer: Unicode composition (NFC, NFD, NFKC, NFKD), lower-casing, or a sequence of these."""
    if section is None:
        return unchanged
    match section:
        case {"type": "NFC" | "NFD" | "NFKC" | "NFKD" as form}:
            return partial(unicodedata.normalize, form)
        case {"type": "Lowercase"}:
            return _lower
        case {"type": "Sequence", "normalizers": steps}:
            return partial(_apply_all, [build_normalizer(step) for step in steps])
    raise ValueError(f"the normalizer {section.get('type')!r} is not one of NFC, NFD, NFKC, NFKD")


def _lower(text: str) -> str:
    """Lower-case each character by itself: str.lower would write a Greek sigma at the end of a word as ς."""
    return "".join(map(str.lower, text))


def _apply_all(steps: list[Normalizer], text: str) -> str:
    return reduce(lambda result, step: step(result), steps, text)


def build_splitter(section: Section | None) -> Splitter:
    """Read the pre-tokenizer of byte-level BPE: patterns to split by, then `ByteLevel`.

    The result cuts a text into the words inside which pairs may merge. ValueError if the section does not end in
    `ByteLevel`, or holds a step that is not known.
    """
    steps = section.get("pretokenizers", []) if section and section.get("type") == "Sequence" else [section]
    *before, last = steps or [None]
    if not last or last.get("type") != "ByteLevel":
        raise ValueError(
            f"the pre-tokenizer {(last or {}).get('type')!r} does not end in ByteLevel, so this BPE works on "
            "characters, not on bytes (SentencePiece files such as Llama 2's do)"
        )
    splitters = [_build_split(step) for step in before]
    if last.get("add_prefix_space", True):
        splitters.append(_add_space)
    if last.get("use_regex", True):
        splitters.append(_split_by(GPT2_PATTERN))
    return splitters[0] if len(splitters) == 1 else partial(_split_in_turn, splitters)


def _split_by(pattern: str) -> Splitter:
    """Cut by one of the patterns that leave nothing between their matches; ASCII has fewer characters to look up."""
    full = regex.compile(pattern)
    in_classes = pattern.replace(r"\p{L}\p{N}", "a-zA-Z0-9")
    ascii_only = re.compile(in_classes.replace(r"\p{L}", "[a-zA-Z]").replace(r"\p{N}", "[0-9]"), re.ASCII)
    return partial(_find_all, ascii_only, full)


def _find_all(ascii_only: re.Pattern[str], full: regex.Pattern[str], text: str) -> list[str]:
    return (ascii_only if text.isascii() else full).findall(text)


def _split_in_turn(splitters: list[Splitter], text: str) -> list[str]:
    words = [text]
    for split in splitters:
        words = [part for word in words for part in split(word)]
    return words


def _add_space(word: str) -> list[str]:
    return [word if word.startswith(" ") else " " + word]


def _build_split(step: Section) -> Splitter:
    """Read one step before `ByteLevel`."""
    match step:
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated"} if (
            pattern in WHOLE
        ):
            return _split_by(pattern)
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated"}:
            return partial(_isolate, _compile(pattern))
        case {"type": "Split", "pattern": {"String": str(text)}, "behavior": "Isolated"}:
            return partial(_isolate, _compile(regex.escape(text)))
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Removed", "invert": True}:
            return partial(_matches, _compile(pattern))
        case {"type": "Digits", "individual_digits": bool(single)}:
            return partial(_isolate, _compile(r"\p{N}" if single else r"\p{N}+"))
    raise ValueError(f"the pre-tokenizer step {step!r:.120} is not one that lecture_lib reads")


def _compile(pattern: str) -> regex.Pattern[str]:
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"the split pattern {pattern!r:.80} does not compile: {error}") from None


def _matches(pattern: regex.Pattern[str], text: str) -> list[str]:
    return [match.group() for match in pattern.finditer(text) if match.group()]


def _isolate(pattern: regex.Pattern[str], text: str) -> list[str]:
    """Cut a text into the matches of a pattern and whatever lies between them."""
    words = pattern.findall(text) if not pattern.groups else []
    if sum(map(len, words)) == len(text):
        return [word for word in words if word]
    words, end = [], 0
    for match in pattern.finditer(text):
        words += [text[end : match.start()], match.group()]
        end = match.end()
    return [word for word in [*words, text[end:]] if word]


def surrounding_ids(section: Section | None) -> tuple[list[int], list[int]]:
    """Read from the post-processor which ids go before a text and which after it; ValueError if it is not known."""
    match section:
        case None | {"type": "ByteLevel"}:
            return [], []
        case {"type": "TemplateProcessing", "single": single, "special_tokens": tokens}:
            before: list[int] = []
            after: list[int] = []
            current = before
            for piece in single:
                if "Sequence" in piece:
                    current = after
                else:
                    current.extend(tokens[piece["SpecialToken"]["id"]]["ids"])
            return before, after
        case {"type": "BertProcessing" | "RobertaProcessing", "cls": [_, cls], "sep": [_, sep]}:
            return [cls], [sep]
        case {"type": "Sequence", "processors": steps}:
            parts = [surrounding_ids(step) for step in steps]
            before = [i for first, _ in reversed(parts) for i in first]
            return before, [i for _, last in parts for i in last]
    raise ValueError(f"the post-processor {section.get('type')!r} is not one that lecture_lib reads")
