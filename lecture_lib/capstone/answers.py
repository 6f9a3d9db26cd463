"""One function for every exercise: the reader's where it passes, else the library's; all calling one another.

No axes: functions by the names of their exercises.
"""

import functools
import html
import inspect
import types
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lecture_lib.checks import Exercise
from lecture_lib.checks.message import breakable
from lecture_lib.checks.watch import resolve


@dataclass(frozen=True)
class Answer:
    """What stands for an exercise, and why."""

    task: Exercise
    chapter: str  # stem of the chapter that asks for it
    value: Any  # the reader's function or value; None: the library's stands in
    why: str = ""  # why it is the library's
    tried: tuple = ()  # what the reader wrote and is not used
    refused: bool = False  # whether that was more than the code that was given

    @property
    def whose(self) -> str:
        """Whose answer is used: "yours" or "the library's"."""
        return "the library's" if self.why else "yours"


class Answers:
    """The parts of a program by the names of their exercises; `calls` counts how often each has run.

    Where a part calls another one (attention its softmax), it gets the one that stands here, whoever wrote either.

    Args:
        rows: one for each exercise.
        namespaces: the global names of the reader's notebooks, as they were run here.
        remarks: what was noticed while collecting.
    """

    def __init__(
        self, rows: Iterable[Answer], namespaces: Iterable[dict[str, Any]] = (), remarks: Iterable[str] = ()
    ) -> None:
        self.rows = {row.task.name: row for row in rows}
        self.remarks, self.calls = list(remarks), Counter()
        used = {name: _with_own_globals(_stand_in(row)) for name, row in self.rows.items()}
        theirs = [used[name].__globals__ for name, row in self.rows.items() if row.why and _plain(used[name])]
        self._parts = {name: self._counted(name, part) for name, part in used.items()}
        self._link([*namespaces, *theirs])

    def __getitem__(self, name: str) -> Any:
        """The part of that name, such as ``attention.softmax``: a function, or the value of a prediction."""
        return self._parts[name]

    def _counted(self, name: str, part: Any) -> Any:
        """The part, which counts its calls."""
        if not _plain(part):
            return part

        @functools.wraps(part)
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            return part(*arguments, **named)

        return call

    def _link(self, namespaces: list[dict[str, Any]]) -> None:
        """Where a global name means a function of an exercise, let it mean the part that stands here."""
        known = {}
        for name, row in self.rows.items():
            right = row.task.right
            same = right if getattr(right, "__name__", "") == row.task.function else None
            for each in (same, resolve(f"lecture_lib.{name}"), row.value, *row.tried):
                if _plain(each):
                    known.setdefault(id(inspect.unwrap(each)), name)
        for namespace in namespaces:
            for word, meaning in list(namespace.items()):
                if _plain(meaning) and (name := known.get(id(inspect.unwrap(meaning)))):
                    namespace[word] = self._parts[name]

    def _chapters(self) -> dict[str, list[Answer]]:
        """The answers of each chapter, under a line that counts those of the reader."""
        of: dict[str, list[Answer]] = {}
        for row in self.rows.values():
            of.setdefault(row.chapter, []).append(row)
        return {
            f"{stem}: {sum(not a.why for a in rows)} of {len(rows)} yours": rows for stem, rows in of.items()
        }

    def __repr__(self) -> str:
        refused = [f"{name}: {row.why}" for name, row in self.rows.items() if row.refused]
        return "\n".join([*self._chapters(), *refused, *self.remarks])

    def _repr_html_(self) -> str:
        parts = []
        for line, rows in self._chapters().items():
            cells = table(("exercise", "whose", "why"), [(a.task.name, a.whose, a.why) for a in rows])
            shown = " open" * any(a.refused for a in rows)
            parts.append(f"<details{shown}><summary>{line}</summary>{cells}</details>")
        return "".join([*parts, *(f"<p>{html.escape(each)}</p>" for each in self.remarks)])


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in HTML with words at the left; on a phone it scrolls inside its own box."""
    style = "style='text-align:left;padding:.1em .4em .1em 0'"
    lines = ["".join(f"<th {style}>{each}</th>" for each in head)]
    lines += ["".join(f"<td {style}>{breakable(x)}</td>" for x in cells) for cells in rows]
    return (
        f"<div style='overflow-x:auto'><table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table></div>"
    )


def _stand_in(row: Answer) -> Any:
    """The reader's answer, else the library's."""
    if not row.why:
        return row.value
    return row.task.reference() if row.task.value else row.task.right


def _plain(part: Any) -> bool:
    return isinstance(part, types.FunctionType)


def _with_own_globals(part: Any) -> Any:
    """A function that looks its names up in a dictionary of its own, so that changing one changes nothing elsewhere."""
    if not _plain(part) or not str(part.__module__).startswith("lecture_lib."):
        return part
    part = inspect.unwrap(part)
    code: Callable = types.FunctionType(
        part.__code__, dict(part.__globals__), part.__name__, part.__defaults__, part.__closure__
    )
    code.__kwdefaults__, code.__doc__ = part.__kwdefaults__, part.__doc__
    return code
