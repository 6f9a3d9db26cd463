"""``lecture doctor``: what is installed, what this machine has, what will run, and whether grading gives what it should."""

import importlib.metadata
import os
import platform
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import typer
from packaging.requirements import Requirement

RUNS = {  # what there is to run, and the extra of the package that it needs
    "library, notebooks": "",
    "real checkpoints": "hf",
    "lecture serve": "serve",
    "lecture check, grade": "grade",
    "the book": "book",
}
LEAST = 2 * 2**30  # bytes of memory, and of disk


def doctor(
    sandbox: bool = typer.Option(True, help="Also try whether student code can be shut in for grading."),
    course: Path = typer.Option(Path("."), help="A checkout of the course: its own solution is then graded."),
    chapter: str = typer.Option(
        "", help="Grade this chapter's solution, such as 03_attention; the first if not said."
    ),
) -> None:
    """Say what is installed, what this machine has, and what will run; a sentence for each problem.

    Exit code 0: no problem; 1: there is one.
    """
    problems = [*_installed(), *_machine(), *(_grading(course, chapter) if sandbox else ())]
    for each in problems:
        print(f"! {each}")
    print("No problem found." if not problems else f"Problems: {len(problems)}.")
    raise typer.Exit(bool(problems))


def _installed() -> list[str]:
    """Print versions and what will run; problems."""
    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    try:
        wanted = [Requirement(each) for each in importlib.metadata.requires("lecture-lib") or ()]
    except importlib.metadata.PackageNotFoundError:
        return ["the course's package is not installed: run `pip install -e .` in a checkout of it"]
    lacking = {
        extra: [each for each in wanted if needs(each, extra) and lacks(each)] for extra in RUNS.values()
    }
    for name in dict.fromkeys(
        each.name for each in wanted if any(needs(each, extra) for extra in RUNS.values())
    ):
        print(f"  {name:<16} {version(name) or 'not installed'}")
    for what, extra in RUNS.items():
        names = ", ".join(map(str, _bare(lacking[""] + lacking[extra] * bool(extra))))
        print(f"Runs   {what:<21} {f'no: it needs {names}' if names else 'yes'}")
    return [
        f"{each.name} {version(each.name) or 'is not installed'}: {each} is needed"
        for each in _bare(lacking[""])
    ]


def needs(wanted: Requirement, extra: str) -> bool:
    """Whether an extra of the package asks for it; "": the package itself."""
    return wanted.marker.evaluate({"extra": extra}) if wanted.marker else not extra


def lacks(wanted: Requirement) -> bool:
    """Whether it is not installed, or in a version that is not enough."""
    found = version(wanted.name)
    return not found or not wanted.specifier.contains(found, prereleases=True)


def _bare(wanted: list[Requirement]) -> list[Requirement]:
    return [Requirement(f"{each.name}{each.specifier}") for each in wanted]


def version(name: str) -> str:
    """The version of an installed package; empty if it is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _machine() -> list[str]:
    """Print processor, GPU, memory and disk; problems."""
    memory, disk = _memory(), shutil.disk_usage(".").free
    print(f"CPU    {os.cpu_count()} cores{_torch()}")
    print(f"Memory {memory / 2**30:.1f} GB of RAM, {disk / 2**30:.1f} GB free on this disk")
    few = {"memory": memory or LEAST, "free space on this disk": disk}
    return [
        f"{size / 2**30:.1f} GB of {what} is little: 2 GB is what a notebook may take"
        for what, size in few.items()
        if size < LEAST
    ]


def _torch() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"\nGPU    unknown: torch cannot be imported ({error})"
    if not torch.cuda.is_available():
        return f", torch uses {torch.get_num_threads()}\nGPU    none: GPU cells will be skipped"
    about = torch.cuda.get_device_properties(0)
    return f", torch uses {torch.get_num_threads()}\nGPU    {about.name}, {about.total_memory / 2**30:.0f} GB"


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # Windows
        return 0


def _grading(course: Path, chapter: str) -> list[str]:
    """Try isolation and the course's own solution; problems."""
    try:
        from lecture_lib.grading.bubble import NoIsolation
        from lecture_lib.grading.way import WORDS, best
    except (
        ImportError,
        OSError,
        AttributeError,
        TypeError,
    ) as error:  # not on Linux, or without the packages
        return [
            f"grading cannot be tried ({error}): use Linux with the packages of lecture-lib[grade], or --no-sandbox here"
        ]
    found = shutil.which("bwrap")
    told = (
        subprocess.run([found, "--version"], capture_output=True, text=True).stdout.strip()
        if found
        else "not installed"
    )
    print(f"Grading  bubblewrap: {told}")
    try:
        way = best()
    except NoIsolation as error:
        return [str(error)]
    print(f"         {WORDS[way]} (tried)")
    return _solution(course, chapter, way)


AUTHORED = "import sys; from scripts.authored import dumps, source_notebook; print(dumps(source_notebook(sys.argv[1])))"


def _solution(course: Path, chapter: str, way: str) -> list[str]:
    """Grade the course's own solution as a student's; problems."""
    names = [each.stem for each in sorted((course / "solutions").glob("*.md")) if chapter in ("", each.stem)]
    if not names:
        print(f"         no solution {chapter or 'of the course'} in {course}: none was graded")
        return [f"there is no solutions/{chapter}.md in {course}"] if chapter else []
    name = names[0]
    made = subprocess.run([sys.executable, "-c", AUTHORED, name], cwd=course, capture_output=True)
    if made.returncode:
        return [
            f"the solution of {name} cannot be built: {made.stderr.decode(errors='replace').strip().splitlines()[-1]}"
        ]
    return graded(made.stdout, (course / "notebooks" / name / f"{name}.ipynb").read_bytes(), name, way)


def graded(solved: bytes, release: bytes, name: str, way: str) -> list[str]:
    """Grade a notebook that should get all points; the problem if it does not."""
    from lecture_lib.grading.server import Server
    from lecture_lib.grading.submission import Judge, grade, tasks_of

    stem = name.partition("_")[2]
    with Server(way, stem=stem) as server:
        result = grade(solved, release, stem, server, Judge(secrets.randbits(62)))
    most, got = sum(task.points for task in tasks_of(stem).values()), sum(result.marks.values())
    print(f"         the course's solution of {name} gets {got:g} of {most} points")
    failed = [words for words in result.messages.values() if not words.startswith("✓")]
    return (
        []
        if got == most and not failed
        else [f"the solution of {name} does not pass: {' '.join([*result.failures, *failed])[:300]}"]
    )
