"""What became of an answer: a reason for each case that failed, and the mistake that it looks like."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lecture_lib.checks.compare import describe, difference
from lecture_lib.checks.plain import Array, Raised, Refused, plain

if TYPE_CHECKING:
    from lecture_lib.checks.exercise import Case, Exercise


ROUNDED = 0.02  # a guess is written with two or three digits: so near to a known miss it is that miss


class CourseError(RuntimeError):
    """A check is wrong itself: its reference is refused. Nobody's answer is to blame, and nobody passes."""


class Later(Sequence):
    """Results of n cases, each worked out when it is looked at: a few of them rule most mistakes out."""

    def __init__(self, result: Callable[[int], object], n: int) -> None:
        self.result, self.n = functools.cache(result), n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> object:
        if not 0 <= i < self.n:
            raise IndexError(i)
        return self.result(i)


@dataclass(frozen=True)
class Known:
    """Results that do not depend on who is judged."""

    expected: list  # the reference's, one a case
    mistakes: tuple[Sequence, ...]  # those of every mistake


@dataclass(frozen=True)
class Verdict:
    """What became of an answer."""

    exercise: "Exercise"
    cases: "list[Case]"
    outputs: list
    expected: list
    reasons: list[str | None]
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Whether every case agrees."""
        return all(reason is None for reason in self.reasons)

    @property
    def unwritten(self) -> bool:
        """Whether the answer is still the stub."""
        return all(isinstance(each, Raised) and each.unwritten for each in self.outputs)

    @property
    def shown(self) -> int:
        """Index of the failing case to show: one that expects values, with the fewest numbers, easiest by hand."""
        failed = [i for i, reason in enumerate(self.reasons) if reason is not None]

        def hardness(i: int) -> tuple:
            case = self.cases[i]
            numbers = size(plain([*case.inputs, *case.named.values()]))
            return isinstance(self.expected[i], Raised), bool(case.gradient), numbers

        return min(failed, key=hardness)


def size(value: object) -> int:
    """How many numbers and characters plain data holds."""
    if isinstance(value, Array):
        return value.values.size
    if isinstance(value, list | tuple | set | frozenset):
        return sum(size(each) for each in value)
    if isinstance(value, dict):  # a key is one thing to read, however long its name is
        return sum(1 + size(each) for each in value.values())
    return len(value) if isinstance(value, str | bytes) else 1


def differs(now: object, before: object) -> bool:
    """Whether an argument is no longer what it was."""
    mine = plain(now)
    return refused(mine) or difference(mine, plain(before), 0.0) is not None


def refused(value: object) -> bool:
    """Whether plain data is a refusal or holds one."""
    inner = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
    return isinstance(value, Refused) or any(refused(each) for each in inner)


def reason(task: "Exercise", case: "Case", found: object, expected: object, asked: list) -> str | None:
    """Why an output is wrong; None if it is right."""
    try:
        abnormal = refused(found) or isinstance(found, Raised) != isinstance(expected, Raised)
        if task.accept is None or abnormal:
            return difference(found, expected, task.tolerance, task.entry)
        return task.accept(case, found, asked)
    except Exception:  # a result of an unforeseen form
        return f"returned {describe(found)}, which cannot be judged; expected {describe(expected)}"


def diagnose(verdict: Verdict, known: Known) -> Verdict:
    """Add the hint of the mistake that gives these very outputs, or softly that of one that explains most of them."""
    failed = [i for i, reason in enumerate(verdict.reasons) if reason is not None]
    right = [i for i, reason in enumerate(verdict.reasons) if reason is None]
    best, most = "", len(failed) // 2  # less says nothing
    mistakes = list(zip(verdict.exercise.mistakes, known.mistakes, strict=True))
    if verdict.exercise.kind == "predict" and type(verdict.outputs[0]) is float:
        mistakes.sort(key=lambda pair: abs(pair[1][0] - verdict.outputs[0]))  # the nearest miss first
    for mistake, theirs in mistakes:
        same = functools.partial(_does_the_same, verdict, theirs, known.expected)
        explained = _at_least(most + 1, failed, same)
        # Whoever is right where the mistake is wrong has made another one.
        if not explained or not all(map(same, right)):
            continue
        if explained == len(failed):
            return replace(verdict, hint=f"This is what comes out when {mistake.hint}")
        best, most = mistake.hint, explained
    if not best or isinstance(verdict.outputs[failed[0]], Refused):
        return verdict
    softly = f"Perhaps this is part of it: {most} of the {len(failed)} failing cases come out like this when {best}"
    return replace(verdict, hint=softly)


def _at_least(n: int, places: list[int], same: Callable[[int], bool]) -> int:
    """At how many places something holds; 0 as soon as there cannot be n."""
    held = 0
    for done, i in enumerate(places):
        held += same(i)
        if held + len(places) - done - 1 < n:
            return 0
    return held


def _does_the_same(verdict: Verdict, theirs: Sequence, expected: list, i: int) -> bool:
    """Whether a mistake does on case i what the answer did: gives its result, or one that is right as well."""
    task = verdict.exercise
    if task.accept and not task.ask and verdict.reasons[i] is None:
        return reason(task, verdict.cases[i], theirs[i], expected[i], []) is None
    return _alike(verdict.outputs[i], theirs[i], expected[i], task)


def _alike(mine: object, theirs: object, expected: object, task: "Exercise") -> bool:
    if isinstance(mine, Raised) and isinstance(theirs, Raised):  # an error's kind alone says little
        same_words = mine.words == theirs.words or isinstance(expected, Raised)
        return mine.kind == theirs.kind and same_words
    if task.kind == "predict" and type(mine) is type(theirs) is float:  # a guess has two digits or more
        return math.isclose(mine, theirs, rel_tol=ROUNDED) or mine == float(f"{theirs:.2g}")
    return difference(mine, theirs, task.tolerance) is None
