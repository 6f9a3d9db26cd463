"""What every chat model can do, wherever it runs: messages in, replies out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lecture_lib.sampling import SamplingParameters

Message = Mapping[str, str]  # {"role": "system", "user" or "assistant", "content": text}


@dataclass(frozen=True)
class Reply:
    """One answer and what it cost."""

    text: str
    tokens_in: int  # of the prompt, as the model counts them
    tokens_out: int  # of the answer
    finish_reason: str = "stop"  # "length": the number of new tokens was used up


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
