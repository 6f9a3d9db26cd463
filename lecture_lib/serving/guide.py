"""Structured output: which tokens may come next so that the text fits a regular expression or a JSON schema.

An engine asks three things of a guide, whoever made it: `allowed`, `advance`, `finished`; a draft model asks them of a
`copy.deepcopy`, which must go its own way. Here `outlines_core` compiles the
expression once for a vocabulary; each sample walks through it on its own.
"""

import functools
import json
from collections.abc import Sequence
from typing import Protocol

from lecture_lib.pretrained import PretrainedTokenizer
from lecture_lib.tokenization import TextTokenizer

Tokenizer = TextTokenizer | PretrainedTokenizer


class Guide(Protocol):
    """What an engine asks."""

    def allowed(self) -> list[int]:
        """Tokens that may come next."""
        ...

    def advance(self, token: int) -> None:
        """One of them has come."""
        ...

    def finished(self) -> bool:
        """Whether the text is complete."""
        ...


class Pattern:
    """Texts of a regular expression, for one tokenizer; calling it gives a guide for one sample.

    Args:
        expression: of the whole text.
        tokenizer: its end token, if it has one, may come once the text is complete.
        most_characters: longer expressions are refused.

    Raises:
        ValueError: the expression cannot be compiled, or the tokenizer cannot write it.
    """

    def __init__(self, expression: str, tokenizer: Tokenizer, most_characters: int = 20_000) -> None:
        from outlines_core import Index

        if len(expression) > most_characters:
            raise ValueError(f"the expression has {len(expression)} characters, more than {most_characters}")
        inner = getattr(tokenizer, "inner", tokenizer)
        ends = tuple(getattr(tokenizer, "eos_ids", ()))
        self.end = ends[0] if ends else inner.n_ids  # without one a text ends where nothing can follow
        self.is_real = bool(ends)
        try:
            self.index = Index(expression, vocabulary_of(inner, self.end))
        except Exception as error:
            raise ValueError(f"no text of this tokenizer fits {expression[:80]!r} ({error})") from None

    def __call__(self) -> "Walk":
        """A guide for one sample."""
        return Walk(self)


class Walk:
    """Where one sample stands in a pattern, after the tokens that have come."""

    def __init__(self, pattern: Pattern, tokens: Sequence[int] = ()) -> None:
        from outlines_core import Guide as Inner

        self.pattern, self.tokens = pattern, []
        self.inner, self.end, self.is_real = Inner(pattern.index), pattern.end, pattern.is_real
        for token in tokens:
            self.advance(token)

    def __deepcopy__(self, memo: dict) -> "Walk":
        return Walk(self.pattern, self.tokens)  # the compiled pattern stays one

    def allowed(self) -> list[int]:
        """Tokens that may come next, the end token where the text is complete."""
        return [token for token in self.inner.get_tokens() if self.is_real or token != self.end]

    def advance(self, token: int) -> None:
        """Go on."""
        self.tokens.append(token)
        if token != self.end:
            self.inner.advance(token)

    def finished(self) -> bool:
        """Whether nothing but the end token may come."""
        return set(self.allowed()) <= {self.end}


def schema_pattern(schema: dict, tokenizer: Tokenizer) -> Pattern:
    """The texts that are JSON of a schema.

    Raises:
        ValueError: the schema says what cannot be held.
    """
    from outlines_core.json_schema import build_regex_from_schema

    try:
        expression = build_regex_from_schema(json.dumps(schema))
    except Exception as error:
        raise ValueError(f"this JSON schema cannot be followed ({error})") from None
    return Pattern(expression, tokenizer)


@functools.lru_cache(maxsize=4)
def vocabulary_of(tokenizer: TextTokenizer, end: int) -> object:
    """The tokens as outlines_core wants them: text to ids, without those that are no whole characters."""
    from outlines_core import Vocabulary

    ids: dict[str, list[int]] = {}
    for i in sorted(tokenizer.tokens):
        text = tokenizer.decode([i]) if i != end else ""
        if text and "\ufffd" not in text and i not in set(tokenizer.special_tokens.values()):
            ids.setdefault(text, []).append(i)
    return Vocabulary(end, ids)
