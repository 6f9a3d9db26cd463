"""Which files of a folder make its tokenizer, and how they are written again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lecture_lib.files import read_text, write_text
from lecture_lib.pretrained.files import read_settings, write_json
from lecture_lib.pretrained.library_tokenizer import LibraryTokenizer
from lecture_lib.pretrained.sentencepiece_tokenizer import (
    MARIAN_FILES,
    SENTENCEPIECE_FILES,
    MarianTokenizer,
    SentencePieceTokenizer,
)
from lecture_lib.pretrained.tokenizer import ROLES, PretrainedTokenizer, TextTokenizer
from lecture_lib.tokenization import BytePairTokenizer, WordPieceTokenizer

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
