"""What every tokenizer answers, whichever library or algorithm cuts its words: the one protocol."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from operator import index
from typing import Any

from lecture_lib.tokenization.byte_level import check_text
from lecture_lib.tokenization.streaming import encode_in_blocks

NONE: frozenset[str] = frozenset()
Special = str | bool | Collection[str]


class TextTokenizer(ABC):
    """Text to token ids and back.

    Ids may have gaps, and a model's table may be larger than its tokenizer. Three numbers tell them apart:
    `n_tokens` counts the tokens; `n_ids` is the largest id + 1, the rows that a table needs; `vocab_size` is
    `n_ids` under the name that a model's config gives it. Without gaps all three are equal.

    Attributes:
        vocabulary: id of each token, as the files spell them, added tokens included.
        special_tokens: id of each special token.
    """

    vocabulary: dict[str, int]
    special_tokens: dict[str, int]

    @abstractmethod
    def _encode(self, text: str, plain: Collection[str]) -> list[int]:
        """Give the ids of a text alone; special tokens in `plain` are text like any other."""

    @abstractmethod
    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Give the text of token ids. An id that no token has gives no text, as in transformers.

        Args:
            ids: (N,) token ids.
            skip_special_tokens: leave special tokens out.

        Raises:
            ValueError: an id is negative or no whole number.
        """

    @cached_property
    def surrounding(self) -> tuple[list[int], list[int]]:
        """The ids that are put before and after a text."""
        return [], []

    @cached_property
    def tokens(self) -> dict[int, str]:
        """The token of each id."""
        return {i: token for token, i in self.vocabulary.items()}

    @property
    def n_tokens(self) -> int:
        """Number of tokens, added tokens included."""
        return len(self.tokens)

    @property
    def n_ids(self) -> int:
        """The largest id + 1: how many rows a table needs."""
        return max(self.tokens, default=-1) + 1

    @property
    def vocab_size(self) -> int:
        """The same as `n_ids`, as `ModelConfig` calls it."""
        return self.n_ids

    def encode(self, text: str, add_special_tokens: bool = True, special: Special = "all") -> list[int]:
        """Give the token ids of a text.

        Args:
            text: any text.
            add_special_tokens: put the ids around the text that the file asks for ([CLS], <|begin_of_text|>).
            special: which special tokens that stand in the text become their ids: "all" (or True), "never"
                (or False), or a set of them. The others are encoded as the plain text that they are: use
                "never" for what a user has typed, so that nobody can write a control token.

        Returns:
            (N,) token ids.

        Raises:
            ValueError: `text` is not a string or holds half of a surrogate pair; `special` names no special token.
        """
        check_text(text, "encode takes a str")
        ids = self._encode(text, self._plain(special))
        before, after = self.surrounding if add_special_tokens else ([], [])
        return [*before, *ids, *after] if before or after else ids

    def encode_iterable(
        self, pieces: Iterable[str], add_special_tokens: bool = True, special: Special = "all"
    ) -> Iterator[int]:
        """Give the ids of a long text that comes in pieces, such as the lines of a file, as they come.

        Args:
            pieces: parts of the text, cut anywhere.
            add_special_tokens: as in `encode`.
            special: as in `encode`.

        Returns:
            Iterator over the ids that `encode` gives for the whole. It holds some thousand characters at a time,
            or as many as there are without a place where the text can be cut.
        """
        plain = self._plain(special)
        pieces = [pieces] if isinstance(pieces, str) else pieces
        before, after = self.surrounding if add_special_tokens else ([], [])
        yield from before
        yield from encode_in_blocks(map(check_text, pieces), lambda text: self._encode(text, plain))
        yield from after

    def token_to_id(self, token: str) -> int:
        """Give the id of a token, spelled as in the vocabulary; ValueError if there is no such token."""
        if token not in self.vocabulary:
            special = ", ".join(self.special_tokens) or "none"
            raise ValueError(f"the vocabulary has no token {token!r}; its special tokens: {special}")
        return self.vocabulary[token]

    def id_to_token(self, token_id: int) -> str:
        """Give the token of an id, spelled as in the vocabulary; ValueError if no token has it."""
        (number,) = whole_ids([token_id])
        if number not in self.tokens:
            raise ValueError(f"token id {number} is outside the vocabulary of {self.n_tokens} tokens")
        return self.tokens[number]

    def _plain(self, special: Special) -> Collection[str]:
        """The special tokens that `special` does not ask for."""
        if isinstance(special, str | bool):
            if special not in ("all", "never", True, False):
                raise ValueError(f'special must be "all", "never" or a set of tokens, got {special!r}')
            return NONE if special in ("all", True) else self.special_tokens.keys()
        unknown = [token for token in special if token not in self.special_tokens]
        if unknown:
            known = ", ".join(self.special_tokens) or "none"
            raise ValueError(f"{unknown[0]!r} is not one of the special tokens: {known}")
        return self.special_tokens.keys() - set(special)

    def _tokens_of(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str]:
        """The tokens of ids, but for ids that no token has."""
        skipped = set(self.special_tokens.values()) if skip_special_tokens else ()
        tokens = self.tokens
        return [tokens[i] for i in whole_ids(ids) if i in tokens and i not in skipped]


def whole_ids(ids: Any) -> list[int]:
    """Give token ids as Python's integers, whatever they come as; ValueError for what cannot be an id."""
    try:
        numbers = [index(i) for i in ids]
    except TypeError:
        raise ValueError(f"token ids must be a list of whole numbers, got {ids!r:.60}") from None
    if numbers and min(numbers) < 0:
        raise ValueError(f"token id {min(numbers)} is outside the vocabulary: ids begin at 0")
    return numbers
