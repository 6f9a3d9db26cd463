"""Byte-level byte-pair encoding: the tokenizer of GPT-2, Llama 3 and Qwen (Radford et al., 2019).

A text is cut into words, a word into bytes, and the bytes are merged in the order in which the pairs were
learned. The merges are those of the `tokenizers` library: the most frequent pair first, of equally frequent
pairs the one with the lowest ids (special tokens come first, then the bytes in GPT-2's order).
"""

import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Self

from lecture_lib.files import read_json, read_text
from lecture_lib.tokenization.added_tokens import check_special_tokens, check_vocab_size
from lecture_lib.tokenization.base import Cache, Tokenizer
from lecture_lib.tokenization.byte_level import BYTE_TO_CHARACTER, PATTERNS, spell, to_bytes, to_text, unspell
from lecture_lib.tokenization.chunks import BLANK_BEHIND_SPACE, count_words
from lecture_lib.tokenization.descriptions import describe_byte_pair, describe_split
from lecture_lib.tokenization.fast_encoding import MergeTable
from lecture_lib.tokenization.fast_training import collector_paused, learn_merges_incrementally
from lecture_lib.tokenization.files import read_merges, tokenizer_file
from lecture_lib.tokenization.pipeline import Normalizer, build_normalizer, build_splitter

# Sections of files in which a word begins at every space that a visible character follows.
CUT_AT_SPACES = [
    describe_split(pattern, offsets) for pattern in PATTERNS.values() for offsets in (True, False)
]


