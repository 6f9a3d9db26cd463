"""An exercise: fresh seeded cases, a trusted reference, and the mistakes that people make.

``run`` and ``judge`` are separate. ``run`` calls the answer and gives plain data; ``judge`` compares plain data and
needs no answer. A notebook does both in one process, a grader runs the first beside the answer and the second elsewhere.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lecture_lib.checks.compare import difference
from lecture_lib.checks.mistake import Mistake
from lecture_lib.checks.plain import Array, Raised, Refused, plain, raised
from lecture_lib.checks.watch import (
    Borrowed,
    call_watched,
    helpers,
    library_functions,
    put_back,
    resolve,
    usual_settings,
)


@dataclass(frozen=True)
class Case:
    """One call of the answer."""

    what: str  # for the reader: "batch (2, 3), N=4 queries, M=7 keys, D_k=6, D_v=5"
    inputs: tuple  # positional arguments: tensors, arrays and builtins
    named: dict = field(default_factory=dict)  # keyword arguments
    gradient: tuple[int, ...] = ()  # positions of the float64 inputs whose gradient is compared as well


@dataclass(frozen=True)
class Exercise:
    """A task with everything that is needed to judge an answer to it."""

    name: str  # stem.function
    points: int
    difficulty: int  # 1 to 3 filled dots
    minutes: int
    against: str  # the independent reference, in the reader's words
    reference: Callable  # called like the answer
    cases: Callable[[int], list[Case]]  # seed -> cases
    mistakes: tuple[Mistake, ...]
    use: Callable | None = None  # use(answer, *inputs, **named): how an answer is called; None: plainly
    kernels: tuple[str, ...] = ()  # compiled functions that do the exercise in one call and are refused
    owned: tuple[str, ...] = ()  # further library functions that are refused, by dotted name
    tolerance: float | None = None  # None: 1e-5 in float32, 1e-9 in float64
    changes_inputs: bool = False  # whether the answer is asked to change its arguments

    @property
    def function(self) -> str:
        """Name of the function or class to write."""
        return self.name.rpartition(".")[2]

    def input_names(self, case: Case) -> list[str]:
        """What the positional inputs of a case are called, by a signature where one says so.

        Args:
            case: a case of this exercise.

        Returns:
            A name for each input.
        """
        function = self.use or resolve(f"lecture_lib.{self.name}") or self.mistakes[0].function
        try:
            known = list(inspect.signature(function).parameters)[1 if self.use else 0 :]
        except ValueError:  # a compiled function
            known = []
        unknown = (f"input {place + 1}" for place in range(len(known), len(case.inputs)))
        return [*known, *unknown]

    def call(self, answer: Callable, case: Case) -> object:
        """Call an answer on one case.

        Args:
            answer: a function or class, whoever wrote it.
            case: the call.

        Returns:
            Plain results, ``Raised``, or ``Refused`` with the reason.
        """
        try:
            inputs, named = copy.deepcopy((case.inputs, case.named))
            for position in case.gradient:
                inputs[position].requires_grad_()
            with usual_settings():
                output = self.use(answer, *inputs, **named) if self.use else answer(*inputs, **named)
                results = self._with_gradients(output, inputs, case) if case.gradient else plain(output)
            changed = None if self.changes_inputs else _changed((inputs, named), (case.inputs, case.named))
            return _told(f"changed its argument {changed}; work on a copy") if changed else results
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return raised(error)

    def _with_gradients(self, output: object, inputs: tuple, case: Case) -> dict:
        names = [f"its gradient with respect to {self.input_names(case)[place]}" for place in case.gradient]
        gradients = _gradients(output, [inputs[place] for place in case.gradient])
        return {"the result": plain(output), **dict(zip(names, gradients, strict=True))}

    def run(self, answer: object, cases: list[Case]) -> list:
        """Call the answer on every case.

        Args:
            answer: the reader's function or class.
            cases: from ``self.cases(seed)``.

        Returns:
            Plain data for each case: results, ``Raised`` or ``Refused``.
        """
        if not callable(answer):
            words = f"this is a {type(answer).__name__}: hand over `{self.function}` itself, not its result"
            return [_told(words)] * len(cases)
        theirs = {
            f"lecture_lib.{self.name}": resolve(f"lecture_lib.{self.name}"),
            "the check's reference": self.reference,
            **helpers(self.reference),
            **{name: resolve(name) for name in self.owned},
            **{f"a mistake of the check ({mistake.hint})": mistake.function for mistake in self.mistakes},
        }
        if any(answer is each for each in theirs.values()):
            return [_borrowed(f"lecture_lib.{self.name}")] * len(cases)
        outputs, libraries = [], library_functions()
        for case in cases:
            try:
                outputs.append(call_watched(lambda case=case: self.call(answer, case), theirs, self.kernels))
            except Borrowed as error:
                outputs.append(_borrowed(str(error)))
        if replaced := put_back(libraries):
            return [_told(f"replaced {replaced[0]} for everybody; that has been undone")] * len(cases)
        return outputs

    def judge(self, cases: list[Case], outputs: list) -> "Verdict":
        """Compare outputs with the reference's and, where they differ, with those of every known mistake.

        Args:
            cases: the cases that were run.
            outputs: one plain result a case.

        Returns:
            The verdict.
        """
        expected = [self.call(self.reference, case) for case in cases]
        reasons = [difference(*pair, self.tolerance) for pair in zip(outputs, expected, strict=True)]
        verdict = Verdict(self, cases, outputs, expected, reasons)
        return verdict if verdict.passed else replace(verdict, hint=self._diagnose(verdict))

    def _diagnose(self, verdict: "Verdict") -> str:
        """The hint of the mistake that gives these very outputs; of one that explains most of them; or nothing."""
        failed = [i for i, reason in enumerate(verdict.reasons) if reason is not None]
        best, most = "", 0
        for mistake in self.mistakes:
            theirs = [self.call(mistake.function, case) for case in verdict.cases]
            trios = zip(verdict.outputs, theirs, verdict.expected, strict=True)
            same = [self._alike(*trio) for trio in trios]
            if all(same):
                return f"This is what comes out when {mistake.hint}"
            explained = sum(same[i] for i in failed)
            if explained > most:
                best, most = mistake.hint, explained
        best = f"In {most} of the {len(failed)} failing cases this is what comes out when {best}"
        return best if 2 * most > len(failed) and not isinstance(verdict.outputs[failed[0]], Refused) else ""

    def _alike(self, mine: object, theirs: object, expected: object) -> bool:
        if isinstance(mine, Raised) and isinstance(
            theirs, Raised
        ):  # unasked for, an error's kind alone says little
            same_words = mine.words == theirs.words or isinstance(expected, Raised)
            return mine.kind == theirs.kind and same_words
        return difference(mine, theirs, self.tolerance) is None


@dataclass(frozen=True)
class Verdict:
    """What became of an answer: a reason for each case that failed, and the mistake it looks like."""

    exercise: Exercise
    cases: list[Case]
    outputs: list
    expected: list
    reasons: list[str | None]
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Whether every case agrees."""
        return all(reason is None for reason in self.reasons)

    @property
    def shown(self) -> int:
        """Index of the failing case with the fewest numbers in it: the easiest to do by hand."""
        failed = [i for i, reason in enumerate(self.reasons) if reason is not None]
        return min(
            failed,
            key=lambda i: size(plain(list(self.cases[i].inputs))) + 1000 * bool(self.cases[i].gradient),
        )


