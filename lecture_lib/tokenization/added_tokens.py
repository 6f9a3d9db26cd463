"""Tokens that are cut out of a text before anything else looks at it: `<|endoftext|>`, `[CLS]`, `<pad>`.

The rules are those of the `tokenizers` library: the longest match that starts leftmost wins; a token can be
asked to stand alone as a word, to swallow the white space beside it, or to be looked for only after the
text has been normalized.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import regex

from lecture_lib.fields import whole
from lecture_lib.tokenization.byte_level import WHITE_SPACE, check_text


@dataclass(frozen=True)
class AddedToken:
    """A token matched as a whole, never learned and never split."""

    id: int  # its place in the vocabulary
    content: str  # the text that it matches
    single_word: bool = False  # only between characters that are no letters or digits
    lstrip: bool = False  # swallow the white space to its left
    rstrip: bool = False  # swallow the white space to its right
    normalized: bool = False  # looked for in the normalized text
    special: bool = True  # left out by decode(skip_special_tokens=True)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read one entry of `added_tokens` in a tokenizer.json; ValueError if content or id make no sense."""
        known = {field.name for field in fields(cls)}
        token = cls(**{"special": False, "normalized": True} | {k: v for k, v in entry.items() if k in known})
        if type(token.id) is not int or not isinstance(token.content, str):
            raise ValueError(f"an added token needs a content and an id, got {entry!r:.80}")
        return token

    def to_json(self) -> dict[str, Any]:
        """Give the entry of this token in a tokenizer.json."""
        return asdict(self)


def check_special_tokens(tokens: Sequence[str], what: str = "special_tokens") -> list[str]:
    """Give distinct tokens as a list; ValueError for one string instead of several, or one that is no text."""
    if isinstance(tokens, str) or not isinstance(tokens, Iterable):
        raise ValueError(f"{what} must be a list of strings, not {tokens!r}")
    tokens = list(dict.fromkeys(tokens))
    if not all(isinstance(token, str) and token for token in tokens):
        raise ValueError(f"{what} must be strings that are not empty, got {tokens!r:.80}")
    return [check_text(token) for token in tokens]


def check_vocab_size(vocab_size: int, alphabet: int, what: str) -> int:
    """Give the size as Python's integer; ValueError if it is none, or cannot hold what training starts from."""
    vocab_size = whole("vocab_size", vocab_size)
    if vocab_size < alphabet:
        raise ValueError(f"vocab_size {vocab_size} is smaller than the alphabet: {what} make {alphabet}")
    return vocab_size


class AddedTokenMatcher:
    """Cuts a text at the added tokens."""

    def __init__(self, tokens: Iterable[AddedToken], normalize: Callable[[str], str]) -> None:
        # Of two tokens with the same text the first one counts, special tokens before others.
        tokens = sorted((token for token in tokens if token.content), key=lambda token: token.special)[::-1]
        self.normalize = normalize
        self.raw = {token.content: token for token in tokens if not token.normalized}
        self.normalized = {normalize(token.content): token for token in tokens if token.normalized}
        self.raw_pattern, self.normalized_pattern = map(_any_of, (self.raw, self.normalized))

    def split(self, text: str, plain: Collection[str] = ()) -> Iterator[str | int]:
        """Cut a text into ids of added tokens and non-empty normalized text between them.

        Args:
            text: any text.
            plain: contents of tokens that are text like any other this time.
        """
        for piece in _split(text, self.raw, self.raw_pattern, plain):
            if isinstance(piece, int):
                yield piece
            else:
                yield from _split(self.normalize(piece), self.normalized, self.normalized_pattern, plain)


def _any_of(contents: Iterable[str]) -> regex.Pattern[str] | None:
    """Compile a pattern that matches the longest of several strings, or None for none."""
    longest_first = sorted(contents, key=len, reverse=True)
    return regex.compile("|".join(map(regex.escape, longest_first))) if longest_first else None


def _split(
    text: str, tokens: Mapping[str, AddedToken], pattern: regex.Pattern[str] | None, plain: Collection[str]
) -> Iterator[str | int]:
    """Cut a text at the matches of one pattern."""
    end = 0  # of what has been given out
    for match in pattern.finditer(text) if pattern else ():
        token, start, stop = tokens[match.group()], match.start(), match.end()
        if token.content in plain:
            continue
        if token.single_word and (_WORD.match(text, stop) or (start and _WORD.match(text, start - 1))):
            continue
        if token.lstrip:
            start = max(end, len(text[:start].rstrip(WHITE_SPACE)))
        if token.rstrip:
            stop += len(text) - stop - len(text[stop:].lstrip(WHITE_SPACE))
        if end < start:
            yield text[end:start]
        if start < stop:  # else all of it was white space that the token before has swallowed
            yield token.id
        end = stop
    if end < len(text):
        yield text[end:]


_WORD = regex.compile(r"\w")
