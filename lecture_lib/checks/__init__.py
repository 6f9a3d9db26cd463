"""Checks of exercises: ``check(name, answer)`` says what is right, or which mistake a wrong answer looks like.

Nothing but notebooks, tests and grading imports this package. One module a chapter holds its exercises;
``exercise`` says what an exercise is, ``plain`` and ``compare`` decide when two results are the same,
``message`` words the verdict.
"""

import difflib
import importlib
import pkgutil

from lecture_lib.checks.exercise import Case, Exercise, Verdict
from lecture_lib.checks.message import CheckFailed, Progress, show
from lecture_lib.checks.mistake import Mistake, altered

__all__ = [
    "Case",
    "CheckFailed",
    "Exercise",
    "Mistake",
    "Progress",
    "Verdict",
    "altered",
    "chapter",
    "chapters",
    "check",
    "exercise",
    "progress",
]

_MACHINERY = {"exercise", "mistake", "plain", "compare", "message", "watch"}
_last_verdict: dict[str, Verdict] = {}  # what this session has seen, by exercise name; read by progress()


def chapters() -> list[str]:
    """Stems of the chapters that have exercises, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _MACHINERY)


def chapter(stem: str) -> dict[str, Exercise]:
    """All exercises of one chapter, by name, in the order in which its notebook asks them.

    Args:
        stem: name of the chapter, such as ``attention``.

    Returns:
        The exercises by their full names, such as ``attention.softmax``.

    Raises:
        KeyError: there is no such chapter; the message names the ones there are.
    """
    if stem not in chapters():
        raise KeyError(f"no chapter {stem!r}; the chapters with exercises are {', '.join(chapters())}")
    module = importlib.import_module(f"lecture_lib.checks.{stem}")
    return {item.name: item for item in module.EXERCISES}


def exercise(name: str) -> Exercise:
    """The exercise of that name.

    Args:
        name: ``stem.function``, such as ``attention.softmax``.

    Returns:
        The exercise.

    Raises:
        KeyError: there is no such exercise; the message gives the names that come near.
    """
    stem = name.partition(".")[0] if isinstance(name, str) else None
    found = chapter(stem) if stem in chapters() else {}
    if name in found:
        return found[name]
    known = list(found) or [each for stem in chapters() for each in chapter(stem)]
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4) or known[:5]
    raise KeyError(f"no exercise {name!r}; did you mean {', '.join(near)}?")


def check(name: str, answer: object, seed: int = 0) -> None:
    """Try an answer on fresh cases and show the verdict.

    Args:
        name: ``stem.function``, such as ``attention.softmax``.
        answer: the function or class you wrote, itself and not its result.
        seed: the cases are drawn from it; another number gives other cases of the same kinds.

    Raises:
        CheckFailed: the answer is wrong; the message says on which case and, where it is recognised, why.
        KeyError: there is no exercise of that name.
    """
    task = exercise(name)
    cases = task.cases(seed)
    verdict = task.judge(cases, task.run(answer, cases))
    _last_verdict[name] = verdict
    show(verdict)
    if not verdict.passed:
        raise CheckFailed(verdict)


def progress(stem: str | None = None) -> Progress:
    """The checks passed and the points earned so far in this session.

    Args:
        stem: a chapter; None takes every chapter of which a check has run.

    Returns:
        A table that a notebook shows as HTML and a terminal as text.

    Raises:
        KeyError: there is no such chapter.
    """
    stems = [stem] if stem else sorted({name.partition(".")[0] for name in _last_verdict})
    rows = [(task, _last_verdict.get(name)) for each in stems for name, task in chapter(each).items()]
    return Progress(rows)
