"""Build the executed book with warnings as errors and say where it is.

python scripts/build_book.py
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import check_book
import fetch_assets

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "_build" / "book"


def forget_stale_results(built: Path) -> None:
    """Results in the cache belong to the library that made them: with another library, every page runs again."""
    files = sorted(
        path
        for path in (ROOT / "lecture_lib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    stamp = built / ".library"
    if not stamp.exists() or stamp.read_text() != digest:
        for name in (".jupyter_cache", ".doctrees", "html"):
            shutil.rmtree(built / name, ignore_errors=True)
        built.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest)


def main() -> None:
    """Run jupyter-book and print the index page's path."""
    start = time.monotonic()
    fetch_assets.main()
    built = OUTPUT / "_build"
    forget_stale_results(built)
    command = [
        str(Path(sys.executable).with_name("jupyter-book")),
        "build",
        str(ROOT),
        "--path-output",
        str(OUTPUT),
        "-W",
        "-n",
        "--keep-going",
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    if done.returncode:
        for report in sorted((built / "html" / "reports").glob("**/*.log")):
            print(f"--- {report}\n{report.read_text()}")
        sys.exit("The book was not built: the first warning or error above says why.")
    if faults := check_book.faults(built / "html"):
        sys.exit("\n".join(["The book was built, but:", *sorted(set(faults))]))
    print(f"The book: {built / 'html' / 'book' / 'index.html'}   ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    main()
