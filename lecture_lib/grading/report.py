"""What the instructor reads: a page, a table for a learning platform; and what a student reads. Text of a student is data."""

import csv
import io
import statistics
from collections import Counter

from jinja2 import Environment, PackageLoader

from lecture_lib.checks.exercise import Exercise
from lecture_lib.grading.course import Outcome
from lecture_lib.grading.safe import cell_of_table, plain_text

_PAGES = Environment(
    loader=PackageLoader("lecture_lib.grading", "pages"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def table(outcomes: list[Outcome], tasks: dict[str, Exercise], hand: dict[str, float], marks: dict) -> str:
    """CSV: a student a row, an exercise a column; what waits for a person is empty.

    Args:
        outcomes: of the run.
        tasks: by name of the check.
        hand: cells graded by hand, with their points.
        marks: from the gradebook, by student and cell.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    columns = [*tasks, *hand]
    writer.writerow(["student", *(name.removeprefix("check_") for name in columns), "total", "of", "remarks"])
    most = sum(task.points for task in tasks.values()) + sum(hand.values())
    for each in sorted(outcomes, key=lambda each: each.submission.student):
        points = {
            **each.result.marks,
            **{k: v for k, v in marks.get(each.submission.student, {}).items() if k in columns},
        }
        shown = [f"{points[name]:g}" if points.get(name) is not None else "" for name in columns]
        total = sum(points.get(name) or 0.0 for name in columns)
        remarks = "; ".join([*each.result.failures, *each.result.repairs])
        writer.writerow(
            [
                cell_of_table(each.submission.student),
                *shown,
                f"{total:g}",
                f"{most:g}",
                cell_of_table(remarks),
            ]
        )
    return file.getvalue()


def page(assignment: str, outcomes: list[Outcome], tasks: dict[str, Exercise], remarks: list[str]) -> str:
    """The instructor's HTML page: distribution, commonest mistakes, repairs, failures, alarms."""
    totals = [sum(each.result.marks.values()) for each in outcomes]
    most = sum(task.points for task in tasks.values())
    rows = []
    for name, task in tasks.items():
        hints = Counter(
            each.result.hints.get(name, "not run") for each in outcomes if not _full(each, name, task)
        )
        right = sum(_full(each, name, task) for each in outcomes)
        rows.append({"task": task, "right": right, "of": len(outcomes), "hints": hints.most_common(4)})
    return _PAGES.get_template("report.html").render(
        assignment=assignment,
        outcomes=sorted(outcomes, key=lambda each: each.submission.student),
        rows=rows,
        remarks=remarks,
        bars=_bars(totals, most),
        median=statistics.median(totals) if totals else 0,
        most=most,
        clean=plain_text,
        label=lambda hint: hint or "no known mistake",
    )


def _full(outcome: Outcome, name: str, task: Exercise) -> bool:
    message = outcome.result.messages.get(name, "")
    return outcome.result.marks.get(name, 0.0) == task.points and (task.points > 0 or message.startswith("✓"))


def _bars(totals: list[float], most: float, bins: int = 10) -> list[tuple[str, int, float]]:
    """A histogram: range, number, share of the highest."""
    width = max(most, 1) / bins
    counts = Counter(min(int(total / width), bins - 1) for total in totals)
    highest = max(counts.values(), default=1)
    return [(f"{width * i:.0f}–{width * (i + 1):.0f}", counts[i], counts[i] / highest) for i in range(bins)]


def feedback(assignment: str, outcome: Outcome, tasks: dict[str, Exercise], sources: dict[str, str]) -> str:
    """The page for a student: points, messages, the answers as they were read, and what happened to the file.

    Args:
        assignment: its name.
        outcome: of this student.
        tasks: by name of the check.
        sources: the answer of each exercise, by its function's name.
    """
    return _PAGES.get_template("feedback.html").render(
        assignment=assignment,
        outcome=outcome,
        tasks=tasks,
        sources=sources,
        total=sum(outcome.result.marks.values()),
        most=sum(task.points for task in tasks.values()),
        clean=plain_text,
    )