class BytePairTokenizer(Tokenizer):
    """Byte-level BPE: `train`, `encode`, `decode`, `save`, `load`.

    Example:
        >>> tokenizer = BytePairTokenizer.train(["low lower lowest"], vocab_size=259)
        >>> [tokenizer.id_to_token(i) for i in tokenizer.encode("slow")]
        ['s', 'low']

    Source: Sennrich, Haddow & Birch (2016); Radford et al. (2019), section 2.2.
    """

    kind: ClassVar[str] = "BPE"

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__(description)
        self._splitter = build_splitter(description.get("pre_tokenizer"))
        self._chunked = description["pre_tokenizer"] in CUT_AT_SPACES
        self._after_space = Cache(self._encode_after_space)  # ids of what stands between two spaces
        self._merges = read_merges(self.model)
        self._added_ids = {token.id for token in self.added_tokens}
        self._contents = {token.content: token.content.encode() for token in self.added_tokens}

    @cached_property
    def _table(self) -> MergeTable:
        return MergeTable(self._merges)

    @cached_property
    def _bytes(self) -> dict[int, int | None]:
        """The token of each byte; None for bytes that have none."""
        vocab = self.model["vocab"]
        unknown = vocab.get(self.model.get("unk_token"))
        return {byte: vocab.get(c, unknown) for byte, c in BYTE_TO_CHARACTER.items()}

    @cached_property
    def _cache(self) -> Cache:
        """Ids of words; words that are a token need not be merged."""
        cache = Cache(self._encode_word)
        if all(self.model["vocab"].get(c) == self._bytes[byte] for byte, c in BYTE_TO_CHARACTER.items()):
            whole = {i: unspell(self.tokens[i]) for i in self._table.whole() if i not in self._added_ids}
            cache.update({to_text(data): (i,) for i, data in whole.items()})
        return cache

    @classmethod
    def train(
        cls,
        texts: Iterable[str | bytes],
        vocab_size: int,
        special_tokens: Sequence[str] = (),
        min_frequency: int = 0,
        progress: bool = False,
        pattern: str = "gpt2",
    ) -> Self:
        r"""Learn merges from texts.

        Args:
            texts: the corpus, any number of texts; bytes need not be valid UTF-8.
            vocab_size: tokens in the end, special tokens and the 256 bytes included. Fewer come out when
                every word has become one token.
            special_tokens: tokens to be matched as a whole; they get the first ids.
            min_frequency: pairs rarer than this are not merged.
            progress: show a progress bar.
            pattern: how a text is cut into words: "gpt2", "llama3" (or "gpt4"), "qwen", or a regular expression
                whose matches are words, as is what lies between them (with classes such as `\p{L}`: the library that
                reads the file does not mean quite the same characters by `\w`).

        Raises:
            ValueError: the corpus is empty, a text holds a lone surrogate, `vocab_size` is too small for the bytes
                and special tokens, or the pattern does not compile.
        """
        special_tokens = check_special_tokens(special_tokens)
        tokens = list(dict.fromkeys([*special_tokens, *BYTE_TO_CHARACTER.values()]))
        vocab_size = check_vocab_size(vocab_size, len(tokens), "256 bytes and the special tokens")
        split = describe_split(PATTERNS.get(pattern, pattern))
        splitter = build_splitter(split)
        with collector_paused():
            counts = count_words(texts, splitter, at_spaces=split in CUT_AT_SPACES)
            ids = {token: chr(i) for i, token in enumerate(tokens)}
            of_byte = [ids[BYTE_TO_CHARACTER[byte]] for byte in range(256)].__getitem__
            words = {"".join(map(of_byte, to_bytes(word))): n for word, n in counts.items()}
            merges = learn_merges_incrementally(words, tokens, vocab_size, min_frequency, progress=progress)
            # Where a pair came back, its last place is its rank, as in the library that reads the file.
            order = reversed(dict.fromkeys(reversed(merges)))
            spelled = [(tokens[a], tokens[b]) for a, b in order]
            vocab = {token: i for i, token in enumerate(tokens)}
            return cls(describe_byte_pair(vocab, spelled, special_tokens, split))

    @classmethod
    def from_gpt2_files(
        cls,
        vocab: str | os.PathLike[str],
        merges: str | os.PathLike[str],
        special_tokens: Sequence[str] = ("<|endoftext|>",),
    ) -> Self:
        """Read the two files in which GPT-2 was published: vocab.json and merges.txt.

        Args:
            vocab: JSON file with the id of each token.
            merges: text file with one merge a line, after a line `#version`.
            special_tokens: those of them that the vocabulary has are matched as a whole.

        Raises:
            FileNotFoundError: one of the files does not exist.
            ValueError: one of the files is damaged; the sentence says which.
        """
        ids = read_json(tokenizer_file(vocab))
        lines = [line.rstrip("\r") for line in read_text(tokenizer_file(merges)).split("\n")]
        pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
        for pair in pairs:
            if len(pair) != 2:
                raise ValueError(
                    f"{merges} is not a merges file: {' '.join(pair)!r:.60} is not a pair of tokens"
                )
        try:
            return cls(describe_byte_pair(ids, pairs, [token for token in special_tokens if token in ids]))
        except ValueError as error:
            raise ValueError(f"{vocab} and {merges}: {error}") from None

    def split_words(self, text: str) -> list[str]:
        """Cut normalized text into the words inside which bytes may merge; each keeps the space before it."""
        return self._splitter(text)

    def encode_bytes(self, data: bytes, add_special_tokens: bool = True) -> list[int]:
        """Give the token ids of bytes that are meant to be UTF-8 but need not be; else as `encode`."""
        before, after = self.surrounding if add_special_tokens else ([], [])
        return [*before, *self._encode(to_text(data), ()), *after]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """As `TextTokenizer.decode`; bytes that are no UTF-8 come out as U+FFFD."""
        return self.decode_bytes(ids, skip_special_tokens).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int], skip_special_tokens: bool = False) -> bytes:
        """Give the bytes of token ids: the exact inverse of `encode` and `encode_bytes`."""
        tokens = self._tokens_of(ids, skip_special_tokens)
        return b"".join([self._contents.get(token) or unspell(token) for token in tokens])

    def _build_normalizer(self) -> Normalizer:
        return build_normalizer(self.description.get("normalizer"))

    def _encode_ordinary(self, text: str) -> list[int]:
        if not self._chunked or BLANK_BEHIND_SPACE.search(text):
            return super()._encode_ordinary(text)
        first, *parts = text.split(" ")
        ids = super()._encode_ordinary(first)
        ids += chain.from_iterable(map(self._after_space.__getitem__, parts))
        return ids

    def _encode_after_space(self, part: str) -> Sequence[int]:
        one_word = part.isalpha() and part.isascii()  # as most are
        return self._cache[" " + part] if one_word else super()._encode_ordinary(" " + part)

    def _encode_word(self, word: str) -> list[int]:
        data = to_bytes(word)
        if self.model.get("ignore_merges") and (token := spell(data)) not in self.special_tokens:
            whole = self.model["vocab"].get(token)
            if whole is not None:
                return [whole]
        ids = map(self._bytes.__getitem__, data)
        return self._table.encode([i for i in ids if i is not None])
