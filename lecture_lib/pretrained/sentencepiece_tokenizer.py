"""Tokenizers that come as sentencepiece models: the tokenizer.model of Llama 2 and T5, the two of Marian's translators.

Source: Kudo & Richardson (2018), sentencepiece; the files of the Helsinki-NLP translators on Hugging Face.
"""

import json
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from lecture_lib.files import atomic_write
from lecture_lib.pretrained.files import read_settings
from lecture_lib.tokenization.added_tokens import AddedToken, AddedTokenMatcher
from lecture_lib.tokenization.byte_level import check_text
from lecture_lib.tokenization.pipeline import unchanged
from lecture_lib.tokenization.protocol import Special, TextTokenizer, whole_ids

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

SENTENCEPIECE_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
MARIAN_FILES = ("source.spm", "target.spm", "vocab.json")
TARGET_VOCABULARY = "target_vocab.json"
BEGINS = ("llama", "mistral", "gemma", "gemma2")  # families whose texts begin with bos
ENDS = ("t5", "mt5", "umt5")  # and those whose texts end with eos


def processor(content: bytes, name: str) -> "SentencePieceProcessor":
    """Open a sentencepiece model; ValueError if it is none."""
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise ImportError(f"{name} needs the package sentencepiece: pip install sentencepiece") from None
    try:
        return SentencePieceProcessor(model_proto=content)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{name} is no sentencepiece model: {error}") from None


class _SentencePieces(TextTokenizer):
    """What the two kinds share: files kept as they came, special tokens cut out before the model sees a text."""

    files: dict[str, bytes]

    def save(self, folder: Path) -> None:
        """Write the files into a folder, each whole or not at all."""
        for name, content in self.files.items():
            with atomic_write(folder / name) as part:
                part.write_bytes(content)

    @abstractmethod
    def _encode_ordinary(self, text: str) -> list[int]:
        """Give the ids of a text without special tokens."""

    def _encode(self, text: str, plain: Collection[str]) -> list[int]:
        ids: list[int] = []
        for piece in self._matcher.split(text, plain):
            ids += [piece] if isinstance(piece, int) else self._encode_ordinary(piece)
        return ids

    def _set_special(self, tokens: Mapping[str, int]) -> None:
        self.special_tokens = dict(tokens)
        self._matcher = AddedTokenMatcher((AddedToken(i, token) for token, i in tokens.items()), unchanged)


class SentencePieceTokenizer(_SentencePieces):
    """A sentencepiece model, Unigram or BPE; the ids are its own, tokens that were added later follow.

    Args:
        files: name of each file: its bytes; the first one is the model.
        settings: content of the tokenizer_config.json.
        family: `model_type` of the config.json; it says what is put around a text if the settings do not.
    """

    def __init__(self, files: Mapping[str, bytes], settings: Mapping[str, Any], family: str = "") -> None:
        self.files = dict(files)
        name, content = next(iter(files.items()))
        self.model = model = processor(content, name)
        pieces = range(model.get_piece_size())
        self.vocabulary = {model.id_to_piece(i): i for i in pieces}
        special = {model.id_to_piece(i): i for i in pieces if model.is_control(i) or model.is_unknown(i)}
        added = _added(settings, family, len(self.vocabulary))
        self.vocabulary |= added
        self._set_special(special | added)
        first = model.bos_id() >= 0 and settings.get("add_bos_token", family in BEGINS)
        last = model.eos_id() >= 0 and settings.get("add_eos_token", family in ENDS)
        self.surrounding = ([model.bos_id()] if first else [], [model.eos_id()] if last else [])

    @classmethod
    def load(cls, path: Path, settings: Mapping[str, Any], family: str = "") -> Self:
        """Read the model from its file; ValueError if it is damaged."""
        try:
            return cls({path.name: path.read_bytes()}, settings, family)
        except ValueError as error:
            raise ValueError(f"{path.parent}: {error}") from None

    @property
    def roles(self) -> dict[str, str]:
        """The tokens that have a role in the model, named as in a tokenizer_config.json."""
        model = self.model
        ids = {"bos": model.bos_id(), "eos": model.eos_id(), "unk": model.unk_id(), "pad": model.pad_id()}
        return {f"{role}_token": model.id_to_piece(i) for role, i in ids.items() if i >= 0}

    def _encode_ordinary(self, text: str) -> list[int]:
        return self.model.encode(text)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """As `TextTokenizer.decode`."""
        named = {} if skip_special_tokens else {i: token for token, i in self.special_tokens.items()}
        hidden = set(self.special_tokens.values()) - named.keys()
        pieces: list[str | int] = []
        for i in whole_ids(ids):
            if i in self.tokens and i not in hidden:
                pieces.append(named.get(i, i))
        return _joined(pieces, self.model.decode)


