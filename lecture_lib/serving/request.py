"""What is asked of an engine, and how far it is."""

import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch

from lecture_lib.fields import choice, whole
from lecture_lib.generation.text import Decodes, Stop
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving.guide import Guide

_numbers = itertools.count()


@dataclass(frozen=True)
class Request:
    """A prompt and what to make of it.

    Sample i of a request draws from a generator of its own with seed `seed` + i, so that its tokens depend on nothing else.
    """

    prompt: tuple[int, ...]
    max_new_tokens: int
    sampling: SamplingParameters = SamplingParameters()
    n: int = 1  # samples
    seed: int = 0
    stop: Collection[int | str] | int | str | None = ()
    tokenizer: Decodes | None = None
    guide: Callable[[], Guide] | None = None  # makes what says, sample by sample, which tokens may come
    adapter: str | None = None  # one of the engine's; None: the model as it is
    guesser: Literal["lookup", "draft"] | None = None  # where guesses come from; None: nothing is guessed
    n_guesses: int = 4  # tokens guessed before a look of the model, at most
    top: int = 0  # so many of the likeliest tokens come with each output

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", tuple(int(token) for token in self.prompt))
        if not self.prompt:
            raise ValueError("a request needs a prompt of at least one token")
        whole("max_new_tokens", self.max_new_tokens, 1)
        whole("n", self.n, 1)
        whole("n_guesses", self.n_guesses, 1)
        choice("guesser", self.guesser, (None, "lookup", "draft"))
        whole("top", self.top)
        Stop(self.stop, self.tokenizer)  # refused here, not in the middle of a step


class Candidate(NamedTuple):
    """A token that may come next."""

    token: int
    own: float  # its probability under the model
    drawn: float  # its probability behind temperature, filters and penalties: what is drawn from


@dataclass(frozen=True)
class Output:
    """One token of one sample."""

    request: int
    sample: int
    token: int  # -1 with an error
    finished: str | None = (
        None  # None: more comes; "stop", "length", or "error": no token was left, and none is given
    )
    log_prob: float = 0.0  # natural logarithm of its probability under the model, before any knob
    candidates: tuple[Candidate, ...] = ()  # the likeliest tokens first, as many as the request's `top`


@dataclass(eq=False)
class Text:
    """One sample of a request while it runs."""

    request: Request
    number: int  # of the request
    sample: int
    ids: list[int]
    end: Stop
    generator: torch.Generator
    guide: Guide | None = None
    table: list[int] = field(default_factory=list)  # its blocks
    computed: int = 0  # tokens whose keys and values are stored
    hashes: list[bytes] = field(default_factory=list)  # of its full blocks that others can find
    guess: list[int] = field(default_factory=list)  # tokens that may come next, for the step that is planned
    finished: str | None = None
    error: str = ""  # why no token was left
    age: int = field(default_factory=lambda: next(_numbers))

    @property
    def new(self) -> list[int]:
        """Tokens after the prompt."""
        return self.ids[len(self.request.prompt) :]

    @property
    def todo(self) -> int:
        """Tokens to compute until the next one can be drawn."""
        return len(self.ids) - self.computed

    @property
    def guessable(self) -> int:
        """Tokens that may be guessed: the last one that is allowed need not be."""
        if self.request.guesser is None or self.todo > 1 or not self.new:
            return 0
        return min(self.request.n_guesses, self.request.max_new_tokens - len(self.new) - 1)


def texts(request: Request, number: int, device: torch.device) -> list[Text]:
    """The samples of a request, each with its own generator."""
    made = []
    for i in range(request.n):
        generator = torch.Generator(device).manual_seed(request.seed + i)
        end = Stop(request.stop, request.tokenizer)
        guide = request.guide() if request.guide else None
        made.append(Text(request, number, i, list(request.prompt), end, generator, guide))
    return made
