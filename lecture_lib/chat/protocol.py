"""What every chat model can do, wherever it runs: messages in, replies out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from lecture_lib.sampling import SamplingParameters

Message = Mapping[str, str]  # {"role": "system", "user" or "assistant", "content": text}
Kind = Literal["key", "network", "timeout", "model", "rate", "context", "request", "server"]


@dataclass(frozen=True)
class Reply:
    """One answer and what it cost."""

    text: str
    tokens_in: int | None  # of the prompt, as the model counts them; None: an endpoint that does not say
    tokens_out: int | None  # of the answer
    finish_reason: str = "stop"  # "length": the number of new tokens was used up


class ChatError(RuntimeError):
    """Why there is no answer, in one sentence.

    Args:
        sentence: what is wrong and what can be done.
        kind: a wrong key, network, timeout, an unknown model, a rate limit, a conversation longer than the context,
            another request that is refused, or a server that failed.
    """

    def __init__(self, sentence: str, kind: Kind = "server") -> None:
        super().__init__(sentence)
        self.kind = kind


class ChatModel(Protocol):
    """A model that answers a conversation; the same seed gives the same answers where the model allows it."""

    name: str

    def replies(
        self,
        messages: Sequence[Message],
        sampling: SamplingParameters = SamplingParameters(),
        *,
        n: int = 1,
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> list[Reply]:
        """Draw n whole answers; no number of new tokens: up to the end of the context."""
        ...

    def stream(
        self,
        messages: Sequence[Message],
        sampling: SamplingParameters = SamplingParameters(),
        *,
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> Iterator[str | Reply]:
        """Yield one answer piece by piece, and last the whole `Reply`; closing it stops the model."""
        ...


def check_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Give a conversation as plain dictionaries, and refuse what is none."""
    turns = [] if isinstance(messages, str | Mapping) else list(messages)
    for turn in turns:
        if not isinstance(turn, Mapping) or not all(
            isinstance(turn.get(key), str) for key in ("role", "content")
        ):
            raise ValueError(f"a message is {{'role': 'user', 'content': 'a text'}}, got {turn!r:.80}")
    if not turns:
        raise ValueError(
            "a conversation is a list of at least one message: [{'role': 'user', 'content': ...}]"
        )
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]
