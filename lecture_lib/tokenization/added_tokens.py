"""Tokens that are cut out of a text before anything else looks at it: `<|endoftext|>`, `[CLS]`, `<pad>`.

The rules are those of the `tokenizers` library: the longest match that starts leftmost wins; a token can be
asked to stand alone as a word, to swallow the white space beside it, or to be looked for only after the
text has been normalized.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import regex

from lecture_lib.tokenization.byte_level import WHITE_SPACE


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
        """Read one entry of `added_tokens` in a tokenizer.json.

        Args:
            entry: its keys and values.

        Returns:
            The token.

        Raises:
            ValueError: content or id are missing or of the wrong type.
        """
        known = {field.name for field in fields(cls)}
        token = cls(**{"special": False, "normalized": True} | {k: v for k, v in entry.items() if k in known})
        if type(token.id) is not int or not isinstance(token.content, str):
            raise ValueError(f"an added token needs a content and an id, got {entry!r:.80}")
        return token

    def to_json(self) -> dict[str, Any]:
        """Give the entry of this token in a tokenizer.json.

        Returns:
            The keys and values.
        """
        return asdict(self)


def check_special_tokens(tokens: Sequence[str]) -> list[str]:
    """Give the special tokens as a list without repetition.

    Args:
        tokens: what the caller named.

    Returns:
        The distinct tokens in order.

    Raises:
        ValueError: one string instead of a list, or something in it that is no string or empty.
    """
    if isinstance(tokens, str) or not isinstance(tokens, Iterable):
        raise ValueError(f"special_tokens must be a list of strings, not {tokens!r}")
    if not all(isinstance(token, str) and token for token in tokens):
        raise ValueError(f"special tokens must be strings that are not empty, got {list(tokens)!r:.80}")
    return list(dict.fromkeys(tokens))


def check_vocab_size(vocab_size: int, alphabet: int, what: str) -> None:
    """Refuse a vocabulary that cannot hold what training starts from.

    Args:
        vocab_size: tokens asked for.
        alphabet: tokens that there are before the first merge.
        what: what these are, in words.

    Raises:
        ValueError: `vocab_size` is no whole number, or smaller than the alphabet.
    """
    if not isinstance(vocab_size, int):
        raise ValueError(f"vocab_size must be a whole number, not {vocab_size!r}")
    if vocab_size < alphabet:
        raise ValueError(f"vocab_size {vocab_size} is smaller than the alphabet: {what} make {alphabet}")


class AddedTokenMatcher:
    """Cuts a text at the added tokens."""

    def __init__(self, tokens: Iterable[AddedToken], normalize: Callable[[str], str]) -> None:
        # Of two tokens with the same text the first one counts, special tokens before others.
        tokens = sorted((token for token in tokens if token.content), key=lambda token: token.special)[::-1]
        self.normalize = normalize
        self.raw = {token.content: token for token in tokens if not token.normalized}
        self.normalized = {normalize(token.content): token for token in tokens if token.normalized}
        self.raw_pattern, self.normalized_pattern = map(_any_of, (self.raw, self.normalized))

    def split(self, text: str) -> Iterator[str | int]:
        """Cut a text into ids of added tokens and normalized text between them.

        Args:
            text: any text.

        Yields:
            An id for each added token, a non-empty string for what lies between.
        """
        for piece in _split(text, self.raw, self.raw_pattern):
            if isinstance(piece, int):
                yield piece
            else:
                yield from _split(self.normalize(piece), self.normalized, self.normalized_pattern)


def _any_of(contents: Iterable[str]) -> regex.Pattern[str] | None:
    """Compile a pattern that matches the longest of several strings, or None for none."""
    longest_first = sorted(contents, key=len, reverse=True)
    return regex.compile("|".join(map(regex.escape, longest_first))) if longest_first else None


def _split(
    text: str, tokens: Mapping[str, AddedToken], pattern: regex.Pattern[str] | None
) -> Iterator[str | int]:
    """Cut a text at the matches of one pattern."""
    end = 0  # of what has been given out
    for match in pattern.finditer(text) if pattern else ():
        token, start, stop = tokens[match.group()], match.start(), match.end()
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
