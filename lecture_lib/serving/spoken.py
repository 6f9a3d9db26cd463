"""Tokens of a request become the answer that clients expect, whole or piece by piece."""

from typing import Any

from lecture_lib.serving.asks import Ask, Chat
from lecture_lib.serving.request import Output, Request
from lecture_lib.serving.voice import Voice


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

    def add(self, output: Output) -> list[dict]:
        """Take a token; the chunks that a stream sends for it."""
        voice = self.voices[output.sample]
        if output.finished != "error":
            voice.ids.append(output.token)
            voice.log_probs.append(output.log_prob)
        voice.finished = output.finished
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
