"""The verdict in words: a small table in a notebook, plain text on a terminal."""

import html
import sys

from lecture_lib.checks.case import Case
from lecture_lib.checks.compare import difference, shorten
from lecture_lib.checks.exercise import Exercise
from lecture_lib.checks.plain import Array, Raised, Refused, numbers_of, plain
from lecture_lib.checks.script import scripted
from lecture_lib.checks.verdict import Verdict, refused, size

PRINTED_IN_FULL = (
    60  # numbers: a failing case with no more than these is printed so that it can be done by hand
)
MOST_CALLS = 16  # of a script are shown before the one that differs

_AGAIN = ", then run that cell and this one again"
_OPEN = {  # by the kind of exercise: what it is, and what to do
    "bug": ("not repaired yet", f"find the mistake in the code above and repair it{_AGAIN}"),
    "write": ("not written yet", f"replace `raise NotImplementedError` above by your own lines{_AGAIN}"),
    "value": ("not written yet", f"put your value above in the place of None{_AGAIN}"),
}


class CheckFailed(AssertionError):
    """An answer is wrong. The message is the whole verdict; a notebook shows one line, the table stands above it."""

    def __init__(self, verdict: Verdict):
        super().__init__(text(verdict))
        self.verdict = verdict

    def _render_traceback_(self) -> list[str]:
        # IPython and Colab show these lines instead of a stack of our own frames; a notebook has the table already.
        return [f"CheckFailed: {headline(self.verdict) if _notebook() else text(self.verdict)}"]


def still_open(task: Exercise) -> tuple[str, str]:
    """What an exercise is that nobody has worked on yet, and what to do."""
    return _OPEN["bug" if task.kind == "bug" else "value" if task.value else "write"]


def headline(verdict: Verdict) -> str:
    """``✗ attention.softmax   2 of 9 cases``."""
    if verdict.unwritten:
        return f"○ {verdict.exercise.name}   {still_open(verdict.exercise)[0]}"
    right = sum(reason is None for reason in verdict.reasons)
    return f"{'✓' if verdict.passed else '✗'} {verdict.exercise.name}   {right} of {len(verdict.cases)} cases"


def lines(verdict: Verdict) -> list[str]:
    """What follows the headline: the reference, or the failing case, its difference and the likely mistake."""
    if verdict.passed:
        return [f"against {verdict.exercise.against}"]
    if verdict.unwritten:
        return [still_open(verdict.exercise)[1]]
    index = verdict.shown
    rows = [f"case {index + 1}, {verdict.cases[index].what}", f"  {verdict.reasons[index]}"]
    if not isinstance(verdict.outputs[index], Refused):
        rows += [f"  {row}" for row in by_hand(verdict, index)]
    return [*rows, verdict.hint] if verdict.hint else rows


def by_hand(verdict: Verdict, index: int) -> list[str]:
    """The case itself, if it is small: inputs, the answer's result and the expected one."""
    case = verdict.cases[index]
    if verdict.exercise.use is scripted:
        return by_call(case, verdict.outputs[index], verdict.expected[index])
    inputs = [
        *zip(verdict.exercise.input_names(case), map(plain, case.inputs), strict=False),
        *((name, plain(x)) for name, x in case.named.items()),
    ]
    # Where an answer is accepted for what it does, the reference's output is one of several that are right.
    several = verdict.exercise.accept and verdict.exercise.kind == "write"
    right = "a right one" if several else "expected"
    shown = [*inputs, ("yours", verdict.outputs[index]), (right, verdict.expected[index])]
    if sum(size(value) for _, value in shown) > PRINTED_IN_FULL:
        return []
    return [
        _printed(name, value) for name, value in shown if not isinstance(value, Raised) and not refused(value)
    ]


def by_call(case: Case, yours: object, expected: object) -> list[str]:
    """The script up to the first call that differs, each with its result; only the last ones of a long script."""
    arguments, script = map(plain, case.inputs)
    if type(yours) is not list or type(expected) is not list:
        return []
    trio = list(zip(script, yours, expected, strict=False))
    wrong = next((i for i, (_, mine, right) in enumerate(trio) if difference(mine, right)), len(trio) - 1)
    first = max(0, wrong + 1 - MOST_CALLS)
    rows = [f"made with {', '.join(map(shorten, arguments)) or 'no arguments'}"]
    rows += ["..."] * (first > 0)
    for place, ((verb, *rest), mine, right) in enumerate(trio[first : wrong + 1], first):
        called = verb[1:] if verb.startswith(".") else f"{verb}({', '.join(map(shorten, rest))})"
        told = f"yours {shorten(mine)}, expected " if place == wrong else ""
        rows.append(f"call {place}: {called}: {told}{shorten(right)}")
    return rows


