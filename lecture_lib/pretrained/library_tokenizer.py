"""Tokenizers of kinds that the course does not teach, such as the sentencepiece BPE of Llama 2."""

import json
import secrets
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from lecture_lib.files import read_text, write_text
from lecture_lib.tokenization.added_tokens import check_special_tokens
from lecture_lib.tokenization.protocol import TextTokenizer, whole_ids


class LibraryTokenizer(TextTokenizer):
    """A tokenizer.json of a kind that the course does not teach, run by the `tokenizers` library.

    Args:
        path: the file.

    Raises:
        ValueError: the library cannot read it.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.library = tokenizers.Tokenizer.from_str(read_text(path))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"{path} is not a tokenizer file: {error}") from None
        self.library.no_truncation()
        self.library.no_padding()
        self._read_vocabulary()

    def _read_vocabulary(self) -> None:
        added = self.library.get_added_tokens_decoder()
        self.special_tokens = {token.content: i for i, token in added.items() if token.special}
        self.vocabulary = self.library.get_vocab()
        self.__dict__.pop("tokens", None)
        self._unaware: dict[frozenset[str], tokenizers.Tokenizer] = {}

    @cached_property
    def surrounding(self) -> tuple[list[int], list[int]]:
        """The ids that the post-processor puts before and after a text."""
        around = self.library.encode("", add_special_tokens=True)
        of_text = self.library.encode("a", add_special_tokens=True)
        before = next((i for i, special in enumerate(of_text.special_tokens_mask) if not special), 0)
        return around.ids[:before], around.ids[before:]

    def _encode(self, text: str, plain: Collection[str]) -> list[int]:
        library = self.library_without(frozenset(plain)) if plain else self.library
        return library.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """As `TextTokenizer.decode`."""
        known = [i for i in whole_ids(ids) if i in self.tokens]
        return self.library.decode(known, skip_special_tokens=skip_special_tokens)

    def library_without(self, tokens: frozenset[str]) -> tokenizers.Tokenizer:
        """The same tokenizer with some special tokens under names that no text spells.

        `encode_special_tokens` of the library would not do: a Unigram model finds `</s>` in its vocabulary all the same.
        """
        if tokens not in self._unaware:
            description = json.loads(self.library.to_str())
            _rename(description, {token: f"{token}{secrets.token_hex(16)}" for token in tokens})
            self._unaware[tokens] = tokenizers.Tokenizer.from_str(json.dumps(description))
        return self._unaware[tokens]

    def add_tokens(self, tokens: Sequence[str]) -> int:
        """As `Tokenizer.add_tokens`."""
        return self._add(self.library.add_tokens(check_special_tokens(tokens, "tokens")))

    def add_special_tokens(self, tokens: Sequence[str]) -> int:
        """As `Tokenizer.add_special_tokens`."""
        return self._add(self.library.add_special_tokens(check_special_tokens(tokens)))

    def _add(self, n_new: int) -> int:
        self._read_vocabulary()
        return n_new

    def save(self, path: Path) -> None:
        """Write the tokenizer.json, whole or not at all."""
        write_text(path, self.library.to_str(pretty=True))


def _rename(description: dict[str, Any], names: dict[str, str]) -> None:
    """Give tokens other names, in the model and among the added tokens."""
    for token in description["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = description["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): i for token, i in model["vocab"].items()}
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    else:  # Unigram: pieces and their scores
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
