"""Tokenizers of kinds that the course does not teach, such as the sentencepiece BPE of Llama 2."""

from collections.abc import Iterable
from pathlib import Path

import tokenizers

from lecture_lib.files import write_text


class LibraryTokenizer:
    """A tokenizer.json of a kind that the course does not teach, run by the `tokenizers` library.

    Args:
        path: the file.

    Raises:
        ValueError: the library cannot read it.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.library = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"{path} is not a tokenizer file: {error}") from None
        self.library.no_truncation()
        self.library.no_padding()
        added = self.library.get_added_tokens_decoder()
        self.special_tokens = {token.content: i for i, token in added.items() if token.special}
        self.vocab_size = self.library.get_vocab_size()

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Give the token ids of a text.

        Args:
            text: any text.
            add_special_tokens: put the ids around the text that the file asks for.

        Returns:
            (N,) token ids.
        """
        return self.library.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Give the text of token ids.

        Args:
            ids: (N,) token ids.
            skip_special_tokens: leave special tokens out.

        Returns:
            The text.
        """
        return self.library.decode([int(i) for i in ids], skip_special_tokens=skip_special_tokens)

    def token_to_id(self, token: str) -> int:
        """Give the id of a token.

        Args:
            token: a token as the vocabulary spells it.

        Returns:
            Its id.

        Raises:
            ValueError: the vocabulary has no such token.
        """
        found = self.library.token_to_id(token)
        if found is None:
            raise ValueError(f"the vocabulary has no token {token!r}")
        return found

    def save(self, path: Path) -> None:
        """Write the tokenizer.json, whole or not at all.

        Args:
            path: the file; what stood there is replaced.
        """
        write_text(path, self.library.to_str(pretty=True))
