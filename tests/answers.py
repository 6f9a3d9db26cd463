"""Answers to the exercises as a notebook holds them: the set-up cells and the solution cells, run one after another."""

import functools
from collections.abc import Callable

import nbformat

from lecture_lib import checks
from lecture_lib.checks.verdict import Known
from scripts.authored import source_notebook
from scripts.settings import chapters

CHAPTERS = {name.partition("_")[2]: name for name in chapters()}


@functools.cache
def solved(stem: str) -> dict[str, nbformat.NotebookNode]:
    """The cells of a chapter's notebook with its solutions, by their ids, to be read only: making them takes a while."""
    return {cell.id: cell for cell in source_notebook(CHAPTERS[stem]).cells}


@functools.cache
def solutions(stem: str) -> dict[str, object]:
    """The solution of every exercise of a chapter, by the exercise's name."""
    namespace: dict[str, object] = {}
    names = {task.function: name for name, task in checks.chapter(stem).items()}
    before_exercises, found = True, {}
    for cell in list(solved(stem).values())[2:]:
        grading = cell.metadata.get("nbgrader", {})
        if cell.cell_type != "code" or not (before_exercises or grading.get("solution")):
            continue
        exec(compile(cell.source, f"<{stem} {cell.id}>", "exec"), namespace)
        if grading:
            before_exercises = False
            found[names[cell.id]] = namespace[cell.id]
    return found


def stem_of(task: checks.Exercise) -> str:
    """The chapter that asks for an exercise, which may be a function of another module."""
    return next(stem for stem in CHAPTERS if task.name in checks.chapter(stem))


def exercises() -> list[checks.Exercise]:
    """All exercises of all chapters that have a notebook."""
    return [task for stem in CHAPTERS for task in checks.chapter(stem).values()]


@functools.cache
def known_at(name: str, seed: int) -> tuple[list[checks.Case], Known]:
    """Cases of an exercise and what is known of them, to be read only; the results of mistakes when they are looked at."""
    task = checks.exercise(name)
    cases = task.cases(seed)
    return cases, Known(task.expected(cases), tuple(task.later(each, cases) for each in task.mistakes))


def verdict_of(stem: str, seed: int = 0) -> Callable[..., checks.Verdict]:
    """Gives the verdict on an answer to an exercise of a chapter, `verdict(name, answer, seed)`."""

    def verdict(name: str, answer: object, seed: int = seed) -> checks.Verdict:
        task = checks.exercise(f"{stem}.{name}")
        cases, known = known_at(task.name, seed)
        return task.judge(cases, task.run(answer, cases), None, known)

    return verdict
