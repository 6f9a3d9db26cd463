"""Encoding a text that is too long to be held: cut it where the cut changes nothing.

Words end where a run of letters or digits ends, for nearly every tokenizer; whether such a place is safe is tried
out on the text around it. Where a tokenizer marks the beginnings of words (SentencePiece), the space goes.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import regex

BLOCK, REACH = 1 << 16, 1 << 10  # characters held before a cut, and looked at on either side of it
END_OF_WORD = regex.compile(r"(?r)(?<=[^\W_])(?=[\W_])")  # from the end of the text
TRIES = 32

Encode = Callable[[str], list[int]]


def encode_in_blocks(
    pieces: Iterable[str], encode: Encode, block: int = BLOCK, reach: int = REACH
) -> Iterator[int]:
    """Give the ids of the joined pieces.

    Args:
        pieces: parts of a text, cut anywhere.
        encode: gives the ids of a text.
        block: characters after which a place to cut is looked for.
        reach: how far the ids can depend on the text, in characters.
    """
    held, size, limit = [], 0, block
    for piece in pieces:
        for start in range(0, len(piece), block):
            held.append(piece[start : start + block])
            size += len(held[-1])
            if size >= limit:
                done, rest = cut("".join(held), encode, reach)
                yield from encode(done) if done else ()
                held, size = [rest], len(rest)
                limit = max(block, 2 * size)
    if size:
        yield from encode("".join(held))


def cut(text: str, encode: Encode, reach: int = REACH) -> tuple[str, str]:
    """Split a text where the ids of the parts are the ids of the whole; ("", text) if no such place is found."""
    ends = END_OF_WORD.finditer(text, 1, max(1, len(text) - reach))
    for end in map(regex.Match.start, islice(ends, TRIES)):
        low, high = max(0, end - reach), end + reach
        whole, left = encode(text[low:high]), encode(text[low:end])
        for start in (end, end + 1) if text[end] == " " else (end,):
            if left + encode(text[start:high]) == whole:
                return text[:end], text[start:]
    return "", text
