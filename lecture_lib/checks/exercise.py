"""An exercise: fresh seeded cases, a trusted reference, and the mistakes that people make.

``run`` and ``judge`` are separate. ``run`` calls the answer and gives plain data; ``judge`` compares plain data and
needs no answer. A notebook does both in one process, a grader runs the first beside the answer and the second elsewhere.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lecture_lib.checks.case import Case, changed_input, drawn_as_usual, gradients, writes_into
from lecture_lib.checks.mistake import Mistake, is_source_of, mistake
from lecture_lib.checks.plain import Raised, Refused, plain, raised, told
from lecture_lib.checks.script import Questions, Trace
from lecture_lib.checks.verdict import CourseError, Known, Later, Verdict, diagnose, reason, refused
from lecture_lib.checks.watch import (
    Borrowed,
    borrowed,
    call_watched,
    helpers,
    kernels_noted,
    libraries_as_loaded,
    replacements_undone,
    resolve,
    usual_settings,
)

# What a reference may raise on purpose.
EXPECTED_ERRORS = ("Exception", "ValueError", "KeyError", "IndexError", "MemoryError")


@dataclass(frozen=True)
class Exercise:
    """A task with everything that is needed to judge an answer to it."""

    name: str  # stem.function
    points: int
    difficulty: int  # 1 to 3 filled dots
    minutes: int
    against: str  # the independent reference, in the reader's words
    reference: (
        Callable  # called like the answer; where a value is asked for, called without arguments to give one
    )
    cases: Callable[[int], list[Case]]  # seed -> cases
    mistakes: tuple[Mistake, ...]  # given as rows, see `mistake.mistake`
    use: Callable | None = (
        None  # use(answer, *inputs, **named), with `ask` second where there is one; None: plainly
    )
    accept: Callable | None = (
        None  # accept(case, output, asked) -> None or a reason: where more than one output is right
    )
    ask: Callable | None = (
        None  # ask(case) -> function that the answer may ask; runs on the trusted side alone
    )
    seconds: float = 20.0  # CPU for all cases
    tolerance: float | None = None  # None: 1e-5 in float32, 1e-9 in float64
    entry: str = "entry"  # what the reader calls an entry of a resulting list
    right: Callable | None = (
        None  # whose source the rows of mistakes change; None: the library's function of that name
    )
    owned: tuple[str, ...] = ()  # further functions in Python that are refused, by dotted name
    kernels: tuple[
        str, ...
    ] = ()  # words in the names of torch's operators that do the whole exercise: refused
    changes_inputs: bool = False  # whether the answer is asked to change its arguments
    kind: str = "write"  # write, bug, predict, weights or judge: see `kinds`
    value: bool = False  # whether the answer is a value and not a function
    given: str = ""  # source that the student's cell starts with; "": the function without its body

    def __post_init__(self) -> None:
        right = self.right or resolve(f"lecture_lib.{self.name}")
        rows = (each if isinstance(each, Mistake) else mistake(each, right) for each in self.mistakes)
        object.__setattr__(self, "right", right)
        object.__setattr__(self, "mistakes", tuple(rows))
        object.__setattr__(self, "cases", functools.partial(drawn_as_usual, self.cases))

    @property
    def function(self) -> str:
        """Name of the function, class or value to write."""
        return self.name.rpartition(".")[2]

    def input_names(self, case: Case) -> list[str]:
        """What the positional inputs of a case are called, by a signature where one says so."""
        try:
            signature = inspect.signature(self.use or self.right).parameters.values()
            names = [each.name for each in signature if each.kind is each.POSITIONAL_OR_KEYWORD]
        except (ValueError, TypeError):  # a compiled function, or none
            names = []
        known = names[1 + bool(self.ask) :] if self.use else names
        return [*known, *(f"input {place + 1}" for place in range(len(known), len(case.inputs)))]

    def call(
        self, answer: Callable, case: Case, ask: Callable | None = None, kernels: list | None = None
    ) -> object:
        """Plain results of an answer on one case, ``Raised``, or ``Refused`` with the reason.

        Args:
            answer: a function or class, whoever wrote it.
            case: the call.
            ask: what the answer may ask.
            kernels: gets the names of torch's operators that do the exercise; None: nobody looks.
        """
        try:
            with usual_settings():
                inputs, named = copy.deepcopy((case.inputs, case.named))
                for position in case.gradient:
                    inputs[position].requires_grad_()
                parts = (ask,) if self.ask else ()
                with kernels_noted(self.kernels if kernels is not None else (), kernels):
                    output = (
                        self.use(answer, *parts, *inputs, **named) if self.use else answer(*inputs, **named)
                    )
                results = output.results if type(output) is Trace else plain(output)
                if case.gradient:
                    found = gradients(output, inputs, case, self.input_names(case))
                    results = {"the result": results, **found}
                changed = (
                    None
                    if self.changes_inputs
                    else changed_input(case, self.input_names(case), inputs, named)
                )
            return told(writes_into(changed)) if changed else results
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return raised(error)

    def run(self, answer: object, cases: list[Case], ask: Callable | None = None) -> list:
        """Call the answer on every case: on the confined side, and in the notebook.

        Args:
            answer: the reader's function, class or value.
            cases: from ``self.cases(seed)``.
            ask: place of a case -> the function to ask there; None: asked here, and forgotten.

        Returns:
            Plain data for each case: results, ``Raised`` or ``Refused``.
        """
        answer = self.called(answer)
        if isinstance(answer, Refused | Raised):
            return [answer] * len(cases)
        theirs = self._theirs()
        if any(answer is each for each in theirs.values()):
            return [borrowed(f"lecture_lib.{self.name}")] * len(cases)
        ask = ask or (self.questions(cases) if self.ask else lambda place: None)
        outputs, kernels = [], []
        with replacements_undone():
            for place, case in enumerate(cases):
                try:
                    call = functools.partial(self.call, answer, case, ask(place), kernels)
                    outputs.append(call_watched(call, theirs))
                except Borrowed as error:
                    outputs.append(borrowed(str(error)))
        return [borrowed(kernels[0])] * len(cases) if kernels else outputs

    def called(self, answer: object) -> object:
        """The answer as something to call: itself, or for a value a function that gives a copy of it."""
        if self.value and (answer is None or answer is ...):
            return Raised("NotImplementedError", "", unwritten=True)
        if self.value:
            return lambda: copy.deepcopy(answer)
        if self.kind == "bug" and is_source_of(answer, self.given):
            return Raised("NotImplementedError", "", unwritten=True)  # the bug is still there, untouched
        if not callable(answer):
            return told(
                f"this is a {type(answer).__name__}: hand over `{self.function}` itself, not its result"
            )
        return answer

    def _theirs(self) -> dict[str, object]:
        """Functions that are not the reader's, by the name to tell."""
        if self.value:
            return {}
        return {
            "the check's right answer": self.right,
            f"lecture_lib.{self.name}": resolve(f"lecture_lib.{self.name}"),
            "the check's reference": self.reference,
            **helpers(self.reference),
            **{name: resolve(name) for name in self.owned},
            **{
                f"a mistake of the check ({each.hint})": each.written
                for each in self.mistakes
                if each.written
            },
        }

    def questions(self, cases: list[Case]) -> Questions:
        """What the answer may ask, counted and kept: pass it to ``run`` and its ``asked`` to ``judge``."""
        return Questions(self.ask, cases)

    def _outputs(self, answer: Callable, cases: list[Case]) -> tuple[list, list]:
        """Outputs and questions of one of our own functions."""
        asking = self.questions(cases)
        with libraries_as_loaded():
            places = enumerate(cases)
            outputs = [self.call(answer, case, asking(i) if self.ask else None) for i, case in places]
        return outputs, asking.asked

    def later(self, each: Mistake, cases: list[Case]) -> Sequence:
        """Outputs of a mistake, each worked out when it is looked at, by the libraries as they are then."""
        ask = self.questions(cases) if self.ask else lambda place: None
        return Later(lambda i: self.call(each.function, cases[i], ask(i)), len(cases))

    def expected(self, cases: list[Case]) -> list:
        """What the reference gives.

        Raises:
            CourseError: it is refused itself, or fails in a way that no exercise asks for.
        """
        outputs, asked = self._outputs(self.reference, cases)
        for case, output, questions in zip(cases, outputs, asked, strict=True):
            wrong = isinstance(output, Raised) and output.kind not in EXPECTED_ERRORS
            wrong = wrong or refused(output) or (self.accept and self.accept(case, output, questions))
            if wrong:
                raise CourseError(f"{self.name}, {case.what}: the reference itself gives {output!r:.300}")
        return outputs

    def known(self, cases: list[Case]) -> Known:
        """Expected results and those of every mistake, once a class; CourseError if the reference is refused itself."""
        wrong = tuple(self._outputs(each.function, cases)[0] for each in self.mistakes)
        return Known(self.expected(cases), wrong)

    def judge(
        self, cases: list[Case], outputs: list, asked: list | None = None, known: Known | None = None
    ) -> Verdict:
        """Compare outputs with the reference's and, where they differ, with those of every known mistake.

        Args:
            cases: the cases that were run.
            outputs: one plain result a case; a missing one is wrong.
            asked: the questions that were asked in each case, where the exercise counts them.
            known: from `known`; None: worked out here.

        Raises:
            CourseError: the reference is refused itself.
            ValueError: the exercise counts questions, and `asked` is missing.
        """
        if self.ask and asked is None:
            raise ValueError(f"{self.name} counts questions: pass `asked` of task.questions(cases) to judge")
        expected, asked = known.expected if known else self.expected(cases), asked or [[] for _ in cases]
        outputs = [*outputs, *[told("gave no result")] * len(cases)][: len(cases)]
        rows = zip(cases, outputs, expected, asked, strict=True)
        verdict = Verdict(self, cases, outputs, expected, [reason(self, *row) for row in rows])
        if verdict.passed or verdict.unwritten:
            return verdict
        known = known or Known(expected, tuple(self.later(each, cases) for each in self.mistakes))
        with libraries_as_loaded():
            return diagnose(verdict, known)
