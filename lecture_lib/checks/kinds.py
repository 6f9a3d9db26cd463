"""Kinds of exercise besides "write the function": find the bug, predict a number, set weights by hand, judge.

All are `Exercise`s and are declared, checked and graded like one; they differ in what the student's cell starts with
(`Exercise.given`) and in what is handed over (a function, or a value).
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import altered_source
from lecture_lib.checks.plain import type_name


def find_the_bug(of: Exercise, name: str, hint: str, imports: str = "", **more: object) -> Exercise:
    """The exercise `of` with a mistake in running code, which the student repairs.

    Args:
        of: the exercise whose cases, reference and mistakes serve here too.
        name: ``stem.function`` of the function that has the bug.
        hint: the beginning of the hint of the mistake that is given.
        imports: lines above the function, for what its notebook does not import.
        more: points, difficulty and minutes.
    """
    bug = next(each for each in of.mistakes if each.hint.startswith(hint))
    old, new = of.function, name.rpartition(".")[2]
    source = re.sub(rf"\b{old}\b", new, _with_changes(of.right, bug.changes))
    source = f"{imports}\n\n\n{source}" if imports else source
    return replace(of, name=name, right=of.right, kind="bug", given=source, **more)


def _with_changes(function: Callable, changes: tuple[tuple[str, str], ...]) -> str:
    """The source with the bug: as it is printed if the pieces stand there, else in normalised form."""
    source = textwrap.dedent(inspect.getsource(function))
    head = source[: _body(source)]
    body = "".join(line.split("  # ")[0].rstrip() + "\n" for line in source[_body(source) :].splitlines())
    for old, new in changes:
        if body.count(old) != 1:
            lines = altered_source(function, *changes).splitlines(keepends=True)
            return head + "".join(lines[1:]).rstrip() + "\n"
        body = body.replace(old, new)
    return head + body


def _body(source: str) -> int:
    """Where the first statement behind the docstring begins."""
    node = ast.parse(source).body[0]
    first = node.body[1 if ast.get_docstring(node) is not None else 0]
    return sum(len(line) for line in source.splitlines(keepends=True)[: first.lineno - 1])


_guesses: dict[str, float] = {}  # the first guess at each number in this session


def predict(
    name: str, number: Callable[[], float], factor: float, against: str, *, misses: tuple = (), **more: object
) -> Exercise:
    """Predict a number before it is computed or measured; the first guess of a session counts.

    Args:
        name: ``stem.variable`` that holds the guess.
        number: gives the number, exactly or as measured.
        factor: a guess between number / factor and number * factor is right.
        against: where the number comes from, in the reader's words.
        misses: rows ``(hint, number)`` of wrong guesses and what leads to them; a guess of two digits is recognised, too.
        more: points, difficulty and minutes.
    """
    number = cache(number)

    def use(guess: Callable[[], float]) -> object:
        return _as_number(guess())

    def accept(case: Case, output: object, _asked: list) -> str | None:
        low, high = sorted((number() / factor, number() * factor))
        if type(output) is float and low <= output <= high:
            return None
        return f"your prediction {output!r}, the first of this session, is not within a factor {factor:g}"

    return Exercise(
        name=name,
        against=against,
        reference=number,
        cases=lambda seed: [Case("your prediction", ())],
        mistakes=tuple((hint, lambda wrong=wrong: wrong) for hint, wrong in misses),
        use=use,
        accept=accept,
        kind="predict",
        value=True,
        **more,
    )


def _as_number(guess: object) -> float:
    """A guess as a float: ints, floats, numpy's and torch's numbers."""
    if isinstance(guess, str | bytes | bool) or not hasattr(type(guess), "__float__"):
        raise TypeError(f"a number is asked for, such as 1200 or 3.5e6; this is a {type(guess).__name__}")
    return float(guess)


def first_guess(task: Exercise, answer: object) -> object:
    """The answer, or for a prediction the first one of this session."""
    if task.kind != "predict" or answer is None or answer is ...:
        return answer
    try:
        return _guesses.setdefault(task.name, _as_number(answer))
    except (TypeError, ValueError):
        return answer


def by_hand(
    name: str, machine: Callable, weights: Callable[[], dict], cases: Callable, against: str, **more: object
) -> Exercise:
    """Set the weights of a small machine so that it does a stated thing; they are tried on fresh inputs.

    Args:
        name: ``stem.variable`` that holds a dictionary of tensors.
        machine: ``machine(weights, *inputs, **named)``, the part of a model that has these weights.
        weights: gives weights that do it; those that are handed over are taken in their dtype.
        cases: seed -> cases.
        against: what the machine should do, in the reader's words.
        more: ``mistakes`` as rows ``(hint, function that gives wrong weights)``, tolerance or accept, points, difficulty,
            minutes.
    """
    wanted = weights()
    shapes = {key: tuple(value.shape) for key, value in wanted.items()}

    def use(answer: Callable[[], dict], *inputs: object, **named: object) -> object:
        given = answer()
        if type(given) is not dict or set(given) != set(shapes):
            raise TypeError(f"a dictionary with {', '.join(shapes)} is asked for")
        for key, value in wanted.items():
            if not isinstance(given[key], type(value)):
                raise TypeError(f"{key} must be a {type_name(value)}, not a {type_name(given[key])}")
            if given[key].shape != value.shape:
                raise ValueError(f"{key} must be {shapes[key]}, not {tuple(given[key].shape)}")
        taken = {key: given[key].detach().to(value.dtype) for key, value in wanted.items()}
        return machine(taken, *inputs, **named)

    use.__signature__ = inspect.signature(machine)  # the inputs are called as the machine calls them
    return Exercise(
        name=name,
        against=against,
        reference=weights,
        cases=cases,
        use=use,
        kind="weights",
        value=True,
        **more,
    )


def impossible(
    name: str, draw: Callable, right: Callable, against: str, rounds: int = 12, **more: object
) -> Exercise:
    """Judge: which of five things is impossible? The answer is a function, tried on fresh fives.

    Args:
        name: ``stem.function``; it gets a list of five and returns the place of the impossible one, from 0 on.
        draw: ``draw(seed, round) -> (what, five, place)``.
        right: a function that finds it, whose source the rows of mistakes change; the reference is the draw itself.
        against: how the reference knows, in the reader's words.
        rounds: how many fives.
        more: mistakes, points, difficulty, minutes.
    """

    def cases(seed: int) -> list[Case]:
        drawn = [draw(seed, each) for each in range(rounds)]
        return [Case(what, (five,), hidden=place) for what, five, place in drawn]

    def accept(case: Case, output: object, _asked: list) -> str | None:
        if type(output) is not int or not 0 <= output < len(case.inputs[0]):
            return f"returned {output!r:.60}; a place from 0 to {len(case.inputs[0]) - 1} is asked for"
        wrong = f"yours {output}, expected {case.hidden}: number {output} is possible"
        return None if output == case.hidden else wrong

    return Exercise(
        name=name,
        against=against,
        reference=right,
        right=right,
        cases=cases,
        accept=accept,
        kind="judge",
        **more,
    )
