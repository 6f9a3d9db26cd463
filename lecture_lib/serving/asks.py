"""What a client may ask of the server, with its ranges; anything else is refused by name."""

import secrets
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving.guide import Pattern, schema_pattern
from lecture_lib.serving.request import Request
from lecture_lib.serving.voice import chat_ids

MOST_SAMPLES = 16


class Ask(BaseModel):
    """What both kinds have in common. Unknown fields are passed over, as other servers do."""

    model_config = ConfigDict(extra="ignore")
    prefix: str = Field("cmpl", exclude=True)

    model: str
    temperature: float = Field(1.0, ge=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    n: int = Field(1, ge=1, le=MOST_SAMPLES)
    seed: int | None = Field(None, ge=0, lt=2**62)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None

    def ids(self, tokenizer: Any) -> list[int]:
        """The prompt."""
        raise NotImplementedError

    def wanted(self) -> int | None:
        """Number of new tokens asked for."""
        raise NotImplementedError

    @property
    def stops(self) -> list[str]:
        """Stop strings."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    def guide(self, tokenizer: Any) -> Pattern | None:
        """The form that the answer must have."""
        asked = self.response_format or {"type": "text"}
        if asked.get("type") == "text":
            return None
        if asked.get("type") == "json_schema" and isinstance(asked.get("json_schema"), dict):
            schema = asked["json_schema"].get("schema")
            if isinstance(schema, dict):
                return schema_pattern(schema, tokenizer)
        raise ValueError(
            "response_format takes {'type': 'json_schema', 'json_schema': {'schema': {...}}}, or text"
        )

    def request(self, tokenizer: Any, context: int) -> Request:
        """The same as the engine wants it; new tokens up to the end of the context if no number is given."""
        prompt = self.ids(tokenizer)
        if len(prompt) >= context:
            raise ValueError(f"the prompt has {len(prompt)} tokens; the context of this model has {context}")
        knobs = {"temperature": self.temperature, "repetition_penalty": self.repetition_penalty}
        if self.top_p < 1:
            knobs["top_p"] = self.top_p
        if self.top_k:
            knobs["top_k"] = self.top_k
        seed = self.seed if self.seed is not None else secrets.randbits(31)
        return Request(
            tuple(prompt),
            self.wanted() or context - len(prompt),
            SamplingParameters(**knobs),
            n=self.n,
            seed=seed,
            stop=[*self.stops, *getattr(tokenizer, "eos_ids", ())],
            tokenizer=tokenizer,
            guide=self.guide(tokenizer),
        )


class Completion(Ask):
    """A text to continue."""

    prompt: str | list[int]
    max_tokens: int | None = Field(16, ge=1)
    logprobs: int | None = Field(None, ge=0, le=0)
    echo: Literal[False] = False

    def ids(self, tokenizer: Any) -> list[int]:
        """The prompt's tokens."""
        ids = tokenizer.encode(self.prompt) if isinstance(self.prompt, str) else self.prompt
        if not ids:
            raise ValueError("prompt: there must be at least one token")
        return ids

    def wanted(self) -> int | None:
        """As asked."""
        return self.max_tokens


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "user", "assistant", "developer", "tool"]
    content: str


class Chat(Ask):
    """A conversation to go on with."""

    prefix: str = Field("chatcmpl", exclude=True)
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False

    def ids(self, tokenizer: Any) -> list[int]:
        """The conversation as the model's own template writes it."""
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError("this model has no chat template: use /v1/completions")
        turns = [{"role": each.role, "content": each.content} for each in self.messages]
        return chat_ids(tokenizer, turns)

    def wanted(self) -> int | None:
        """As asked, under either name."""
        return self.max_completion_tokens or self.max_tokens
