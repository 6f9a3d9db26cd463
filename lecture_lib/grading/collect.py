"""What really comes back: nbgrader's tree, a folder of notebooks named by student, a zip from a learning platform. Only read."""

import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from lecture_lib.grading.triage import MOST_BYTES, Unreadable, name_of, read

MOST_FILES = 20_000
MOST_ZIP = 4 * 2**30  # bytes, unpacked
MOODLE = re.compile(r"_assignsubmission_(file|onlinetext)_?$")
COPY = re.compile(r"( ?\(\d+\)| ?- ?Kopie| ?copy|-checkpoint)+$", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """One student's file."""

    student: str
    file: str  # as the instructor knows it
    raw: bytes
    handed_in: float  # seconds since 1970
    problem: str = ""  # why nothing can be read


@dataclass(frozen=True)
class _File:
    parts: tuple[str, ...]  # below the folder
    raw: bytes
    when: float
    problem: str = ""


def collect(folder: Path, assignment: str) -> tuple[list[Submission], list[str]]:
    """Submissions of an assignment, one a student, and remarks on what was passed over.

    Args:
        folder: a folder or a zip file.
        assignment: name of the assignment; files of another one in nbgrader's tree are passed over.

    Raises:
        ValueError: there is nothing.
    """
    found: dict[str, list[Submission]] = {}
    remarks: list[str] = []
    for file in _files(folder, remarks):
        student = _student(file.parts, assignment)
        if student is not None:
            name = "/".join(file.parts)
            found.setdefault(student, []).append(Submission(student, name, file.raw, file.when, file.problem))
    if not found:
        raise ValueError(
            f"no notebook of {assignment} in {folder}: give a folder of .ipynb files, nbgrader's tree, or a zip"
        )
    chosen = []
    for student, several in sorted(found.items()):
        several.sort(key=lambda each: (not each.problem, each.handed_in, each.file))
        chosen.append(several[-1])
        if len(several) > 1:
            others = ", ".join(each.file for each in several[:-1])
            remarks.append(
                f"{student}: {len(several)} notebooks; {several[-1].file} is the latest and counts, not {others}"
            )
    return chosen, remarks


def _student(parts: tuple[str, ...], assignment: str) -> str | None:
    """Whose file it is; None if it belongs to another assignment."""
    if len(parts) >= 3 and parts[-2] != assignment and re.fullmatch(r"\d\d_\w+", parts[-2]):
        return None
    if len(parts) >= 3 and parts[-2] == assignment:
        return _named(parts[-3])
    if len(parts) >= 2:
        return _named(parts[0] if parts[0] != assignment or len(parts) == 2 else parts[1])
    stem = COPY.sub("", PurePosixPath(parts[0]).stem)
    mine = re.sub(rf"[ _-]*{re.escape(assignment)}[ _-]*", " ", stem).strip()
    return _named(mine or stem)


def _named(name: str) -> str:
    """A name for a student that can be a folder's, whatever characters the platform put in."""
    name = MOODLE.sub("", name)
    name = re.sub(r"[\x00-\x1f/\\:*?\"<>|\ud800-\udfff]", "_", name).strip(". ") or "nameless"
    return name[:100]


def _files(folder: Path, remarks: list[str]) -> Iterator[_File]:
    if folder.is_file() and zipfile.is_zipfile(folder):
        yield from _zipped(folder, remarks)
    elif folder.is_dir():
        yield from _below(folder, remarks)
    else:
        raise ValueError(f"{folder} is neither a folder nor a zip file")


def _below(folder: Path, remarks: list[str]) -> Iterator[_File]:
    root = folder.resolve()
    for count, path in enumerate(sorted(folder.rglob("*.ipynb"))):
        if count >= MOST_FILES:
            remarks.append(f"more than {MOST_FILES} notebooks: the rest was passed over")
            return
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue
        try:
            if not path.resolve().is_relative_to(root):
                yield _File(parts, b"", 0.0, "a link that leads out of the folder; it was not followed")
                continue
            about = path.stat()
            if stat.S_ISREG(about.st_mode):
                large = about.st_size > MOST_BYTES
                problem = f"the file has {about.st_size >> 20} MB" if large else ""
                yield _File(parts, b"" if large else path.read_bytes(), about.st_mtime, problem)
        except OSError as error:
            yield _File(parts, b"", 0.0, f"it cannot be read ({error.strerror})")


def _zipped(path: Path, remarks: list[str]) -> Iterator[_File]:
    left = MOST_ZIP
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist()[:MOST_FILES]:
            parts = tuple(
                part
                for part in PurePosixPath(info.filename.replace("\\", "/")).parts
                if part not in ("/", "..", ".")
            )
            if info.is_dir() or not parts or not parts[-1].endswith(".ipynb") or parts[0] == "__MACOSX":
                continue
            when = _seconds(info.date_time)
            left -= info.file_size
            if info.file_size > MOST_BYTES or left < 0:
                yield _File(parts, b"", when, f"the file unpacks to {info.file_size >> 20} MB")
                continue
            try:
                with archive.open(info) as file:
                    raw = file.read(info.file_size + 1)
                yield _File(parts, raw, when)
            except (OSError, RuntimeError, zipfile.BadZipFile, EOFError, ValueError) as error:
                yield _File(parts, b"", when, f"it cannot be unpacked ({type(error).__name__})")


def _seconds(date: tuple[int, ...]) -> float:
    """Of a date in a zip, since 1970; 0 for one that is no date, which some programs write."""
    try:
        return datetime(*date, tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def detect(folder: Path, releases: dict[str, dict]) -> str:
    """The assignment that most of the notebooks belong to, by the names of their graded cells.

    Args:
        folder: a folder or a zip file.
        releases: released notebooks by assignment.

    Raises:
        ValueError: none fits, or several equally.
    """
    names = {key: {name_of(cell) for cell in release["cells"]} - {None} for key, release in releases.items()}
    votes = dict.fromkeys(releases, 0)
    for _, file in zip(range(40), _files(folder, []), strict=False):
        for key in releases:
            votes[key] += key in file.parts or key in file.parts[-1]
        try:
            cells = [
                cell
                for cell in read(file.raw)[0]["cells"]
                if type(cell) is dict and type(cell.get("metadata")) is dict
            ]
        except Unreadable:
            continue
        mine = {name_of(cell) for cell in cells}
        for key in releases:
            votes[key] += len(mine & names[key]) / max(1, len(names[key]))
    best = sorted(votes, key=votes.get, reverse=True)[:2]
    if not best or votes[best[0]] == 0 or (len(best) > 1 and votes[best[0]] == votes[best[1]]):
        raise ValueError(
            f"cannot tell which assignment this is: say --assignment, one of {', '.join(releases)}"
        )
    return best[0]
