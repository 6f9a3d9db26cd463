"""Find the answers in a reader's notebooks: by their cells, whatever the files are called; run them, check them again.

The files are only read. The code runs here, in the reader's own session, because it is the reader's own code.
"""

import contextlib
import io
import json
import linecache
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lecture_lib import checks
from lecture_lib.capstone.answers import Answer, Answers
from lecture_lib.checks import Exercise, Verdict
from lecture_lib.checks.message import headline, still_open
from lecture_lib.checks.session import todays_seed
from lecture_lib.checks.watch import usual_settings
from lecture_lib.grading.needed import needed
from lecture_lib.grading.triage import Unreadable, name_of, read, triage

MISSING = "in no notebook"


@dataclass
class _Run:
    """A notebook after its answers, and what these need, have run."""

    place: Path
    stem: str
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    answers: dict[str, Any] = field(default_factory=dict)  # by the name of the function
    failed: dict[str, str] = field(default_factory=dict)  # what ended the cell of an answer


def collect(folder: str | Path | None = None, *functions: Callable) -> Answers:
    """Collect a reader's answers to all exercises, each checked again; where none passes, the library's stands in.

    Of several copies of an answer in a notebook the last one counts, and of several notebooks of a chapter the one that was
    saved last and whose answer passes. Cells that no answer needs are not run.

    Args:
        folder: where your notebooks lie, at any depth; their code is run. None: the library's answers alone.
        functions: answers of this session, found by their names.

    Returns:
        A part for every exercise, and a table that says whose it is and why.

    Raises:
        ValueError: there is no such folder, or no exercise asks for one of the functions.
    """
    remarks: list[str] = []
    runs = list(_runs(folder, remarks))
    here = {}
    for function in functions:
        named = [task.name for _, task in _exercises() if task.function == getattr(function, "__name__", "")]
        if len(named) != 1:
            raise ValueError(f"no exercise asks for {getattr(function, '__name__', function)!r}")
        here[named[0]] = function
    rows = [_answer(stem, task, here, runs) for stem, task in _exercises()]
    return Answers(rows, [run.namespace for run in runs], remarks)


def _exercises() -> Iterator[tuple[str, Exercise]]:
    for stem in checks.chapters():
        for task in checks.chapter(stem).values():
            yield stem, task


def _answer(stem: str, task: Exercise, here: dict[str, Any], runs: list[_Run]) -> Answer:
    """The newest answer that passes; else why none does."""
    own = [run for run in runs if run.stem == stem]
    tried = [here[task.name]] if task.name in here else []
    tried += [run.answers[task.function] for run in own if task.function in run.answers]
    why = [(run.failed[task.function], True) for run in own if task.function in run.failed]
    for value in tried:
        verdict = _verdict(task, value)
        if verdict.passed:
            return Answer(task, stem, value)
        failed = f"did not pass: {verdict.hint or headline(verdict)}"
        why.append((still_open(task)[0] if verdict.unwritten else failed, not verdict.unwritten))
    words, refused = why[0] if why else (MISSING, False)
    return Answer(task, stem, None, words, tuple(tried), refused)


def _verdict(task: Exercise, value: Any) -> Verdict:
    """As a check in a notebook, without showing it."""
    cases = task.cases(todays_seed(task.name))
    asking = task.questions(cases)
    return task.judge(cases, task.run(value, cases, asking if task.ask else None), asking.asked)


def _runs(folder: str | Path | None, remarks: list[str]) -> Iterator[_Run]:
    """The notebooks of exercises below a folder, the one that was saved last first."""
    if folder is None:
        return
    if not Path(folder).is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}: give the one in which your notebooks lie")
    paths = [path for path in Path(folder).rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts]
    for path in sorted(paths, key=lambda path: (-path.stat().st_mtime, str(path))):
        try:
            raw = path.read_bytes()
            stem = _chapter(read(raw)[0]["cells"])
            if stem is not None:
                yield _run(path, stem, raw)
        except (Unreadable, OSError) as error:
            remarks.append(f"{path.name}: {error}")


def _chapter(cells: list) -> str | None:
    """The chapter whose exercises stand in a notebook."""
    text = json.dumps(cells, ensure_ascii=False)

    def found(stem: str) -> int:
        tasks = checks.chapter(stem).values()
        return sum(f'\\"{task.name}\\"' in text or f'"{task.function}"' in text for task in tasks)

    best = max(checks.chapters(), key=found)
    return best if found(best) else None


def _run(path: Path, stem: str, raw: bytes) -> _Run:
    """Run the answers of a notebook and the cells that these need, each whatever became of the others."""
    notebook = triage(raw, _pattern(stem, read(raw)[0]["cells"]))
    notebook.own = set()  # a cell of the reader's own runs where an answer reads what it defines
    run, functions = _Run(path, stem), {task.function for task in checks.chapter(stem).values()}
    for place in sorted(needed(notebook)):
        cell = notebook.cells[place]
        problem = _execute(cell["source"], f"{path.name}, cell {place + 1}", run.namespace)
        if (name := name_of(cell)) in functions:
            if problem:
                run.failed[name] = f"its cell ends with {problem}"
            elif name in run.namespace:
                run.answers[name] = run.namespace[name]
    return run


def _pattern(stem: str, cells: list) -> dict:
    """The cells that carry answers, as triage looks for them; where a copy is still the stub, that is their text."""
    sources = ["".join(cell.get("source", "")) for cell in cells if type(cell) is dict]

    def cell(name: str, text: str, is_check: bool) -> dict:
        marks = {"grade_id": name, "grade": is_check, "solution": not is_check}
        return {"cell_type": "code", "id": name, "source": text, "metadata": {"nbgrader": marks}}

    found = []
    for task in checks.chapter(stem).values():
        stubs = [s for s in sources if f"def {task.function}(" in s and "NotImplementedError" in s]
        found += [cell(task.function, stubs[0] if stubs else "", False)]
        found += [cell(f"check_{task.function}", "", True)]
    return {"cells": found}


def _execute(source: str, label: str, namespace: dict[str, Any]) -> str:
    """Run a cell without a word; what ended it, or nothing. Its source can be looked up, as in a notebook."""
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()]
    linecache.cache[label] = (len(source), None, [line + "\n" for line in lines], label)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            with usual_settings():
                exec(compile("\n".join(lines), label, "exec"), namespace)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return f"{type(error).__name__}: {error}"[:200]
    return ""
