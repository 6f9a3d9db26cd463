"""A conversation becomes tokens, and the tokens of the answer become text again while they come."""

from collections.abc import Mapping, Sequence
from typing import Any

from lecture_lib.generation.text import REPLACEMENT


def chat_ids(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """The prompt of a conversation as the model's own template writes it, up to where the assistant begins to speak."""
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)


class Voice:
    """The text of one sample while it grows: no half characters, nothing of a stop string, nothing twice."""

    def __init__(self, tokenizer: Any, stops: list[str], prompt: tuple[int, ...]) -> None:
        self.tokenizer, self.stops, self.prompt = tokenizer, stops, list(prompt)
        self.ids: list[int] = []
        self.log_probs: list[float] = []
        self.given, self.finished = 0, None

    def text(self) -> str:
        """Everything so far, up to a stop string."""
        ends = set(getattr(self.tokenizer, "eos_ids", ()))
        ids = self.ids[:-1] if self.ids and self.ids[-1] in ends else self.ids
        tail = self.prompt[-8:]
        before, both = self.tokenizer.decode(tail), self.tokenizer.decode([*tail, *ids])
        text = both[len(before) :] if both.startswith(before) else self.tokenizer.decode(ids)
        cuts = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        return text[: min(cuts)] if cuts else text

    def piece(self) -> str:
        """What is new and certain: the beginning of a stop string is held back until it is decided."""
        text = self.text()
        if self.finished is None:
            text = text.rstrip(REPLACEMENT)
            held = [n for stop in self.stops for n in range(1, len(stop)) if text.endswith(stop[:n])]
            text = text[: len(text) - max(held, default=0)]
        new, self.given = text[self.given :], max(self.given, len(text))
        return new
