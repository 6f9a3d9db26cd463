"""Fetch what the book's pages need in a browser (math, widgets) from npm, so that reading it needs no other server.

python scripts/fetch_assets.py
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[1] / "book" / "_static" / "vendor"
# npm package -> files or folders taken out of it, and where they go
PACKAGES = {
    "mathjax@3.2.2": {
        "es5/tex-mml-chtml.js": "mathjax/tex-mml-chtml.js",
        "es5/output/chtml/fonts/woff-v2": "mathjax/output/chtml/fonts/woff-v2",
    },
    "requirejs@2.3.7": {"require.js": "require.js"},
    "@jupyter-widgets/html-manager@1.0.15": {"dist/embed-amd.js": "widgets/embed-amd.js"},
}


def fetch(package: str, files: dict[str, str], target: Path) -> None:
    """Take the files of one npm package into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        npm = shutil.which("npm")
        command = [npm or "npm", "pack", "--silent", "--pack-destination", folder, package]
        if npm is None or subprocess.run(command, stdout=subprocess.DEVNULL, cwd=folder).returncode:
            sys.exit(
                f"npm could not fetch {package}; the book needs it once, so please try again with a network"
            )
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
        for source, destination in files.items():
            path = target / destination
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(folder, "package", source), path)


def main() -> None:
    """Fetch everything that is not there yet."""
    stamp = VENDOR / "packages.txt"
    wanted = "\n".join(PACKAGES) + "\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(VENDOR, ignore_errors=True)
    for package, files in PACKAGES.items():
        fetch(package, files, VENDOR)
    stamp.write_text(wanted)


if __name__ == "__main__":
    main()
