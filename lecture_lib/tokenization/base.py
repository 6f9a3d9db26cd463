"""What the tokenizers that are taught have in common: a tokenizer.json, held in memory as it is on disk."""

import json
import os
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar, Self

from lecture_lib.files import read_json, write_text
from lecture_lib.tokenization.added_tokens import AddedToken, AddedTokenMatcher, check_special_tokens
from lecture_lib.tokenization.files import check_kind, tokenizer_file
from lecture_lib.tokenization.pipeline import Normalizer, surrounding_ids
from lecture_lib.tokenization.protocol import TextTokenizer

CACHED = 300_000  # pieces
LONGEST_CACHED = 1_000  # characters; a page without a space is hardly seen again


class Cache(dict[str, tuple[int, ...]]):
    """Ids of the pieces of text seen so far: texts repeat themselves, so most are looked up, not merged."""

    def __init__(self, encode: Callable[[str], Iterable[int]]) -> None:
        super().__init__()
        self.encode = encode

    def __missing__(self, piece: str) -> tuple[int, ...]:
        ids = tuple(self.encode(piece))
        if len(piece) <= LONGEST_CACHED:
            if len(self) >= CACHED:
                self.clear()
            self[piece] = ids
        return ids


class Tokenizer(TextTokenizer):
    """A tokenizer that a tokenizer.json describes.

    Attributes:
        description: content of the tokenizer.json; `save` writes it, the constructor reads it.
    """

    kind: ClassVar[str]

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self.model = check_kind(description, self.kind)
        self.added_tokens = [AddedToken.from_json(entry) for entry in description.get("added_tokens") or []]
        self.special_tokens = {token.content: token.id for token in self.added_tokens if token.special}
        self.vocabulary = self.model["vocab"] | {token.content: token.id for token in self.added_tokens}
        self.surrounding = surrounding_ids(description.get("post_processor"))
        self._matcher = AddedTokenMatcher(self.added_tokens, self._build_normalizer())

    @cached_property
    def _cache(self) -> Cache:
        return Cache(self._encode_word)

    @abstractmethod
    def _build_normalizer(self) -> Normalizer:
        """Give the function applied to text between added tokens."""

    @abstractmethod
    def split_words(self, text: str) -> list[str]:
        """Cut normalized text into words."""

    @abstractmethod
    def _encode_word(self, word: str) -> list[int]:
        """Give the ids of one word."""

    @cached_property
    def tokens(self) -> dict[int, str]:
        """The token of each id; an added token goes before one of the model with the same id."""
        of_model = {i: token for token, i in self.model["vocab"].items()}
        return of_model | {token.id: token.content for token in self.added_tokens}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a tokenizer.json, written here or by the `tokenizers` library.

        Settings for truncation and padding are kept in the file but do not act on `encode`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, or holds another kind of tokenizer; the sentence says which.
        """
        description = read_json(tokenizer_file(path))
        try:
            return cls(description)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(
                f"{path} is not a tokenizer file: a section has the wrong form ({error})"
            ) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a tokenizer.json, whole or not at all; `tokenizers.Tokenizer.from_file` reads it."""
        write_text(path, json.dumps(self.description, ensure_ascii=False, indent=1))

    def add_special_tokens(self, tokens: Sequence[str]) -> int:
        """Add tokens that `decode(skip_special_tokens=True)` leaves out, else as `add_tokens`."""
        return self._add(check_special_tokens(tokens), special=True)

    def add_tokens(self, tokens: Sequence[str]) -> int:
        """Add tokens to be matched as a whole; the ids go on from `n_ids`, but for what the vocabulary has already.

        Args:
            tokens: their texts.

        Returns:
            How many of them were not added in this form before. The model's table needs `n_ids` rows from now on.

        Example:
            >>> from lecture_lib.tokenization import BytePairTokenizer
            >>> tokenizer = BytePairTokenizer.train(["low low"], vocab_size=258)
            >>> tokenizer.add_special_tokens(["<|user|>"]), tokenizer.encode("<|user|>low")
            (1, [258, 257])
        """
        return self._add(check_special_tokens(tokens, "tokens"), special=False)

    def _add(self, tokens: list[str], special: bool) -> int:
        n_ids = self.n_ids
        entries = old = {token.content: token for token in self.added_tokens}
        for content in tokens:
            i = self.vocabulary.get(content, n_ids)
            n_ids = max(n_ids, i + 1)
            entries = entries | {content: AddedToken(i, content, special=special, normalized=not special)}
        in_order = sorted(entries.values(), key=lambda token: token.id)
        description = self.description | {"added_tokens": [token.to_json() for token in in_order]}
        self.__dict__.clear()
        self.__init__(description)
        return len(set(entries.values()) - set(old.values()))

    def _encode(self, text: str, plain: Collection[str]) -> list[int]:
        ids: list[int] = []
        for piece in self._matcher.split(text, plain):
            new = [piece] if isinstance(piece, int) else self._encode_ordinary(piece)
            if ids:
                ids += new
            else:  # a long text without added tokens is not copied
                ids = new
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        """Encode normalized text that holds no added token."""
        return list(chain.from_iterable(map(self._cache.__getitem__, self.split_words(text))))
