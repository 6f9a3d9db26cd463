"""From tokens to text while they come: where to stop, and which characters are complete.

A byte-level token may hold half a character: `é` is two bytes, an emoji four. What a token adds to a text can depend on the
token before it, too: SentencePiece drops the space before the first word, WordPiece joins `##ing` to what stands before.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from operator import index
from typing import Protocol

REPLACEMENT = "\ufffd"  # what a decoder writes for bytes that are no character, or not yet one
Decode = Callable[[list[int]], str]


class Decodes(Protocol):
    """What generation asks of a tokenizer."""

    def decode(self, ids: list[int]) -> str:
        """Give the text of token ids."""
        ...


def added_text(decode: Decode, ids: list[int], prompt: list[int] | None = None) -> str:
    """Give what new tokens add to the text of those before them, beyond its complete characters.

    `prompt` is the tokens before them; None: not known, so that the new ones are read as in the middle of a text.
    """
    prompt = _stand_in(decode, ids) if prompt is None else prompt
    before = decode(prompt).rstrip(REPLACEMENT) if prompt else ""
    whole = decode([*prompt, *ids])
    return whole[len(before) :] if whole.startswith(before) else decode(ids)


def _stand_in(decode: Decode, ids: list[int]) -> list[int]:
    """Choose a token to put before `ids` where the tokens before them are not known: the first with whole characters."""
    for i in ids:
        text = decode([i])
        if text and not text.endswith(REPLACEMENT):
            return [i]
        if text:  # half a character: bytes, in which nothing depends on what stands before
            break
    return ids[:1] if ids and not decode(ids[:1]) else []


class Stop:
    """Tell whether a text is at its end: its last token is a stop token, or it holds a stop string.

    A single one may stand alone; None is none. `tokenizer` gives the text in which strings are looked for. A string without
    it, an empty string, and what is neither token id nor string are refused.
    """

    def __init__(
        self, stop: Collection[int | str] | int | str | None = (), tokenizer: Decodes | None = None
    ) -> None:
        try:
            ends = [index(stop)]  # also one of NumPy's or torch's
        except TypeError:
            ends = [] if stop is None else [stop] if isinstance(stop, str) else list(stop)
        self.strings = [end for end in ends if isinstance(end, str)]
        others = [end for end in ends if not isinstance(end, str)]
        if "" in self.strings or not all(hasattr(end, "__index__") for end in others):
            raise ValueError(f"stop takes token ids and strings that are not empty, got {stop}")
        if self.strings and tokenizer is None:
            raise ValueError(f"to stop at the string {self.strings[0]!r}, give the tokenizer as well")
        self.ids = {index(end) for end in others}
        self.tokenizer = tokenizer

    def __call__(self, new_ids: list[int], prompt_ids: Sequence[int] | None = None) -> bool:
        """Tell whether a text, of at least one new token, is at its end; `prompt_ids` as the `prompt` of `added_text`.

        A string may begin in the prompt; it ends in a new token.
        """
        if new_ids[-1] in self.ids:
            return True
        if not self.strings:
            return False
        decode, longest = self.tokenizer.decode, max(map(len, self.strings))
        # A character takes at most four tokens, so these hold as much of the prompt as a string can reach into.
        prompt = None if prompt_ids is None else list(prompt_ids[-4 * longest :])
        before = decode(prompt).rstrip(REPLACEMENT) if prompt else ""
        text = before + added_text(decode, new_ids, prompt)
        return any(text.find(end, max(0, len(before) + 1 - len(end))) != -1 for end in self.strings)


def decode_stream(
    tokens: Iterable[int], decode: Decode, prompt: Iterable[int] | None = None
) -> Iterator[str]:
    """Give the text of tokens piece by piece, none empty, each character as soon as it is complete.

    A character of several bytes may be spread over several tokens; until its last byte is there the decoder writes U+FFFD
    for it, so U+FFFD at the end is held back until the next token, or the end, decides. Nothing else is held back: the
    text of the prompt and the pieces together are `decode` of all tokens, invalid bytes included.

    Args:
        tokens: token ids as they come, such as `stream` gives them.
        decode: gives the text of a list of ids, such as `tokenizer.decode`; more tokens must only lengthen the text,
            but for U+FFFD at its end.
        prompt: the tokens before them. None: they follow others, whichever these are, so that a tokenizer which marks
            the beginnings of words gives the space before the first word; []: the text begins with them.

    Example:
        >>> list(decode_stream([67, 195, 169, 33], lambda ids: bytes(ids).decode(errors="replace")))
        ['C', 'é', '!']
    """
    before = None if prompt is None else list(prompt)
    ids, given, text = [], 0, ""
    for token in tokens:
        ids.append(token)
        text = added_text(decode, ids, before)
        complete = text.rstrip(REPLACEMENT)
        if len(complete) > given:
            yield complete[given:]
            given = len(complete)
            alone = decode(ids)
            if complete == text and alone and not alone.endswith(REPLACEMENT):
                before, ids, given, text = ids, [], 0, ""  # all that is to come depends on these alone
    if len(text) > given:
        yield text[given:]
