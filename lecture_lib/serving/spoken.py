"""Tokens of a request become the answer that clients expect, whole or piece by piece."""

from typing import Any

from lecture_lib.generation.text import REPLACEMENT
from lecture_lib.serving.asks import Ask, Chat
from lecture_lib.serving.request import Output, Request


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


class Spoken:
    """An answer in the form of the API."""

    def __init__(
        self, body: Ask, asked: Request, tokenizer: Any, name: str, number: str, created: int
    ) -> None:
        self.body, self.asked, self.is_chat = body, asked, isinstance(body, Chat)
        self.head = {"id": number, "created": created, "model": name}
        self.tokenizer = tokenizer
        self.voices = [Voice(tokenizer, body.stops, asked.prompt) for _ in range(asked.n)]
        self.begun: set[int] = set()

    def take(self, output: Output) -> Voice:
        """Take a token; whose it is."""
        voice = self.voices[output.sample]
        if output.finished != "error":
            voice.ids.append(output.token)
            voice.log_probs.append(output.log_prob)
        voice.finished = output.finished
        return voice

    def add(self, output: Output) -> list[dict]:
        """Take a token; the chunks that a stream sends for it."""
        voice = self.take(output)
        piece, chunks = voice.piece(), []
        if piece or output.finished:
            chunks.append(self.chunk(output.sample, piece, output.finished))
        return chunks

    def chunk(self, sample: int, piece: str, finished: str | None) -> dict:
        """A part of one sample."""
        part: dict = {"text": piece}
        if self.is_chat:
            role = {} if sample in self.begun else {"role": "assistant"}
            part = {"delta": role | ({"content": piece} if piece else {})}
        self.begun.add(sample)
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        return {
            **self.head,
            "object": kind,
            "choices": [{"index": sample, **part, "finish_reason": finished}],
        }

    def last(self) -> list[dict]:
        """What comes after all samples: the count of tokens, if asked for."""
        if not (self.body.stream_options or {}).get("include_usage"):
            return []
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        return [{**self.head, "object": kind, "choices": [], "usage": self.usage()}]

    def usage(self) -> dict:
        """Tokens in and out."""
        new, old = sum(len(voice.ids) for voice in self.voices), len(self.asked.prompt)
        return {"prompt_tokens": old, "completion_tokens": new, "total_tokens": old + new}

    def whole(self) -> dict:
        """Everything at once."""
        choices = []
        for i, voice in enumerate(self.voices):
            text = (
                {"message": {"role": "assistant", "content": voice.text()}}
                if self.is_chat
                else {"text": voice.text()}
            )
            choices.append(
                {"index": i, **text, "finish_reason": voice.finished, "logprobs": self.log_probs(voice)}
            )
        kind = "chat.completion" if self.is_chat else "text_completion"
        return {**self.head, "object": kind, "choices": choices, "usage": self.usage()}

    def log_probs(self, voice: Voice) -> dict | None:
        """Log-probabilities of the tokens, if asked for."""
        asked = getattr(self.body, "logprobs", None)
        if asked is None or asked is False:
            return None
        words = [self.tokenizer.decode([token]) for token in voice.ids]
        if not self.is_chat:
            return {
                "tokens": words,
                "token_logprobs": voice.log_probs,
                "top_logprobs": None,
                "text_offset": None,
            }
        rows = zip(words, voice.log_probs, strict=True)
        return {
            "content": [
                {"token": w, "logprob": p, "bytes": list(w.encode()), "top_logprobs": []} for w, p in rows
            ]
        }
