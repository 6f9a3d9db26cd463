"""Build the executed book with warnings as errors and say where it is: python -m scripts.book."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from scripts import assets, pages, run
from scripts.settings import ROOT

OUTPUT = ROOT / "_build" / "book"


def forget_stale_pages(built: Path) -> None:
    """Set the pages anew when the library is another one: the reference shows all of it, and links into its source."""
    stamp, known = built / "library.json", json.dumps(run.library(), sort_keys=True)
    if not stamp.exists() or stamp.read_text() != known:
        for name in (".doctrees", "html"):
            shutil.rmtree(built / name, ignore_errors=True)
        built.mkdir(parents=True, exist_ok=True)
        stamp.write_text(known)


def main() -> None:
    """Run the pages, then Jupyter Book, and print the index page's path."""
    parser = argparse.ArgumentParser(prog="python -m scripts.book", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="pages executed at a time")
    start = time.monotonic()
    assets.main()
    forget_stale_pages(OUTPUT / "_build")
    run.run_all(parser.parse_args().jobs)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(ROOT)]
    options = ["--path-output", str(OUTPUT), "-W", "-n", "--keep-going"]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    )
    html = OUTPUT / "_build" / "html"
    if done.returncode:
        for report in sorted((html / "reports").glob("**/*.log")):
            print(f"--- {report}\n{report.read_text()}")
        sys.exit("The book was not built: the first warning or error above says why.")
    if faults := pages.faults(html):
        sys.exit("\n".join(["The book was built, but:", *sorted(set(faults))]))
    print(f"The book: {html / 'book' / 'index.html'}   ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    main()