def _added(settings: Mapping[str, Any], family: str, n_pieces: int) -> dict[str, int]:
    """Tokens beyond the model's own: those that the settings list with ids, and T5's <extra_id_0>, from the end."""
    n_extra = settings.get("extra_ids", 100 if family == "t5" else 0)
    added = {f"<extra_id_{n_extra - 1 - k}>": n_pieces + k for k in range(n_extra)}
    for i, token in (settings.get("added_tokens_decoder") or {}).items():
        if int(i) >= n_pieces:
            added[token["content"] if isinstance(token, Mapping) else token] = int(i)
    return added


def _joined(pieces: list[Any], decode: Any) -> str:
    """Decode runs of pieces between special tokens, which are given as texts."""
    text, run = "", []
    for piece in [*pieces, ""]:
        if isinstance(piece, str):
            words = decode(run) if run else ""
            text += (
                (" " if text and words else "") + words + (" " if (text or words) and piece else "") + piece
            )
            run = []
        else:
            run.append(piece)
    return text


class MarianTokenizer(_SentencePieces):
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
        self.files = dict(files)
        self.source, self.target = (processor(files[name], name) for name in MARIAN_FILES[:2])
        self.vocabulary = json.loads(files["vocab.json"])
        self.target_ids: dict[str, int] = json.loads(files.get(TARGET_VOCABULARY, files["vocab.json"]))
        self.target_tokens = {i: token for token, i in self.target_ids.items()}
        roles = (("eos", "</s>"), ("unk", "<unk>"), ("pad", "<pad>"))
        names = (settings.get(f"{role}_token", usual) for role, usual in roles)
        self.eos, self.unk, self.pad = (
            name["content"] if isinstance(name, Mapping) else name for name in names
        )
        if self.eos not in self.vocabulary or self.unk not in self.vocabulary:
            raise ValueError(f"vocab.json lacks {self.eos!r} or {self.unk!r}")
        special = (self.eos, self.unk, self.pad)
        self._set_special({token: self.vocabulary[token] for token in special if token in self.vocabulary})
        self.surrounding = ([], [self.vocabulary[self.eos]])

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """Read the files of a checkpoint; ValueError if one is damaged."""
        names = list(MARIAN_FILES) + [TARGET_VOCABULARY] * bool(settings.get("separate_vocabs"))
        for name in names[2:]:
            read_settings(folder / name)
        try:
            return cls({name: (folder / name).read_bytes() for name in names}, settings)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def encode(
        self, text: str, add_special_tokens: bool = True, special: Special = "all", target: bool = False
    ) -> list[int]:
        """As `TextTokenizer.encode`; `target` says that the text is of the target language (for training)."""
        if not target:
            return super().encode(text, add_special_tokens, special)
        return (
            self._ids(check_text(text), self.target, self.target_ids)
            + [self.target_ids[self.eos]] * add_special_tokens
        )

    def _encode_ordinary(self, text: str) -> list[int]:
        return self._ids(text, self.source, self.vocabulary)

    def _ids(self, text: str, model: "SentencePieceProcessor", ids: Mapping[str, int]) -> list[int]:
        language, end = [], text.find("<<")
        if text.startswith(">>") and end != -1:
            language, text = [text[: end + 2]], text[end + 2 :]
        unknown = ids[self.unk]
        return [ids.get(piece, unknown) for piece in language + model.encode(text, out_type=str)]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Give the target text of token ids; `</s>`, `<pad>` and `<unk>` are special."""
        text, pieces = "", []
        for i in whole_ids(ids):
            token = self.target_tokens.get(i)
            if token is None:
                continue
            if token not in (self.eos, self.unk, self.pad):
                pieces.append(token)
            elif not skip_special_tokens:
                text += self.target.decode_pieces(pieces) + token + " "
                pieces = []
        return (text + self.target.decode_pieces(pieces)).replace("▁", " ").strip()