def _printed(name: str, value: object) -> str:
    if type(value) in (list, tuple) and any(isinstance(each, Array) for each in value):
        value = {f"entry {place}": each for place, each in enumerate(value)}
    if type(value) is dict and any(isinstance(each, Array) for each in value.values()):
        return "\n    ".join(_printed(f"{name}, {key}", each) for key, each in value.items())
    value = float(f"{value:.6g}") if type(value) is float else value
    numbers = numbers_of(value.values) if isinstance(value, Array) else shorten(value, 400)
    return f"{name} = {numbers}".replace("\n", "\n" + " " * (len(name) + 7))


def text(verdict: Verdict) -> str:
    """The whole verdict as plain text."""
    return "\n".join([headline(verdict), *(f"  {line}" for line in lines(verdict))])


class Shown:
    """A verdict as a notebook displays it."""

    def __init__(self, verdict: Verdict):
        self.verdict = verdict

    def __repr__(self) -> str:
        return text(self.verdict)

    def _repr_html_(self) -> str:
        color = "#2e7d32" if self.verdict.passed else "#8d6e00" if self.verdict.unwritten else "#c62828"
        # White on these colours has a contrast above 4.5 to 1, whatever the page's own colour is.
        badge = f"background:{color};color:#fff;padding:.1em .5em;border-radius:.2em;overflow-wrap:anywhere"
        first = f"<strong style='{badge}'>{html.escape(headline(self.verdict))}</strong>"
        rows = (
            line.replace("\n  ", "\n") for line in lines(self.verdict)
        )  # `text` indents by two, a table does not
        rest = "".join(f"<div style='white-space:pre-wrap'>{html.escape(row)}</div>" for row in rows)
        box = f"border-left:4px solid {color};padding:.3em .8em;font-family:monospace;overflow-x:auto"
        return f"<div style='{box}'>{first}{rest}</div>"


def breakable(text: str) -> str:
    """Text for HTML; on a phone a long name goes on in the next line, behind a dot or an underscore."""
    return html.escape(text).replace("_", "_<wbr>").replace(".", ".<wbr>")


class Progress:
    """The table of a session: each exercise, whether its check has passed, the points so far and those given by hand."""

    def __init__(self, rows: list[tuple[Exercise, Verdict | None]], by_hand: dict[str, int]):
        self.rows, self.by_hand = rows, by_hand

    @property
    def points(self) -> int:
        """Points of the checks that have passed."""
        return sum(task.points for task, verdict in self.rows if verdict is not None and verdict.passed)

    def _cells(self) -> list[tuple[str, str, str]]:
        rows = [(task.name, *_state(task, verdict)) for task, verdict in self.rows]
        rows += [(name, "graded by hand", f"? of {points}") for name, points in self.by_hand.items()]
        total = sum(task.points for task, _ in self.rows) + sum(self.by_hand.values())
        return [*rows, ("total", "", f"{self.points} of {total}")]

    def __repr__(self) -> str:
        if not self.rows:
            return "no check has run in this session yet"
        widths = [max(len(cell) for cell in column) for column in zip(*self._cells(), strict=True)]
        return "\n".join(
            "   ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in self._cells()
        )

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{self!r}</p>"
        cells = [
            "".join(f"<td style='text-align:left'>{breakable(cell)}</td>" for cell in row)
            for row in self._cells()
        ]
        head = "<tr><th style='text-align:left'>exercise</th><th style='text-align:left'>check</th><th>points</th></tr>"
        return f"<table>{head}{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _state(task: Exercise, verdict: Verdict | None) -> tuple[str, str]:
    if verdict is None:
        words = "not tried"
    else:
        words = (
            "✓ passed" if verdict.passed else f"○ {still_open(task)[0]}" if verdict.unwritten else "✗ not yet"
        )
    return words, f"{task.points if verdict is not None and verdict.passed else 0} of {task.points}"


def _notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and hasattr(shell, "kernel")


def show(verdict: Verdict) -> None:
    """Show a verdict: HTML where a notebook runs, else text on standard output, if no exception will say it."""
    if _notebook():
        sys.modules["IPython"].display.display(Shown(verdict))
    elif verdict.passed or verdict.unwritten:
        print(text(verdict))
