"""Build the notebooks that students open, and the README's table: solutions/NN_stem.md -> notebooks/NN_stem/NN_stem.ipynb.

    python -m scripts.notebooks [03_attention ...]

A rebuild is byte-identical. `scripts.authored` says what an author writes.
"""

import argparse
import sys
from pathlib import Path

from lecture_lib.files import write_text
from scripts.authored import dumps, source_notebook
from scripts.readme import readme
from scripts.release import release
from scripts.settings import ROOT, chapters, repository


def write(path: Path, text: str) -> bool:
    """Write a file in one step, and only if its text is new."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return True


def outputs(names: list[str]) -> dict[Path, str]:
    """Every generated file of the repository with its text: the notebooks named, and the README."""
    files = {ROOT / "notebooks" / name / f"{name}.ipynb": text for name, text in release(names).items()}
    return files | {ROOT / "README.md": readme((ROOT / "README.md").read_text(encoding="utf-8"))}


def main() -> None:
    """Build the notebooks named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m scripts.notebooks", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="chapters, such as 03_attention; all if none is named")
    parser.add_argument("--source", type=Path, help="also write the instructor's notebooks below this folder")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file is not up to date"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(chapters()):
        parser.error(f"no solutions/{unknown.pop()}.md; there are {', '.join(chapters())}")
    names = arguments.names or chapters()
    for path, text in outputs(names).items():
        if arguments.check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            sys.exit(f"{path.relative_to(ROOT)} is not up to date: run `make notebooks` and commit it")
        if not arguments.check and write(path, text):
            print(f"written: {path.relative_to(ROOT)}")
    for name in names if arguments.source else ():
        write(arguments.source / name / f"{name}.ipynb", dumps(source_notebook(name)))
    if "OWNER" in repository()[0]:
        print(
            f"Badges and install cells point to {repository()[0]}: set it in _config.yml, then `make notebooks`."
        )


if __name__ == "__main__":
    main()
