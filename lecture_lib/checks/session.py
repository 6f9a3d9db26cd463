"""What a notebook calls: ``check``, ``passed``, ``progress``; and how it finds exercises by name."""

import datetime
import difflib
import getpass
import importlib
import os
import pkgutil
import sys
import zlib
from types import ModuleType

from lecture_lib.checks.exercise import Exercise
from lecture_lib.checks.kinds import first_guess
from lecture_lib.checks.message import CheckFailed, Progress, show
from lecture_lib.checks.verdict import Verdict
from lecture_lib.checks.watch import remember

EXERCISES = "lecture_lib.exercises"  # the package of all chapters
# nbgrader sets the first when it grades or validates; the second is ours, for any other way of grading.
GRADED = bool(os.environ.get("NBGRADER_EXECUTION") or os.environ.get("LECTURE_GRADING"))
_last_verdict: dict[str, Verdict] = {}  # what this session has seen, by exercise name


def graded() -> bool:
    """Whether this session gives marks: then an exercise that is not written yet raises."""
    return GRADED or bool(os.environ.get("NBGRADER_EXECUTION") or os.environ.get("LECTURE_GRADING"))


def chapters() -> list[str]:
    """Stems of the chapters that have exercises, in alphabetical order."""
    place = importlib.import_module(EXERCISES).__path__
    return sorted(module.name for module in pkgutil.iter_modules(place))


def chapter(stem: str) -> dict[str, Exercise]:
    """All exercises of one chapter, by name, in the order in which its notebook asks them.

    Args:
        stem: name of the chapter, such as ``attention``.

    Returns:
        The exercises by their full names, such as ``attention.softmax``.

    Raises:
        KeyError: there is no such chapter; the message names the ones there are.
    """
    return {item.name: item for item in _content(stem).EXERCISES}


def _content(stem: str) -> ModuleType:
    if stem not in chapters():
        raise KeyError(f"no chapter {stem!r}; the chapters with exercises are {', '.join(chapters())}")
    content = importlib.import_module(f"{EXERCISES}.{stem}")
    remember()
    return content


def exercise(name: str) -> Exercise:
    """The exercise of that name.

    Args:
        name: ``stem.function``, such as ``attention.softmax``.

    Returns:
        The exercise.

    Raises:
        KeyError: there is no such exercise; the message gives the names that come near.
    """
    own = name.partition(".")[0] if isinstance(name, str) else None
    # A chapter may ask for another module's function; the one at work is loaded; all take half a second.
    for stem in sorted(chapters(), key=lambda stem: (stem != own, f"{EXERCISES}.{stem}" not in sys.modules)):
        content = _content(stem)
        named = {each.name: each for each in (*content.EXERCISES, *getattr(content, "PRACTICE", ()))}
        if isinstance(name, str) and name in named:
            return named[name]
    known = [
        each for stem in chapters() for each in chapter(stem) if own in (stem, None) or own not in chapters()
    ]
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4) or known[:5]
    raise KeyError(f"no exercise {name!r}; did you mean {', '.join(near)}?")


def check(name: str, answer: object, seed: int | None = None) -> None:
    """Try an answer on fresh cases and show the verdict.

    An answer that is not written yet is told so and lets the notebook go on; only grading raises then.

    Args:
        name: ``stem.function``, such as ``attention.softmax``.
        answer: the function, class or value you wrote; a function itself and not its result.
        seed: the cases are drawn from it; another number gives other cases of the same kinds. None: one that
            depends on the day and on who you are.

    Raises:
        CheckFailed: the answer is wrong; the message says on which case and, where it is recognised, why.
        KeyError: there is no exercise of that name.
    """
    task = exercise(name)
    errors_to_output()
    cases = task.cases(todays_seed(name) if seed is None else seed)
    asking = task.questions(cases)
    outputs = task.run(first_guess(task, answer), cases, asking if task.ask else None)
    verdict = task.judge(cases, outputs, asking.asked)
    _last_verdict[name] = verdict
    show(verdict)
    if not verdict.passed and (graded() or not verdict.unwritten):
        raise CheckFailed(verdict)


def todays_seed(name: str) -> int:
    """A seed that stays the same for one reader on one day, and is never a small one."""
    try:
        reader = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name
        reader = ""
    return 10**4 + zlib.crc32(f"{datetime.date.today()} {reader} {name}".encode()) % 10**9


def errors_to_output() -> None:
    """While marks are given, let a kernel's standard error arrive as standard output.

    nbgrader takes all points from a check cell that writes to standard error, be it a warning, a log or a progress bar.
    """
    if (
        graded() and type(sys.stderr).__name__ == "OutStream"
    ):  # ipykernel's; what C writes passes through it, too
        sys.stderr.name = "stdout"


def passed(name: str) -> bool:
    """Whether the check of that name has passed in this session; if not, a line says what the cell waits for.

    For cells that show what was just built: ``if passed("attention.softmax"): ...``.
    """
    exercise(name)  # an unknown name is an error
    verdict = _last_verdict.get(name)
    if verdict is None or not verdict.passed:
        print(f"This cell waits for the check of {name}.")
    return verdict is not None and verdict.passed


def progress(stem: str | None = None) -> Progress:
    """The checks passed and the points earned so far in this session, and the points that are given by hand.

    Args:
        stem: a chapter; None takes every chapter of which a check has run.

    Returns:
        A table that a notebook shows as HTML and a terminal as text.

    Raises:
        KeyError: there is no such chapter.
    """
    stems = [stem] if stem else sorted({name.partition(".")[0] for name in _last_verdict})
    rows = [(task, _last_verdict.get(name)) for each in stems for name, task in chapter(each).items()]
    by_hand = {name: points for each in stems for name, points in _content(each).BY_HAND.items()}
    return Progress(rows, by_hand)


errors_to_output()
