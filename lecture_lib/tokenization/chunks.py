"""A quick first cut of a text at spaces, so that the pattern of a tokenizer sees each piece only once.

GPT-2, Llama 3 and Qwen always begin a word at a space that a visible character follows. What lies between two such places (a word
with its comma, the end of one line and the start of the next) can be cut into words by itself; texts repeat such
chunks, so counting them first, or keeping their ids, saves most of the work.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from lecture_lib.tokenization.byte_level import to_text

EMPTY_CORPUS = "the corpus is empty: give at least one text that is not empty"
BLANK_BEHIND_SPACE = re.compile(r" (?!\S)")
CHUNK = re.compile(r"(?s:.[^ ]*(?: +(?!\S)[^ ]*)*)")


def as_texts(corpus: Iterable[str | bytes]) -> Iterator[str]:
    """Go through a corpus: any number of texts (bytes need not be valid UTF-8), or a single one."""
    if isinstance(corpus, str | bytes):
        corpus = [corpus]
    if not isinstance(corpus, Iterable):
        raise ValueError(f"a corpus is a list of texts, not {corpus!r:.60}")
    yield from map(to_text, corpus)


def count_words(
    texts: Iterable[str | bytes], split_words: Callable[[str], list[str]], at_spaces: bool = True
) -> dict[str, int]:
    """Count the words of a corpus; ValueError if it is empty.

    Args:
        texts: the corpus.
        split_words: cuts a chunk into words.
        at_spaces: whether a word begins at every space that a visible character follows.
    """
    chunks: Counter[str] = Counter()
    behind_space: Counter[str] = Counter()
    for text in as_texts(texts):
        if not at_spaces:
            chunks.update(split_words(text))
        elif BLANK_BEHIND_SPACE.search(text):
            chunks.update(CHUNK.findall(text))
        else:  # every space is such a place
            first, *others = text.split(" ")
            chunks[first] += 1
            behind_space.update(others)
    chunks.update({" " + part: count for part, count in behind_space.items()})
    words: dict[str, int] = chunks if not at_spaces else _words_of(chunks, split_words)
    if not words:
        raise ValueError(EMPTY_CORPUS)
    return words


def _words_of(chunks: Mapping[str, int], split_words: Callable[[str], list[str]]) -> dict[str, int]:
    words: defaultdict[str, int] = defaultdict(int)
    for chunk, count in chunks.items():
        if (
            chunk[1:].isalpha() and chunk.isascii() and chunk[0] == " "
        ):  # one word; most are, and need no pattern
            words[chunk] += count
            continue
        for word in split_words(chunk):
            words[word] += count
    return words
