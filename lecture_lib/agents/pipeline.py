"""Components one behind the other: run within a budget, whatever fails on the way; and drawn."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from lecture_lib.agents.components import (
    Candidate,
    Component,
    Critic,
    Fuser,
    Generator,
    Ranker,
    Verifier,
)
from lecture_lib.agents.ledger import BudgetSpent, Ledger
from lecture_lib.chat import ChatModel
from lecture_lib.plots import Picture


@dataclass(frozen=True)
class Stage:
    """What one component did."""

    name: str
    calls: int
    tokens_in: int
    tokens_out: int
    candidates: int  # that it handed on
    seconds: float
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What a pipeline gives: the first of the last candidates, and how it came about."""

    candidates: tuple[Candidate, ...]
    stages: tuple[Stage, ...]
    stopped: str = ""  # why calls were refused from some place on

    @property
    def text(self) -> str | None:
        """The answer; None if there is no candidate."""
        return self.candidates[0].text if self.candidates else None

    @property
    def calls(self) -> int:
        """Calls of all stages."""
        return sum(stage.calls for stage in self.stages)

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and replies."""
        return sum(stage.tokens_in + stage.tokens_out for stage in self.stages)

    @property
    def failures(self) -> list[str]:
        """What went wrong, by stage."""
        return [f"{stage.name}: {each}" for stage in self.stages for each in stage.failures]

    def table(self) -> str:
        """Write a line for each stage."""
        lines = ["stage     calls tokens left"]
        for s in self.stages:
            mark = " !" if s.failures else ""
            lines.append(f"{s.name:9} {s.calls:5} {s.tokens_in + s.tokens_out:6} {s.candidates:4}{mark}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Pipeline:
    """Components that hand candidates on; it is a component itself.

    Where a component fails, lets no candidate pass, or may make no call because the budget is spent, the candidates before it
    go on to the next one; the result says so.
    """

    components: tuple[Component, ...]
    name: str = "pipeline"
    width: int = 1

    def run(
        self,
        question: str,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        n_workers: int = 8,
        timeout: float = 60.0,
        seed: int = 0,
    ) -> Result:
        """Answer a question; limits and seed as `Ledger`."""
        return self._run(question, [], Ledger(max_calls, max_tokens, n_workers, timeout, seed))

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Do the same as a part of another pipeline."""
        return list(self._run(question, candidates, ledger).candidates)

    def _run(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> Result:
        stages, stopped = [], ""
        for component in self.components:
            calls, tokens_in, tokens_out = ledger.calls, ledger.tokens_in, ledger.tokens_out
            start, old = time.perf_counter(), len(ledger.failures)
            try:
                found = component(question, candidates, ledger)
                if candidates and not found:
                    ledger.failures.append("lets no candidate pass: those before it go on")
                candidates = found or candidates
            except BudgetSpent as error:
                stopped = stopped or str(error)
                ledger.failures.append(str(error))
            except Exception as error:  # a component that fails must not take the others with it
                ledger.failures.append(f"{type(error).__name__}: {error}")
            stages.append(
                Stage(
                    component.name,
                    ledger.calls - calls,
                    ledger.tokens_in - tokens_in,
                    ledger.tokens_out - tokens_out,
                    len(candidates),
                    time.perf_counter() - start,
                    tuple(ledger.failures[old:]),
                )
            )
        return Result(tuple(candidates), tuple(stages), stopped)

    def picture(self, result: Result | None = None, caption: str = "", label: str | None = None) -> Picture:
        """Draw the architecture; with a result, what every stage cost.

        Args:
            result: of a run.
            caption: text below it; empty: the components by name.
            label: for references in the book.
        """
        from lecture_lib.agents.drawing import architecture

        rows = [(each.name, each.width) for each in self.components]
        return architecture(rows, result.stages if result else (), caption, label)


def lecture_pipeline(model: ChatModel, max_new_tokens: int | None = None) -> Pipeline:
    """The lecture's figure: ten generators, a critic, a ranker, six fusers, a verifier, a fuser; one model in all parts."""
    more = {"max_new_tokens": max_new_tokens}
    return Pipeline(
        (
            Generator(model, n=10, **more),
            Critic(model, **more),
            Ranker(model, **more),
            Fuser(model, n=6, **more),
            Verifier(model, **more),
            Fuser(model, **more),
        )
    )
