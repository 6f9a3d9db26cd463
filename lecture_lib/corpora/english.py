"""Real English without a download: the documentation that lies inside every Python installation.

Texts: the language reference (`pydoc_data`), the licence, docstrings and comments of the standard library
and, where more is asked for, of the installed packages. Nothing is imported or run: files are read as text.
For a given installation the result is always the same; another Python version gives slightly different text.
"""

import ast
import re
import sysconfig
import textwrap
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lecture_lib.fields import choice, whole

SKIPPED_FOLDERS = {
    "test",
    "tests",
    "testing",
    "idle_test",
    "__pycache__",
    "site-packages",
    "dist-packages",
    "_vendor",
}
FUNCTION_WORDS = set(
    re.findall(
        "[a-z]+",
        """a an and any are as at be been but by can do does each for from has have if in into is it its may
        must no not of on only or other so such than that the their then there these they this to was we when
        where
        which while will with would you your""",
    )
)

TRIPLE_QUOTED = re.compile(r'"""(.*?)"""|\'\'\'(.*?)\'\'\'', re.DOTALL)
COMMENT_BLOCK = re.compile(r"(?:^[ \t]*# .*\n){2,}", re.MULTILINE)
ROLE = re.compile(r":[\w:+-]+:`~?\.?([^`<]+?)(?:\s*<[^`>]*>)?`")  # :class:`~a.B` -> a.B
MARKUP = re.compile(r"[`*]|\(\)(?=[`*\s.,;:!?)])")  # also the empty brackets of "call close() first"
SYMBOL = re.compile(r"[<>|=_@#$%/\[\]]")
NOT_PROSE = re.compile(
    r"[\\{}^~]|\.\. |::|---|(?:--.*){2}|https?:|\w\(|\.\w+\.|[,;] ?[,;]|\(c\)|[Cc]opyright|^\w+: |>>>"
)


def english_paragraphs(min_bytes: int | None = None, split: str | None = None) -> list[str]:
    """Collect real English prose, cleaned and without repetition, in the order of the files: lines of eight words or more.

    `min_bytes` (UTF-8, a newline per paragraph counted) None: all of the standard library. Installed packages are added in
    alphabetical order, only as far as they are needed; if all are not enough, it is refused. `split`: "train" (95 of 100),
    "validation" (the others) or None. The side of a paragraph depends on its own text alone, so the two never share one.
    """
    choice("split", split, ("train", "validation", None))
    min_bytes = None if min_bytes is None else whole("min_bytes", min_bytes, 1)
    found: dict[str, None] = {}
    n_bytes = 0
    for folder in _folders():
        for paragraph in _folder_paragraphs(folder):
            if paragraph in found or split not in (None, split_of(paragraph)):
                continue
            found[paragraph] = None
            n_bytes += len(paragraph.encode()) + 1
            if min_bytes is not None and n_bytes >= min_bytes:
                return list(found)
        if min_bytes is None:
            return list(found)
    raise ValueError(f"Python here holds {n_bytes} bytes of English, fewer than the {min_bytes} asked for")


def english_text(min_bytes: int | None = None, split: str | None = None) -> str:
    """Join `english_paragraphs` into one text, a paragraph per line."""
    return "".join(paragraph + "\n" for paragraph in english_paragraphs(min_bytes, split))


def split_of(paragraph: str) -> str:
    """Put a paragraph on one side by its checksum: 5 of 100 are "validation", the others "train"."""
    return "validation" if zlib.crc32(paragraph.encode()) % 100 < 5 else "train"


def prose_paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text that are plain English sentences, each on one line, markup removed."""
    for block in re.split(r"\n\s*\n", textwrap.dedent(text)):
        paragraph = " ".join(MARKUP.sub("", ROLE.sub(r"\1", block)).split())
        if is_prose(paragraph):
            yield paragraph


def is_prose(paragraph: str) -> bool:
    """Tell sentences from code and tables: whole, eight words or more, a quarter of them function words."""
    words = re.findall(r"[A-Za-z']+", paragraph)
    return (
        len(words) >= 8
        and paragraph[0].isupper()
        and paragraph[-1] in ".!?"
        and not NOT_PROSE.search(paragraph)
        and len(SYMBOL.findall(paragraph)) <= 0.01 * len(paragraph)
        and sum(map(len, words)) >= 0.75 * len(paragraph)
        and sum(word.lower() in FUNCTION_WORDS for word in words) >= 0.25 * len(words)
    )


def _folders() -> Iterator[Path]:
    """Give the standard library first, then each installed package, alphabetically."""
    standard, *installed = (Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))
    yield standard
    packages = {path for folder in installed if folder.is_dir() for path in folder.iterdir()}
    yield from sorted(
        path for path in packages if (path / "__init__.py").is_file() and path.name != "lecture_lib"
    )


@cache
def _folder_paragraphs(folder: Path) -> tuple[str, ...]:
    """Collect the prose of one folder, its files in alphabetical order."""
    blocks = (block for path in _text_files(folder) for block in _blocks(path))
    return tuple(dict.fromkeys(paragraph for block in blocks for paragraph in prose_paragraphs(block)))


def _text_files(folder: Path) -> Iterator[Path]:
    """Walk through Python files and licences, leaving out tests and bundled copies of other packages."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and path.name not in SKIPPED_FOLDERS:
            yield from _text_files(path)
        elif path.suffix == ".py" or path.name == "LICENSE.txt":
            yield path


def _blocks(path: Path) -> Iterator[str]:
    """Give the pieces of a file that may hold prose, by patterns: forty times faster than a parser, and what is no prose is dropped later."""
    source = path.read_text(encoding="utf-8", errors="ignore")
    if path.suffix == ".txt":
        yield source
    elif path.parent.name == "pydoc_data":
        yield from (
            n.value
            for n in ast.walk(ast.parse(source))
            if isinstance(n, ast.Constant) and isinstance(n.value, str)
        )
    else:
        for match in TRIPLE_QUOTED.finditer(source):
            first, _, rest = (match[1] or match[2] or "").partition("\n")
            yield first.strip() + "\n" + textwrap.dedent(rest)
        for match in COMMENT_BLOCK.finditer(source):
            yield re.sub(r"^[ \t]*#[ \t]?", "", match[0], flags=re.MULTILINE)
