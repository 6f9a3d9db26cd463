"""What every tokenizer here has in common: one tokenizer.json, held in memory as the object that it is on disk."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import chain
from operator import index
from typing import Any, ClassVar, Self

from lecture_lib.files import read_json, write_text
from lecture_lib.tokenization.added_tokens import AddedToken, AddedTokenMatcher
from lecture_lib.tokenization.files import check_kind, tokenizer_file
from lecture_lib.tokenization.pipeline import Normalizer, surrounding_ids

CACHED = 300_000


class Cache(dict[str, tuple[int, ...]]):
    """Ids of the pieces of text seen so far: texts repeat themselves, so most are looked up, not merged."""

    def __init__(self, encode: Callable[[str], Iterable[int]]) -> None:
        super().__init__()
        self.encode = encode

    def __missing__(self, piece: str) -> tuple[int, ...]:
        if len(self) >= CACHED:
            self.clear()
        ids = self[piece] = tuple(self.encode(piece))
        return ids


class Tokenizer(ABC):
    """Text to token ids and back.

    Attributes:
        description: content of the tokenizer.json; `save` writes it, the constructor reads it.
        vocabulary: id of each token, as the file spells them, added tokens included.
        special_tokens: id of each special token.
    """

    kind: ClassVar[str]

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self.model = check_kind(description, self.kind)
        self.added_tokens = [AddedToken.from_json(entry) for entry in description.get("added_tokens") or []]
        self.special_tokens = {token.content: token.id for token in self.added_tokens if token.special}
        added = {token.content: token.id for token in self.added_tokens}
        self.vocabulary: dict[str, int] = self.model["vocab"] | added
        self._tokens = {i: token for token, i in self.model["vocab"].items()} | {
            i: t for t, i in added.items()
        }
        self._before, self._after = surrounding_ids(description.get("post_processor"))
        self._cache = Cache(self._encode_word)
        self._matcher = AddedTokenMatcher(self.added_tokens, self._build_normalizer())

    @abstractmethod
    def _build_normalizer(self) -> Normalizer:
        """Give the function applied to text between added tokens."""

    @abstractmethod
    def split_words(self, text: str) -> list[str]:
        """Cut normalized text into words.

        Args:
            text: normalized text.

        Returns:
            The words in order.
        """

    @abstractmethod
    def _encode_word(self, word: str) -> list[int]:
        """Give the ids of one word."""

    @abstractmethod
    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Give the text of token ids.

        Args:
            ids: (N,) token ids.
            skip_special_tokens: leave special tokens out.

        Returns:
            The text.

        Raises:
            ValueError: an id is outside the vocabulary.
        """

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a tokenizer.json, written here or by the `tokenizers` library.

        Settings for truncation and padding are kept in the file but do not act on `encode`.

        Args:
            path: the file.

        Returns:
            The tokenizer.

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
        """Write a tokenizer.json, whole or not at all; `tokenizers.Tokenizer.from_file` reads it.

        Args:
            path: the file; what stood there is replaced.

        Raises:
            FileNotFoundError: its folder does not exist.
        """
        write_text(path, json.dumps(self.description, ensure_ascii=False, indent=1))

    def _encode_ordinary(self, text: str) -> list[int]:
        """Encode normalized text that holds no added token."""
        return list(chain.from_iterable(map(self._cache.__getitem__, self.split_words(text))))

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added tokens included."""
        return len(self._tokens)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Give the token ids of a text.

        Args:
            text: any text; a special token in it becomes its id.
            add_special_tokens: put the ids around the text that the file asks for ([CLS], <|begin_of_text|>).

        Returns:
            (N,) token ids.

        Raises:
            ValueError: `text` is not a string, or holds half of a surrogate pair.
        """
        if not isinstance(text, str):
            raise ValueError(f"encode takes a str, not {type(text).__name__}: {text!r:.60}")
        ids = self._before.copy() if add_special_tokens else []
        for piece in self._matcher.split(text):
            new = [piece] if isinstance(piece, int) else self._encode_ordinary(piece)
            if ids:
                ids += new
            else:
                ids = new
        return ids + self._after if add_special_tokens and self._after else ids

    def token_to_id(self, token: str) -> int:
        """Give the id of a token.

        Args:
            token: a token as the vocabulary spells it, or a special token.

        Returns:
            Its id.

        Raises:
            ValueError: the vocabulary has no such token.
        """
        if token not in self.vocabulary:
            special = ", ".join(self.special_tokens) or "none"
            raise ValueError(f"the vocabulary has no token {token!r}; its special tokens: {special}")
        return self.vocabulary[token]

    def id_to_token(self, token_id: int) -> str:
        """Give the token of an id.

        Args:
            token_id: the id.

        Returns:
            The token as the vocabulary spells it.

        Raises:
            ValueError: the id is outside the vocabulary.
        """
        return self._checked_tokens([token_id])[0]

    def _checked_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]:
        """Look up the tokens of ids, with a clear error for an id that has none."""
        skipped = set(self.special_tokens.values()) if skip_special_tokens else ()
        try:
            numbers = [index(i) for i in ids]
        except TypeError:
            raise ValueError(f"token ids must be a list of whole numbers, got {ids!r:.60}") from None
        for i in numbers:
            if i not in self._tokens:
                raise ValueError(f"token id {i} is outside the vocabulary of {self.vocab_size} tokens")
        return [self._tokens[i] for i in numbers if i not in skipped]
