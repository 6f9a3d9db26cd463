"""A chat model behind an address that speaks OpenAI's API: vLLM, Ollama, Together, `lecture serve`, and OpenAI itself.

The key is read from the environment at each request. No object of this module holds it, and no error, log or `repr` says it.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lecture_lib.chat.protocol import ChatError, Message, Reply, check_messages
from lecture_lib.chat.refusals import sentence
from lecture_lib.sampling import SamplingParameters

KEYS = {  # where well-known services expect their key
    "api.openai.com": "OPENAI_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "api.groq.com": "GROQ_API_KEY",
    "api.mistral.ai": "MISTRAL_API_KEY",
}
AT_ONCE = 8  # requests of one call
SENT = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
Answer = TypeVar("Answer")


class Endpoint:
    """A model behind an OpenAI-compatible address as a `ChatModel`.

    A server may pass over settings that it does not know: top_k, min_p, repetition_penalty and the seed are not in every one.

    Args:
        url: up to the version, such as "http://127.0.0.1:8000/v1".
        model: as the server calls it; None: the only one that it lists.
        key_variable: name of the environment variable that holds the key; None: the usual one of a well-known service,
            and no key for others.
        timeout: seconds to wait for an answer, or for the next piece of it.
        retries: further tries after a lost connection, a rate limit or a failing server; the waits between them grow.

    Raises:
        ValueError: the address or the variable cannot be used, or the server has several models.
        ChatError: the server does not answer or does not list its models.
        ImportError: the package openai is missing.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        key_variable: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        try:
            import openai
        except ImportError:
            raise ImportError(
                "models behind an address need the package openai: pip install openai"
            ) from None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise ValueError(
                "an address looks like http://127.0.0.1:8000/v1; a key does not belong into it, but into the environment"
            )
        self.url, self.host, self.timeout = url.rstrip("/"), parts.hostname, timeout
        self.key_variable = key_variable or KEYS.get(parts.hostname)
        if self.key_variable and not re.fullmatch("[!-~]+", os.environ.get(self.key_variable, "").strip()):
            raise ValueError(
                f"the environment variable {self.key_variable} should hold the key of {url}, and holds none"
            )
        self.client = openai.OpenAI(
            base_url=self.url,
            api_key=self._key,  # a function: the client asks for each request anew
            timeout=openai.Timeout(timeout, connect=min(timeout, 10.0)),
            max_retries=retries,
        )
        self.note = ""
        self.name = model or self._only()

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.name!r})"

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def models(self) -> list[str]:
        """Names of the models that the server lists."""
        return self._tried(lambda: [each.id for each in self.client.models.list()])

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
        """As `ChatModel.replies`, by n requests at the same time, the i-th with the seed `seed` + i.

        Many servers answer once whatever n is, and none counts the tokens of each of n answers.
        """
        seeds = [None if seed is None else seed + i for i in range(n)]
        asked = [self._asked(messages, sampling, max_new_tokens, stop, each) for each in seeds]
        with ThreadPoolExecutor(min(max(n, 1), AT_ONCE)) as pool:
            return list(pool.map(self._reply, asked))

    def stream(
        self,
        messages: Sequence[Message],
        sampling: SamplingParameters = SamplingParameters(),
        *,
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> Iterator[str | Reply]:
        """As `ChatModel.stream`; closing it closes the connection, which stops a server that watches for that."""
        asked = self._asked(messages, sampling, max_new_tokens, stop, seed)
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
        chunks = self._tried(lambda: self.client.chat.completions.create(**asked))
        text, reason, usage = "", None, None
        try:
            while (chunk := self._tried(lambda: _piece(next(chunks, None)))) is not None:
                piece, reason, usage = chunk[0], chunk[1] or reason, chunk[2] or usage
                text += piece
                if piece:
                    yield piece
        finally:
            chunks.close()
        if reason is None:
            raise ChatError(f"{self.url} broke off before the end of the answer", "network")
        yield Reply(text, *_tokens(usage), reason)

    def _reply(self, asked: dict[str, Any]) -> Reply:
        def ask() -> Reply:
            told = self.client.chat.completions.create(**asked)
            choice = told.choices[0]
            return Reply(choice.message.content or "", *_tokens(told.usage), choice.finish_reason)

        return self._tried(ask)

    def _asked(
        self,
        messages: Sequence[Message],
        sampling: SamplingParameters,
        max_new_tokens: int | None,
        stop: Sequence[str],
        seed: int | None,
    ) -> dict[str, Any]:
        given = {name: getattr(sampling, name) for name in SENT}
        if sampling != SamplingParameters(**given):
            raise ValueError(f"an endpoint takes {', '.join(SENT)}, got {sampling}")
        extra = {name: given[name] for name in SENT[2:] if given[name] not in (None, 0, 1.0)}
        newest = self.host == "api.openai.com"  # there the old name is refused by the newer models
        limit = "max_completion_tokens" if newest else "max_tokens"
        asked = {
            "temperature": given["temperature"],
            "top_p": given["top_p"],
            "seed": seed,
            limit: max_new_tokens,
        }
        asked = {name: value for name, value in asked.items() if value is not None}
        asked |= {"stop": [stop] if isinstance(stop, str) else list(stop)} if stop else {}
        asked |= {"extra_body": extra} if extra else {}
        return {"model": self.name, "messages": check_messages(messages), **asked}

    def _only(self) -> str:
        names = self.models()
        if len(names) != 1:
            raise ValueError(f"name one of the models of {self.url}: {', '.join(names) or 'it lists none'}")
        return names[0]

    def _key(self) -> str:
        return os.environ.get(self.key_variable or "", "").strip() or "none"

    def _tried(self, ask: Callable[[], Answer]) -> Answer:
        """What a call gives. An error is told anew, without the frames of the client, in which the key lies."""
        try:
            return ask()
        except Exception as error:
            told = self._told(error)
        raise told

    def _told(self, error: Exception) -> ChatError:
        words, kind = sentence(error, self.url, getattr(self, "name", ""), self.key_variable, self.timeout)
        if kind == "model":
            words += self._there()
        return ChatError(words.replace(self._key(), "…") if self._key() != "none" else words, kind)

    def _there(self) -> str:
        try:
            names = [each.id for each in self.client.models.list()]
        except Exception:
            return "; is this the right address? Most end in /v1"
        return f"; it lists {', '.join(names[:12]) or 'none'}" + ", ..." * (len(names) > 12)


def _piece(chunk: Any) -> tuple[str, str | None, Any] | None:
    """Text, end and count of tokens in one event; None at the end."""
    if chunk is None:
        return None
    if not chunk.choices:
        return "", None, chunk.usage
    choice = chunk.choices[0]
    return (choice.delta.content if choice.delta else None) or "", choice.finish_reason, chunk.usage


def _tokens(usage: Any) -> tuple[int | None, int | None]:
    """Tokens in and out; None where a server does not say."""
    return getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
