"""Checks of exercises: ``check(name, answer)`` says what is right, or which mistake a wrong answer looks like.

This is the machinery; the exercises themselves are in `lecture_lib.exercises`, one module or folder a chapter. ``exercise``
says what an exercise is, ``mistake``, ``script``, ``chance`` and ``kinds`` help to declare one, ``plain``, ``wire`` and
``compare`` say what a result is and when two are the same, ``verdict`` and ``message`` word what became of an answer.
"""

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.message import CheckFailed, Progress
from lecture_lib.checks.mistake import Mistake, altered
from lecture_lib.checks.script import Questions
from lecture_lib.checks.session import chapter, chapters, check, exercise, passed, progress
from lecture_lib.checks.verdict import CourseError, Known, Verdict
from lecture_lib.checks.watch import remember

__all__ = [
    "Case",
    "CheckFailed",
    "CourseError",
    "Exercise",
    "Known",
    "Mistake",
    "Progress",
    "Questions",
    "Verdict",
    "altered",
    "chapter",
    "chapters",
    "check",
    "exercise",
    "passed",
    "progress",
]

remember()