def size(value: object) -> int:
    """How many numbers and characters plain data holds."""
    if isinstance(value, Array):
        return value.values.size
    if isinstance(value, list | tuple | set | frozenset):
        return sum(size(each) for each in value)
    if isinstance(value, dict):
        return sum(size(each) for each in value.items())
    return len(value) if isinstance(value, str | bytes) else 1


def _gradients(output: object, inputs: list) -> list:
    import torch

    if type(output) is not torch.Tensor or not output.requires_grad:
        words = "a result that carries no gradient back to the inputs (no .detach(), .item(), numpy)"
        return [Refused(words)] * len(inputs)
    direction = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
    gradients = torch.autograd.grad(output, inputs, direction, allow_unused=True)
    zeros = (torch.zeros_like(x) for x in inputs)
    return [plain(zero if g is None else g) for g, zero in zip(gradients, zeros, strict=True)]


def _changed(now: tuple, before: tuple) -> str | None:
    for place, pair in enumerate(zip(now[0], before[0], strict=True)):
        if not _same(*pair):
            return f"number {place + 1}"
    return next((name for name in before[1] if not _same(now[1][name], before[1][name])), None)


def _same(now: object, before: object) -> bool:
    mine, theirs = plain(now), plain(before)
    return isinstance(theirs, Refused) or difference(mine, theirs, 0.0) is None


def _borrowed(name: str) -> Refused:
    return _told(f"calls {name}: the exercise is to write that yourself")


def _told(words: str) -> Refused:
    return Refused(words, is_sentence=True)
