"""``lecture check``: a reader's own notebook in a clean kernel, every check with its verdict and its points."""

import json
import re
from pathlib import Path

import typer
from tqdm import tqdm

CHECK = re.compile(r"""^check\(\s*["'](\w+\.\w+)["']\s*,\s*(\w+)""", re.MULTILINE)


def check(
    notebook: Path = typer.Argument(help="Your notebook; it is only read."),
    all_cells: bool = typer.Option(False, help="Run experiments and figures too."),
    timeout: float = typer.Option(60.0, min=1.0, help="Seconds that one cell may take."),
) -> None:
    """Run a notebook in a clean kernel, from the top: each check with its verdict and points, then the total.

    The cases are those of your notebook today. Answers, cells of your own and what these need are run. A cell that hangs or ends
    the kernel is left out, and the rest goes on.

    Exit code 0: every check passes; 1: not all do, or the file cannot be read.
    """
    from lecture_lib.grading.triage import Unreadable, read

    if not notebook.is_file():
        raise ValueError(f"there is no file {notebook}")
    try:
        content = read(notebook.read_bytes())[0]
        stem = marked(content)
    except Unreadable as error:
        raise ValueError(f"{notebook}: {error}") from None
    from lecture_lib.checks import progress
    from lecture_lib.grading.kernel import Kernels, Today
    from lecture_lib.grading.submission import grade, tasks_of

    tasks, raw = tasks_of(stem), json.dumps(content).encode()
    with tqdm(total=len(tasks), desc="checking", unit="check", leave=False) as bar:

        def tell(name: str, words: str) -> None:
            bar.write(shown(tasks[name].points, words))
            bar.update()

        kernels = Kernels(notebook.resolve().parent)
        result = grade(raw, raw, stem, kernels, Today(), all_cells, timeout, tell)
    for name, task in tasks.items():
        if name not in result.messages:
            print(shown(task.points, f"○ {task.name}   its check is not in this notebook"))
    for line in [*result.failures, *errors(result.notebook)]:
        print(f"! {line}")
    passed = sum(words.startswith("✓") for words in result.messages.values())
    most = sum(task.points for task in tasks.values())
    hand = sum(progress(stem).by_hand.values())
    more = f"; {hand} more are given by hand" if hand else ""
    print(f"{passed} of {len(tasks)} checks, {sum(result.marks.values()):g} of {most} points{more}")
    raise typer.Exit(passed < len(tasks))


def shown(points: int, words: str) -> str:
    """A verdict with its points behind the first line."""
    first, _, rest = words.partition("\n")
    got = points if first.startswith("✓") else 0
    return f"{first}   [{got} of {points}]" + (f"\n{rest}" if rest else "")


def errors(notebook: str) -> list[str]:
    """What the cells that ran have raised."""
    cells = enumerate(json.loads(notebook)["cells"] if notebook else (), 1)
    found = [
        (place, out)
        for place, cell in cells
        for out in cell.get("outputs", ())
        if out["output_type"] == "error"
    ]
    return [f"cell {place}: {out['traceback'][0]}" for place, out in found]


def marked(notebook: dict) -> str:
    """Give nbgrader's marks back to checks and answers that have lost them; the chapter of the notebook.

    Args:
        notebook: as it was read; its cells are changed.

    Raises:
        ValueError: it holds no check of the course.
    """
    from lecture_lib.checks import chapter, chapters
    from lecture_lib.grading.triage import name_of

    cells = [each for each in notebook["cells"] if type(each) is dict and each.get("cell_type") == "code"]
    called = [CHECK.search("".join(each.get("source", ""))) for each in cells]
    names = {found[1] for found in called if found}
    stem = names and max(chapters(), key=lambda each: len(names & set(chapter(each))))
    if not stem or not names & set(chapter(stem)):
        raise ValueError("the notebook holds no check of the course")
    for place, found in enumerate(called):
        if not found or found[1] not in chapter(stem):
            continue
        _mark(cells[place], f"check_{found[1].partition('.')[2]}", check=True)
        answer = re.compile(rf"^(def|class)\s+{found[2]}\b|^{found[2]}\s*(:[^=]*)?=", re.MULTILINE)
        for cell in reversed(cells[:place]):
            if name_of(cell) == found[2] or answer.search("".join(cell.get("source", ""))):
                _mark(cell, found[2], check=False)
                break
    return stem


def _mark(cell: dict, name: str, check: bool) -> None:
    if type(cell.get("metadata")) is not dict:
        cell["metadata"] = {}
    cell["metadata"]["nbgrader"] = {"grade_id": name, "grade": check, "solution": not check}
