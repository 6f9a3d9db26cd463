"""The tokenizer of Marian's translators: sentencepiece cuts the text, a vocabulary file numbers the pieces.

Source: Kudo & Richardson (2018), sentencepiece; the files of the Helsinki-NLP translators on Hugging Face.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from lecture_lib.files import atomic_write
from lecture_lib.pretrained.files import read_settings

MARIAN_FILES = ("source.spm", "target.spm", "vocab.json")
TARGET_VOCABULARY = "target_vocab.json"


class MarianTokenizer:
    """Source text to ids, ids to target text; every text ends with `</s>`.

    A source may begin with the language that is wanted, such as `>>fr<<`.

    Args:
        files: name of each file: its bytes.
        settings: content of the tokenizer_config.json.

    Raises:
        ImportError: the package sentencepiece is missing.
        ValueError: a file is damaged.
    """

    def __init__(self, files: Mapping[str, bytes], settings: Mapping[str, Any]) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError:
            raise ImportError(
                "Marian's tokenizer needs the package sentencepiece: pip install sentencepiece"
            ) from None
        self.files = dict(files)
        try:
            self.source, self.target = (
                SentencePieceProcessor(model_proto=files[name]) for name in ("source.spm", "target.spm")
            )
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"source.spm or target.spm is no sentencepiece model: {error}") from None
        self.source_ids: dict[str, int] = json.loads(files["vocab.json"])
        self.target_ids: dict[str, int] = json.loads(files.get(TARGET_VOCABULARY, files["vocab.json"]))
        self.target_tokens = {i: token for token, i in self.target_ids.items()}
        names = (
            settings.get(f"{role}_token", usual)
            for role, usual in (("eos", "</s>"), ("unk", "<unk>"), ("pad", "<pad>"))
        )
        self.eos, self.unk, self.pad = (
            name["content"] if isinstance(name, Mapping) else name for name in names
        )
        if self.eos not in self.source_ids or self.unk not in self.source_ids:
            raise ValueError(f"vocab.json lacks {self.eos!r} or {self.unk!r}")
        self.special_tokens = {
            token: self.source_ids[token]
            for token in (self.eos, self.unk, self.pad)
            if token in self.source_ids
        }

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """Read the files of a checkpoint.

        Args:
            folder: the checkpoint.
            settings: content of its tokenizer_config.json.

        Returns:
            The tokenizer.

        Raises:
            ValueError: a file is damaged.
        """
        names = list(MARIAN_FILES) + [TARGET_VOCABULARY] * bool(settings.get("separate_vocabs"))
        for name in names[2:]:
            read_settings(folder / name)
        try:
            return cls({name: (folder / name).read_bytes() for name in names}, settings)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def save(self, folder: Path) -> None:
        """Write the files into a folder, each whole or not at all.

        Args:
            folder: the checkpoint.
        """
        for name, content in self.files.items():
            with atomic_write(folder / name) as part:
                part.write_bytes(content)

    @property
    def vocab_size(self) -> int:
        """Number of tokens of the source."""
        return len(self.source_ids)

    def token_to_id(self, token: str) -> int:
        """Give the id of a source token.

        Args:
            token: a piece as the vocabulary spells it.

        Returns:
            Its id.

        Raises:
            ValueError: the vocabulary has no such token.
        """
        if token not in self.source_ids:
            raise ValueError(f"the vocabulary has no token {token!r}")
        return self.source_ids[token]

    def encode(self, text: str, add_special_tokens: bool = True, target: bool = False) -> list[int]:
        """Give the token ids of a text.

        Args:
            text: any text.
            add_special_tokens: end with `</s>`.
            target: whether the text is of the target language (for training) or of the source.

        Returns:
            (N,) token ids.
        """
        model, ids = (self.target, self.target_ids) if target else (self.source, self.source_ids)
        language, end = [], text.find("<<")
        if text.startswith(">>") and end != -1:
            language, text = [text[: end + 2]], text[end + 2 :]
        pieces = language + model.encode(text, out_type=str)
        unknown = ids[self.unk]
        return [ids.get(piece, unknown) for piece in pieces] + [ids[self.eos]] * add_special_tokens

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Give the target text of token ids.

        Args:
            ids: (N,) token ids.
            skip_special_tokens: leave `</s>`, `<pad>` and `<unk>` out.

        Returns:
            The text.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        text, pieces = "", []
        for i in map(int, ids):
            if i not in self.target_tokens:
                raise ValueError(
                    f"token id {i} is outside the vocabulary of {len(self.target_tokens)} tokens"
                )
            token = self.target_tokens[i]
            if token not in (self.eos, self.unk, self.pad):
                pieces.append(token)
            elif not skip_special_tokens:
                text += self.target.decode_pieces(pieces) + token + " "
                pieces = []
        return (text + self.target.decode_pieces(pieces)).replace("▁", " ").strip()
