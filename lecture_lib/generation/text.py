"""From tokens to text while they come: where to stop, and which characters are complete.

A byte-level token may hold half a character: `é` is two bytes, an emoji four. No axes: lists of ids and strings.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Protocol

REPLACEMENT = "\ufffd"  # what a decoder writes for bytes that are no character, or not yet one


class Decodes(Protocol):
    """What generation asks of a tokenizer."""

    def decode(self, ids: list[int]) -> str:
        """Give the text of token ids.

        Args:
            ids: token ids.

        Returns:
            Their text.
        """
        ...


class Stop:
    """Tell whether a text is at its end: its last token is a stop token, or it holds a stop string.

    Args:
        stop: token ids and strings; a single one may stand alone.
        tokenizer: gives the text in which strings are looked for.

    Raises:
        ValueError: a string without a tokenizer, an empty string, or what is neither token id nor string.
    """

    def __init__(
        self, stop: Collection[int | str] | int | str = (), tokenizer: Decodes | None = None
    ) -> None:
        stop = [stop] if isinstance(stop, int | str) or hasattr(stop, "__index__") else list(stop or ())
        self.strings = [end for end in stop if isinstance(end, str)]
        others = [end for end in stop if not isinstance(end, str)]
        if "" in self.strings or not all(hasattr(end, "__index__") for end in others):
            raise ValueError(f"stop takes token ids and strings that are not empty, got {stop}")
        if self.strings and tokenizer is None:
            raise ValueError(f"to stop at the string {self.strings[0]!r}, give the tokenizer as well")
        self.ids = {int(end) for end in others}
        self.tokenizer = tokenizer

    def __bool__(self) -> bool:
        return bool(self.ids or self.strings)

    def __call__(self, new_ids: list[int], prompt_ids: list[int] = ()) -> bool:
        """Look at a text.

        Args:
            new_ids: (n,) at least one token id; the prompt is not among them.

        Returns:
            True if nothing should follow.
        """
        if new_ids[-1] in self.ids:
            return True
        text = self.tokenizer.decode(new_ids) if self.strings else ""
        return any(string in text for string in self.strings)


def decode_stream(tokens: Iterable[int], decode: Callable[[list[int]], str]) -> Iterator[str]:
    """Give the text of tokens piece by piece, each character as soon as it is complete.

    A character of several bytes may be spread over several tokens; until its last byte is there the decoder writes U+FFFD
    for it, so U+FFFD at the end is held back until the next token, or the end, decides. Nothing else is held back: the
    pieces together are `decode` of all tokens, invalid bytes included.

    Args:
        tokens: token ids as they come, such as `stream` gives them.
        decode: gives the text of a list of ids, such as `tokenizer.decode`; more tokens must only lengthen the text,
            but for U+FFFD at its end.

    Returns:
        Iterator over pieces of text, none empty.

    Example:
        >>> list(decode_stream([67, 195, 169, 33], lambda ids: bytes(ids).decode(errors="replace")))
        ['C', 'é', '!']
    """
    ids, given, text = [], "", ""
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        complete = text.rstrip(REPLACEMENT)
        if len(complete) > len(given):
            yield complete[len(given) :]
            given = complete
    if len(text) > len(given):
        yield text[len(given) :]
