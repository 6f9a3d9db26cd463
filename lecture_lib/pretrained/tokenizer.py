"""The tokenizer of a checkpoint: text to ids and back, tokens with a role, the template of a chat, and the files of all this.

Byte-level BPE and WordPiece are those of `lecture_lib.tokenization`; kinds that the course does not teach go
through the `tokenizers` library, or through `sentencepiece` for Marian, behind the same methods.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lecture_lib.files import read_text, write_text
from lecture_lib.pretrained.chat_template import render
from lecture_lib.pretrained.files import read_settings, write_json
from lecture_lib.pretrained.library_tokenizer import LibraryTokenizer
from lecture_lib.pretrained.sentencepiece_tokenizer import (
    MARIAN_FILES,
    SENTENCEPIECE_FILES,
    MarianTokenizer,
    SentencePieceTokenizer,
)
from lecture_lib.tokenization import BytePairTokenizer, WordPieceTokenizer
from lecture_lib.tokenization.protocol import Special, TextTokenizer

__all__ = ["ROLES", "PretrainedTokenizer", "TextTokenizer", "load_tokenizer", "save_tokenizer"]

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_eos_token_id")
# Names by which the roles of a freshly trained tokenizer's special tokens are known.
USUAL = {
    "bos": ("<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>"),
    "eos": ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "unk": ("[UNK]", "<unk>"),
    "sep": ("[SEP]", "<sep>"),
    "pad": ("[PAD]", "<pad>", "<|pad|>"),
    "cls": ("[CLS]", "<cls>"),
    "mask": ("[MASK]", "<mask>"),
}


class PretrainedTokenizer:
    """A tokenizer with what its checkpoint says about it; what is not answered here, its `inner` answers.

    Args:
        inner: text to ids and back.
        settings: content of the tokenizer_config.json, without the chat template.
        chat_template: how a conversation is written down, in Jinja's language; None: the model knows no chat.
        token_ids: ids with a role in generation, named as in config.json: eos_token_id (one or several),
            pad_token_id, ...
    """

    def __init__(
        self,
        inner: TextTokenizer,
        settings: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
        token_ids: Mapping[str, int | Sequence[int]] | None = None,
    ) -> None:
        self.inner = inner
        self.settings = dict(settings or {})
        self.chat_template = chat_template
        self.token_ids = dict(token_ids or {})

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not there yet: while being copied
            raise AttributeError(name)
        return getattr(self.inner, name)

    def encode(self, text: str, add_special_tokens: bool = True, special: Special = "all") -> list[int]:
        """As `TextTokenizer.encode`."""
        return self.inner.encode(text, add_special_tokens, special)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """As `TextTokenizer.decode`."""
        return self.inner.decode(ids, skip_special_tokens)

    def role(self, name: str) -> str | None:
        """Give the token that has a role (bos, eos, unk, sep, pad, cls or mask), or None."""
        return self.settings.get(f"{name}_token")

    def ids_of(self, name: str) -> tuple[int, ...]:
        """Give the ids that have a role (of `role`, or decoder_start), as the model's config or else the tokenizer's says."""
        found = self.token_ids.get(f"{name}_token_id")
        if found is not None:
            return (found,) if isinstance(found, int) else tuple(found)
        token = self.role(name)
        return () if token is None else (self.inner.token_to_id(token),)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids after which the model has finished."""
        return self.ids_of("eos")

    @property
    def pad_id(self) -> int | None:
        """Id that fills short rows up."""
        return next(iter(self.ids_of("pad")), None)

    @property
    def start_id(self) -> int | None:
        """Id with which a decoder begins: a translator's start token, else the beginning of a text."""
        return next(iter(self.ids_of("decoder_start") or self.ids_of("bos")), None)

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Write a conversation as the one text that the model was trained on.

        The text holds its special tokens already: encode it with `add_special_tokens=False`. The template
        comes from the checkpoint and runs in Jinja's sandbox, where it can put texts together and nothing
        else.

        Args:
            messages: each with a role (system, user, assistant) and a content.
            add_generation_prompt: end where the assistant begins to speak.
            variables: further names that the template reads, such as enable_thinking.

        Raises:
            ValueError: there is no template, or it refuses the conversation.
            ImportError: the package jinja2 is missing.
        """
        if self.chat_template is None:
            raise ValueError("this checkpoint has no chat template")
        names = {f"{name}_token": self.role(name) or "" for name in ROLES} | {
            "tools": None,
            "documents": None,
        }
        names |= {"messages": messages, "add_generation_prompt": add_generation_prompt} | dict(
            variables or {}
        )
        return render(self.chat_template, names)


def load_tokenizer(folder: Path, config: Mapping[str, Any]) -> PretrainedTokenizer:
    """Read the tokenizer of a checkpoint, with its chat template and the ids that have a role.

    Args:
        folder: the checkpoint.
        config: content of its config.json.

    Raises:
        FileNotFoundError: the folder holds no tokenizer that can be read here.
        ValueError: a file of it is damaged.
    """
    settings = read_settings(folder / "tokenizer_config.json", optional=True)
    for name, token in read_settings(folder / "special_tokens_map.json", optional=True).items():
        settings.setdefault(name, token)
    for name, token in settings.items():  # older files spell every property of a token out
        settings[name] = token["content"] if isinstance(token, Mapping) and "content" in token else token
    template = settings.pop("chat_template", None)
    if isinstance(template, list):  # several, by name
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    if (folder / "chat_template.jinja").is_file():
        template = read_text(folder / "chat_template.jinja")
    generation = read_settings(folder / "generation_config.json", optional=True)
    ids = {name: i for name in TOKEN_IDS if (i := generation.get(name, config.get(name))) is not None}
    check(folder, settings, template, ids)
    inner = load_inner(folder, settings, config)
    if isinstance(inner, SentencePieceTokenizer):
        settings = inner.roles | settings
    return PretrainedTokenizer(inner, settings, template, ids)


def check(folder: Path, settings: Mapping[str, Any], template: object, ids: Mapping[str, object]) -> None:
    """Refuse what a checkpoint cannot mean: a token or a template that is no text, an id that is no whole number."""
    texts = {f"{role}_token": settings.get(f"{role}_token") for role in ROLES} | {"chat_template": template}
    for name, text in texts.items():
        if not isinstance(text, str | None):
            raise ValueError(f"{folder / 'tokenizer_config.json'}: {name} must be a text, got {text!r:.60}")
    for name, found in ids.items():
        if not all(type(i) is int for i in (found if isinstance(found, list) else [found])):
            raise ValueError(f"{folder}: {name} must be a token id or several, got {found!r:.60}")


def load_inner(folder: Path, settings: Mapping[str, Any], config: Mapping[str, Any]) -> TextTokenizer:
    """Read what turns text into ids: a tokenizer of the course if the kind is taught, else one of a library."""
    whole = folder / "tokenizer.json"
    if whole.is_file():
        for kind in (BytePairTokenizer, WordPieceTokenizer):
            try:
                return kind.load(whole)
            except ValueError:
                continue
        return LibraryTokenizer(whole)
    if (folder / "vocab.txt").is_file():
        return WordPieceTokenizer.load(folder / "vocab.txt", lowercase=settings.get("do_lower_case", True))
    if config.get("model_type") == "gpt2" and (folder / "merges.txt").is_file():
        return BytePairTokenizer.from_gpt2_files(folder / "vocab.json", folder / "merges.txt")
    if all((folder / name).is_file() for name in MARIAN_FILES):
        return MarianTokenizer.load(folder, settings)
    for name in SENTENCEPIECE_FILES:
        if (folder / name).is_file():
            return SentencePieceTokenizer.load(folder / name, settings, config.get("model_type", ""))
    raise FileNotFoundError(
        f"{folder} holds no tokenizer that can be read here (tokenizer.json is missing); "
        "load the model alone with load_pretrained(..., tokenizer=False)"
    )


def save_tokenizer(
    tokenizer: TextTokenizer | PretrainedTokenizer, folder: Path, context_length: int
) -> dict[str, Any]:
    """Write the files of a tokenizer, each whole or not at all.

    Args:
        tokenizer: one that was loaded here, or one of `lecture_lib.tokenization`.
        folder: the checkpoint.
        context_length: longest text of the model, in tokens.

    Returns:
        The ids that have a role, for the config.json.
    """
    if not isinstance(tokenizer, PretrainedTokenizer):
        usual = {
            role: next((t for t in names if t in tokenizer.special_tokens), None)
            for role, names in USUAL.items()
        }
        settings = {f"{role}_token": token for role, token in usual.items() if token is not None}
        tokenizer = PretrainedTokenizer(tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    settings = {"model_max_length": context_length, **tokenizer.settings}
    if isinstance(tokenizer.inner, MarianTokenizer | SentencePieceTokenizer):
        tokenizer.inner.save(folder)
    else:
        tokenizer.inner.save(folder / "tokenizer.json")
    write_json(folder / "tokenizer_config.json", settings)
    if tokenizer.chat_template is not None:
        write_text(folder / "chat_template.jinja", tokenizer.chat_template)
    roles = {f"{role}_token_id": ids[0] for role in ROLES[:2] + ("pad",) if (ids := tokenizer.ids_of(role))}
    return {**roles, **tokenizer.token_ids}
