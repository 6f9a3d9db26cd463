"""An exercise: fresh seeded cases, a trusted reference, and the mistakes that people make.

``run`` and ``judge`` are separate. ``run`` calls the answer and gives plain data; ``judge`` compares plain data and
needs no answer. A notebook does both in one process, a grader runs the first beside the answer and the second elsewhere.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

from lecture_lib.checks.mistake import Mistake, is_source_of, mistake
from lecture_lib.checks.plain import Raised, Refused, plain, raised, told
from lecture_lib.checks.script import Questions, Trace
from lecture_lib.checks.verdict import CourseError, Known, Verdict, diagnose, differs, reason, refused
from lecture_lib.checks.watch import (
    Borrowed,
    call_watched,
    helpers,
    kernels_noted,
    libraries_as_loaded,
    remember,
    replacements_undone,
    resolve,
    usual_settings,
)

EXPECTED_ERRORS = (
    "Exception",
    "ValueError",
    "KeyError",
    "IndexError",
    "MemoryError",
)  # what a reference may raise on purpose


@dataclass(frozen=True)
class Case:
    """One call of the answer. All but `hidden` can be sent by `wire`."""

    what: str  # for the reader: "batch (2, 3), N=4 queries, M=7 keys, D_k=6, D_v=5"
    inputs: tuple  # positional arguments: tensors, arrays and builtins
    named: dict = field(default_factory=dict)  # keyword arguments
    gradient: tuple[int, ...] = ()  # positions of the float64 inputs whose gradient is compared as well
    hidden: object = None  # what `ask` and `accept` know and the answer must not: never sent

    @property
    def sent(self) -> tuple:
        """What the confined side needs: ``Case(*loads(dumps(case.sent), live=True))``."""
        return self.what, self.inputs, self.named, self.gradient


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
        drawn = self.cases
        fields = {"right": right, "mistakes": tuple(rows), "cases": lambda seed: _drawn(drawn, seed)}
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def function(self) -> str:
        """Name of the function, class or value to write."""
        return self.name.rpartition(".")[2]

    def input_names(self, case: Case) -> list[str]:
        """What the positional inputs of a case are called, by a signature where one says so."""
        try:
            names = list(inspect.signature(self.use or self.right).parameters)
        except (ValueError, TypeError):  # a compiled function, or none
            names = []
        known = names[1 + bool(self.ask) :] if self.use else names
        return [*known, *(f"input {place + 1}" for place in range(len(known), len(case.inputs)))]

    def call(
        self, answer: Callable, case: Case, ask: Callable | None = None, kernels: list | None = None
    ) -> object:
        """Call an answer on one case.

        Args:
            answer: a function or class, whoever wrote it.
            case: the call.
            ask: what the answer may ask.
            kernels: a list that gets the names of torch's operators that do the exercise; None: nobody looks.

        Returns:
            Plain results, ``Raised``, or ``Refused`` with the reason.
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
                    results = self._with_gradients(output, results, inputs, case)
                changed = None if self.changes_inputs else self._changed(inputs, named, case)
            return told(_writes_into(changed)) if changed else results
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return raised(error)

    def _with_gradients(self, output: object, results: object, inputs: tuple, case: Case) -> dict:
        names = [f"its gradient with respect to {self.input_names(case)[place]}" for place in case.gradient]
        gradients = _gradients(output, [inputs[place] for place in case.gradient])
        return {"the result": results, **dict(zip(names, gradients, strict=True))}

    def _changed(self, inputs: tuple, named: dict, case: Case) -> str | None:
        """The name of an argument that is not as it was."""
        before = [*zip(self.input_names(case), case.inputs, strict=False), *case.named.items()]
        pairs = zip(before, (*inputs, *(named[name] for name in case.named)), strict=True)
        return next((name for (name, old), new in pairs if differs(new, old)), None)

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
            return [_borrowed(f"lecture_lib.{self.name}")] * len(cases)
        ask = ask or (self.questions(cases) if self.ask else lambda place: None)
        outputs, kernels = [], []
        with replacements_undone():
            for place, case in enumerate(cases):
                used: list[str] = []
                try:
                    call = lambda case=case, place=place, used=used: self.call(answer, case, ask(place), used)  # noqa: E731
                    outputs.append(call_watched(call, theirs))
                except Borrowed as error:
                    outputs.append(_borrowed(str(error)))
                kernels += used[:1]
        return [_borrowed(kernels[0])] * len(cases) if kernels else outputs

    def called(self, answer: object) -> object:
        """The answer as something to call: itself, or for a value a function that gives a copy of it."""
        if self.value:
            if answer is None or answer is ...:
                return Raised("NotImplementedError", "", unwritten=True)
            return lambda: copy.deepcopy(answer)
        if self.kind == "bug" and is_source_of(answer, self.given):
            return Raised("NotImplementedError", "", unwritten=True)  # the bug is still there, untouched
        if not callable(answer):
            words = f"this is a {type(answer).__name__}: hand over `{self.function}` itself, not its result"
            return told(words)
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
            outputs = [
                self.call(answer, case, asking(place) if self.ask else None)
                for place, case in enumerate(cases)
            ]
        return outputs, asking.asked

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
        """Expected results and those of every mistake: once a class, not once a student.

        Raises:
            CourseError: the reference is refused itself.
        """
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
        expected = known.expected if known else self.expected(cases)
        outputs = [*outputs, *[told("gave no result")] * len(cases)][: len(cases)]
        asked = asked or [[] for _ in cases]
        rows = zip(cases, outputs, expected, asked, strict=True)
        verdict = Verdict(self, cases, outputs, expected, [reason(self, *row) for row in rows])
        if verdict.passed or verdict.unwritten:
            return verdict
        return diagnose(verdict, known or self.known(cases))


def _drawn(cases: Callable[[int], list[Case]], seed: int) -> list[Case]:
    """Cases under torch's usual settings, with libraries as they were loaded."""
    remember()
    with usual_settings(), libraries_as_loaded():
        return cases(seed)


def _gradients(output: object, inputs: list) -> list:
    import torch

    if type(output) is not torch.Tensor or not output.requires_grad:
        words = "a result that carries no gradient back to the inputs (no .detach(), .item(), numpy)"
        return [Refused(words)] * len(inputs)
    direction = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
    gradients = torch.autograd.grad(output, inputs, direction, allow_unused=True)
    zeros = (torch.zeros_like(x) for x in inputs)
    return [plain(zero if g is None else g) for g, zero in zip(gradients, zeros, strict=True)]


def _writes_into(name: str) -> str:
    return (
        f"writes into the caller's {name}: `{name} += ...`, `{name}[...] = ...` and methods such as add_ or append change "
        f"the object itself; work on a copy, or write `{name} = {name} + ...`"
    )


def _borrowed(name: str) -> Refused:
    return told(f"calls {name}: the exercise is to write that yourself")
