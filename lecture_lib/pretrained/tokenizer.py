"""The tokenizer of a checkpoint: text to ids and back, the tokens that have a role, the template of a chat.

Byte-level BPE and WordPiece are those of `lecture_lib.tokenization`; kinds that the course does not teach go
through the `tokenizers` library, or through `sentencepiece` for Marian, behind the same methods.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lecture_lib.pretrained.chat_template import render
from lecture_lib.tokenization.protocol import Special, TextTokenizer

__all__ = ["ROLES", "PretrainedTokenizer", "TextTokenizer"]

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


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
