"""A chat model that runs here, on the course's engine: callers at the same time share its batches."""

import os
import secrets
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch

from lecture_lib import zoo
from lecture_lib.chat.protocol import ChatError, Message, Reply, check_messages
from lecture_lib.decoder import Decoder
from lecture_lib.pretrained import PretrainedTokenizer, load_pretrained
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving import Candidate, Engine, Output, QueueFull, Request
from lecture_lib.serving.service import Service
from lecture_lib.serving.voice import Voice, chat_ids

BLOCK = 16  # tokens of a block of the cache
CACHE_BYTES = 2**31  # of keys and values, unless a number of blocks is given
PLAIN_STOP = "\nUser:"
Watcher = Callable[[str, list[tuple[str, float, float]]], None]


def load_decoder(
    where: str | os.PathLike[str],
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | int | None = None,
) -> tuple[Decoder, PretrainedTokenizer, str]:
    """Load a model that writes text, its tokenizer and a name for it, from a folder, the zoo or the Hugging Face Hub.

    Args:
        where: a folder in Hugging Face's format, a name of the zoo such as "course_instruct", or owner/model of the Hub.
        dtype: of the weights; None: as they are stored, single precision for the zoo.
        device: where the model lives; None: the CPU; "auto": a GPU if there is one.

    Raises:
        ValueError: there is no such model, or it writes no text.
        FileNotFoundError: the Hub cannot be reached, or has no such model.
    """
    where = os.fspath(where)
    if Path(where).is_dir() or (where not in zoo.names() and "/" in where):
        model, tokenizer = load_pretrained(where, dtype, device)
    elif where in zoo.names():
        model, tokenizer = zoo.load(where, dtype or torch.float32, None if device == "auto" else device)
    else:
        raise ValueError(f"there is no folder {where}, and the zoo has {', '.join(zoo.names())}")
    if not isinstance(model, Decoder) or tokenizer is None:
        raise ValueError(f"{where} is no decoder with a tokenizer: it writes no text")
    return model.eval(), tokenizer, Path(where).name


def plain(messages: Sequence[Message]) -> str:
    """A conversation as a transcript, for a model without a chat template; a system message stands above it."""
    names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    turns = [names.get(each["role"], f"{each['role']}: ") + each["content"].strip() for each in messages]
    return "\n".join([*turns, "Assistant:"])


class LocalModel:
    """A decoder of this machine as a `ChatModel`.

    A conversation is written as the model's own chat template says. A model without one reads a plain transcript, which
    it was not trained to answer; `note` says so.

    Args:
        model: in evaluation mode.
        tokenizer: of the model.
        name: for people.
        n_blocks: blocks of the cache, 16 tokens each; None: eight whole contexts, in 2 GiB at most.
        max_running: answers that are computed at once.
    """

    def __init__(
        self,
        model: Decoder,
        tokenizer: PretrainedTokenizer,
        name: str,
        n_blocks: int | None = None,
        max_running: int = 32,
    ) -> None:
        config, self.tokenizer, self.name = model.config, tokenizer, name
        numbers = 2 * config.n_layers * config.n_kv_heads * config.d_head * BLOCK  # in a block
        most = CACHE_BYTES // (numbers * next(model.parameters()).element_size())
        wanted = 8 * -(-config.context_length // BLOCK)
        engine = Engine(model, n_blocks or max(1, min(wanted, most)), BLOCK, max_running)
        self.context = min(config.context_length, BLOCK * engine.scheduler.pool.n_blocks)
        self.has_template = bool(getattr(tokenizer, "chat_template", None))
        no_chat = (
            f"{name} has no chat template: it goes on with a plain transcript, and was not trained to answer"
        )
        self.note = "" if self.has_template else no_chat
        self.service = Service(engine)
        weakref.finalize(self, self.service.close)

    def __repr__(self) -> str:
        return f"LocalModel({self.name!r})"

    def close(self) -> None:
        """End the engine's thread; the memory goes with the last reference."""
        self.service.close()

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
        """As `ChatModel.replies`; answer i is drawn with the seed `seed` + i, whatever else is computed beside it."""
        request = self._request(messages, sampling, n, max_new_tokens, stop, seed)
        voices = [self._voice(request) for _ in range(n)]
        for output in self._outputs(request):
            _hear(voices[output.sample], output)
        return [_reply(voice, request) for voice in voices]

    def stream(
        self,
        messages: Sequence[Message],
        sampling: SamplingParameters = SamplingParameters(),
        *,
        max_new_tokens: int | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        watch: Watcher | None = None,
        top: int = 8,
    ) -> Iterator[str | Reply]:
        """As `ChatModel.stream`.

        Args:
            watch: called with each token that was drawn and the `top` likeliest ones, each as its text, its probability
                under the model and that behind temperature and filters.
            top: how many.
        """
        request = self._request(messages, sampling, 1, max_new_tokens, stop, seed, top if watch else 0)
        voice = self._voice(request)
        with closing(self._outputs(request)) as outputs:
            for output in outputs:
                _hear(voice, output)
                if watch:
                    watch(self._word(output.token), [self._row(each) for each in output.candidates])
                if piece := voice.piece():
                    yield piece
        yield _reply(voice, request)

    def _word(self, token: int) -> str:
        return self.tokenizer.decode([token])

    def _row(self, candidate: Candidate) -> tuple[str, float, float]:
        return self._word(candidate.token), candidate.own, candidate.drawn

    def _voice(self, request: Request) -> Voice:
        return Voice(self.tokenizer, [end for end in request.stop if isinstance(end, str)], request.prompt)

    def _request(
        self,
        messages: Sequence[Message],
        sampling: SamplingParameters,
        n: int,
        max_new_tokens: int | None,
        stop: Sequence[str],
        seed: int | None,
        top: int = 0,
    ) -> Request:
        turns, stops = check_messages(messages), [stop] if isinstance(stop, str) else list(stop)
        if self.has_template:
            prompt = chat_ids(self.tokenizer, turns)
        else:
            prompt, stops = self.tokenizer.encode(plain(turns)), [*stops, PLAIN_STOP]
        room = self.context - len(prompt)
        if room < (max_new_tokens or 1):
            new = "" if max_new_tokens is None else f" and {max_new_tokens} new ones are asked for"
            raise ChatError(
                f"the conversation has {len(prompt)} tokens{new}; {self.name} has room for {self.context}",
                "context",
            )
        return Request(
            tuple(prompt),
            room if max_new_tokens is None else max_new_tokens,
            sampling,
            n=n,
            seed=secrets.randbits(31) if seed is None else seed,
            stop=[*stops, *getattr(self.tokenizer, "eos_ids", ())],
            tokenizer=self.tokenizer,
            top=top,
        )

    def _outputs(self, request: Request) -> Iterator[Output]:
        try:
            yield from self.service.listen(request)
        except QueueFull as error:
            raise ChatError(str(error), "rate") from None
        except RuntimeError as error:
            raise ChatError(f"{self.name} failed: {error}") from error


def _hear(voice: Voice, output: Output) -> None:
    if output.finished == "error":
        raise ChatError(
            "no token is left to draw: the logits are no numbers, or the settings rule all out", "request"
        )
    voice.ids.append(output.token)
    voice.finished = output.finished


def _reply(voice: Voice, request: Request) -> Reply:
    return Reply(voice.text(), len(request.prompt), len(voice.ids), voice.finished)
