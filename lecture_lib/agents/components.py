"""The parts of an architecture: each takes the question and the candidates so far, and gives new candidates.

`component(question, candidates, ledger)` is all that a pipeline knows of one, so that any function of this form is a component;
`name` and `width` are for the drawing. Those here ask a chat model; those in `rules` do without.

Source: Saad-Falcon et al. (2024), Archon, section 3.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from lecture_lib.agents.ledger import Ask, Ledger
from lecture_lib.chat import ChatModel, Message
from lecture_lib.fields import REQUIRED, at_least, check_fields, declared
from lecture_lib.sampling import SamplingParameters

CRITIC = "Name the strengths and the weaknesses of this answer in at most three sentences. Do not solve the task anew."
RANKER = "Order the answers from best to worst. Reply with their numbers alone, such as: 2, 3, 1"
FUSER = "Several answers to a task follow. Use what is right in them to write one better answer. Give the answer alone."
VERIFIER = "Is this answer correct? Think it through, then end with one word: yes or no."


@dataclass(frozen=True)
class Candidate:
    """A possible answer."""

    text: str
    note: str = ""  # what a critic said of it


class Component(Protocol):
    """A part of an architecture."""

    name: str
    width: int

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Give the candidates that go on."""
        ...


def _talks(name: str, value: object) -> object:
    if not callable(getattr(value, "replies", None)):
        raise ValueError(f"{name} must be a chat model, which has replies(messages, ...), got {value!r}")
    return value


@dataclass(frozen=True)
class _Asking:
    """What the components that ask a model have in common."""

    model: ChatModel = declared(_talks, REQUIRED)
    sampling: SamplingParameters = SamplingParameters(temperature=0)
    max_new_tokens: int | None = None
    width: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_fields(self)

    def ask(self, ledger: Ledger, contents: Sequence[str], system: str = "") -> list[str | None]:
        """Put each text to the model, all at the same time; None where no reply came."""
        head: list[Message] = [{"role": "system", "content": system}] if system else []
        asks = [
            Ask(self.model, [*head, {"role": "user", "content": text}], self.sampling, self.max_new_tokens)
            for text in contents
        ]
        return [reply and reply.text for reply in ledger.ask(asks)]


@dataclass(frozen=True)
class Generator(_Asking):
    """Answer the question n times; n calls."""

    n: int = at_least(1, 1)
    sampling: SamplingParameters = SamplingParameters(temperature=0.8)
    name: ClassVar[str] = "generator"

    @property
    def width(self) -> int:
        """How many answers it gives."""
        return self.n

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Add new answers to the candidates."""
        return [*candidates, *_new(self.ask(ledger, [question] * self.n))]


@dataclass(frozen=True)
class Critic(_Asking):
    """Say of every candidate what is good and bad in it; a call for each."""

    name: ClassVar[str] = "critic"

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Give the same candidates with notes; a note stays as it was where no reply came."""
        said = self.ask(ledger, [f"Task: {question}\n\nAnswer: {c.text}" for c in candidates], CRITIC)
        return [replace(c, note=note or c.note) for c, note in zip(candidates, said, strict=True)]


@dataclass(frozen=True)
class Ranker(_Asking):
    """Put the candidates in order, the best first, and keep some; one call."""

    keep: int | None = None  # None: all of them
    name: ClassVar[str] = "ranker"

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Give the best candidates in order; as they were if no reply came."""
        if not candidates:
            return []
        (said,) = self.ask(ledger, [together(question, candidates)], RANKER)
        return [candidates[i] for i in ranking(said or "", len(candidates))][: self.keep]


@dataclass(frozen=True)
class Fuser(_Asking):
    """Write n new answers from all candidates; n calls."""

    n: int = at_least(1, 1)
    sampling: SamplingParameters = SamplingParameters(temperature=0.8)
    name: ClassVar[str] = "fuser"

    @property
    def width(self) -> int:
        """How many answers it gives."""
        return self.n

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Give the new answers in place of the old."""
        if not candidates:
            return []
        return _new(self.ask(ledger, [together(question, candidates)] * self.n, FUSER))


@dataclass(frozen=True)
class Verifier(_Asking):
    """Let pass the candidates that are found to be right; a call for each."""

    name: ClassVar[str] = "verifier"

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Give the candidates of which the last word said is yes; one without a reply does not pass."""
        said = self.ask(ledger, [f"Task: {question}\n\nAnswer: {c.text}" for c in candidates], VERIFIER)
        return [c for c, verdict in zip(candidates, said, strict=True) if is_yes(verdict or "")]


def _new(said: Sequence[str | None]) -> list[Candidate]:
    return [Candidate(text) for text in said if text is not None]


def together(question: str, candidates: Sequence[Candidate]) -> str:
    """Write the task and all candidates with their notes, numbered from 1."""
    parts = [f"Task: {question}"]
    for number, each in enumerate(candidates, 1):
        note = f"\nA critic says: {each.note}" if each.note else ""
        parts.append(f"Answer {number}: {each.text}{note}")
    return "\n\n".join(parts)


def ranking(reply: str, n: int) -> list[int]:
    """Read an order of n things from a reply: places from 0 to n - 1, the best first, each exactly once.

    A reply is free text; its numbers, runs of the digits 0 to 9, name the things from 1 to n. A number that came before, or
    is none of these, is passed over; things that are not named come last, in their old order.

    Args:
        reply: such as "2, 3, 1" or "Best is answer 2."
        n: how many things there are.

    Example:
        >>> ranking("Best is answer 3, then 1.", 4)
        [2, 0, 1, 3]
    """
    named = [int(number) - 1 for number in re.findall(r"[0-9]+", reply)]
    order = dict.fromkeys(place for place in named if 0 <= place < n)
    return [*order, *(place for place in range(n) if place not in order)]


def is_yes(verdict: str) -> bool:
    """Tell whether the last yes or no in a text is a yes; a text with neither is a no."""
    words = re.findall(r"\b(yes|no)\b", verdict.lower())
    return bool(words) and words[-1] == "yes"
