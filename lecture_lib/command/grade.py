"""``lecture grade``: a class, from what came back to marks."""

import json
import os
import time
from pathlib import Path

import typer
from tqdm import tqdm


def grade(
    folder: Path = typer.Argument(
        help="nbgrader's submitted/, a folder of notebooks named by student, or a zip."
    ),
    assignment: str = typer.Option(
        "", help="Name of the assignment, such as 03_attention; found out if not given."
    ),
    course: Path = typer.Option(Path("."), help="The course's folder: the one that holds notebooks/."),
    student: list[str] = typer.Option([], help="Only this student; may be given several times."),
    jobs: int = typer.Option(0, help="How many at a time; 0: one a core."),
    resume: bool = typer.Option(
        False, help="Go on with a run that was interrupted: what is done is not done again."
    ),
    scheduler: str = typer.Option("", help="Address of a Dask scheduler, such as tcp://host:8786."),
    all_cells: bool = typer.Option(False, help="Run experiments and figures too."),
    sandbox: bool = typer.Option(True, help="Shut student code in. Without: it can do whatever you can."),
    timeout: float = typer.Option(30.0, help="Seconds of computing that a student's cell may take."),
) -> None:
    """Grade a class: marks into nbgrader's gradebook, a page for each student, a report and a table for you.

    Submitted files are only read. Marks that were given by hand stay.
    """
    from lecture_lib.grading import course as classes
    from lecture_lib.grading.collect import collect, detect
    from lecture_lib.grading.submission import tasks_of
    from lecture_lib.grading.way import WORDS, best

    releases = _releases(course)
    assignment = assignment or detect(folder, releases)
    if assignment not in releases:
        raise ValueError(
            f"no assignment {assignment} in {course / 'notebooks'}; there are {', '.join(releases)}"
        )
    submissions, remarks = collect(folder, assignment)
    submissions = _only(submissions, student)
    way = best() if sandbox else "open"
    print(f"{assignment}: {len(submissions)} submissions; {WORDS[way]}", flush=True)
    places = classes.Places(course.resolve(), assignment)
    seed = classes.secret_seed(places, resume)
    limits = {"everything": all_cells, "seconds": timeout}
    if scheduler:
        from lecture_lib.grading.cluster import on_cluster

        grader = on_cluster(places, seed, way, scheduler, **limits)
    else:
        grader = classes.here(places, seed, way, jobs or os.cpu_count() or 1, **limits)
    began = time.monotonic()
    run = classes.run(places, submissions, grader, resume)
    outcomes = list(tqdm(run, total=len(submissions), unit="notebook", desc="grading"))
    tasks = tasks_of(places.stem)
    keep(places, outcomes, releases[assignment], tasks, remarks)
    taken = time.monotonic() - began
    print(
        f"{len(outcomes)} graded in {taken:.0f} s. Marks: {places.database}; report: {places.run / 'report.html'}"
    )
    for each in outcomes:
        for line in each.result.failures:
            print(f"  {each.submission.student}: {line}")


def _releases(course: Path) -> dict[str, dict]:
    found = sorted((course / "notebooks").glob("*/*.ipynb"))
    found = [path for path in found if path.stem == path.parent.name]
    if not found:
        raise ValueError(
            f"no released notebooks in {course / 'notebooks'}: say --course, the folder of the course"
        )
    return {path.stem: json.loads(path.read_bytes()) for path in found}


def _only(submissions: list, students: list[str]) -> list:
    unknown = set(students) - {each.student for each in submissions}
    if unknown:
        raise ValueError(f"nobody of that name handed in: {', '.join(sorted(unknown))}")
    return [each for each in submissions if not students or each.student in students]


def keep(places: object, outcomes: list, release: dict, tasks: dict, remarks: list[str]) -> None:
    """Gradebook, pages, table, report."""
    from lecture_lib.files import write_text
    from lecture_lib.grading import marks as books
    from lecture_lib.grading import report

    books.back_up(places.database)
    book = books.Marks(places.database, places.assignment, release)
    try:
        for each in outcomes:
            notebook = each.notebook()
            written = books.written_by_hand(notebook, release)
            book.save(each.submission.student, each.result.marks, written, each.submission.handed_in)
            page = places.feedback(each.submission.student)
            page.parent.mkdir(parents=True, exist_ok=True)
            write_text(page, report.feedback(places.assignment, each, tasks, _answers(notebook)))
        marks = book.all()
    finally:
        book.close()
    hand = books.by_hand(release)
    write_text(places.run / "grades.csv", report.table(outcomes, tasks, hand, marks))
    write_text(places.run / "report.html", report.page(places.assignment, outcomes, tasks, remarks))


def _answers(notebook: str) -> dict[str, str]:
    from lecture_lib.grading.triage import name_of

    cells = json.loads(notebook)["cells"] if notebook else []
    return {name_of(cell): cell["source"] for cell in cells if name_of(cell)}
