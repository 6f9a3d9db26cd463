"""Fetch what the book's pages need in a browser (math, charts, widgets, the face of the text) from npm, so that reading it needs
no other server, and what the tests of the pages need: python -m scripts.assets."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from scripts.settings import ROOT

VENDOR = ROOT / "book" / "_static" / "vendor"
TOOLS = ROOT / "_build" / "tools"
# npm package -> files or folders taken out of it, and where they go
PACKAGES = {
    "mathjax@3.2.2": {
        "es5/tex-mml-chtml.js": "mathjax/tex-mml-chtml.js",
        "es5/output/chtml/fonts/woff-v2": "mathjax/output/chtml/fonts/woff-v2",
    },
    "requirejs@2.3.7": {"require.js": "require.js"},
    "@jupyter-widgets/html-manager@1.0.15": {"dist/embed-amd.js": "widgets/embed-amd.js"},
    # the versions that JupyterLab has, so that a chart is drawn alike in both
    "vega@5.33.0": {"build/vega.min.js": "vega/vega.js"},
    "vega-lite@5.23.0": {"build/vega-lite.min.js": "vega/vega-lite.js"},
    "vega-embed@6.29.0": {"build/vega-embed.min.js": "vega/vega-embed.js"},
    "@fontsource-variable/source-serif-4@5.3.1": {
        f"files/source-serif-4-latin-{kind}.woff2": f"fonts/{kind}.woff2"
        for kind in ("wght-normal", "wght-italic")
    },
}
# Needed by the tests only: accessibility rules.
TEST_PACKAGES = {"axe-core@4.14.1": {"axe.min.js": "axe.min.js"}}


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


def fetch_all(packages: dict[str, dict[str, str]], target: Path) -> None:
    """Fetch packages into a folder, unless it has exactly these."""
    stamp, wanted = target / "packages.txt", "\n".join(packages) + "\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(target, ignore_errors=True)
    for package, files in packages.items():
        fetch(package, files, target)
    stamp.write_text(wanted)


def main() -> None:
    """Fetch everything that is not there yet."""
    fetch_all(PACKAGES, VENDOR)
    fetch_all(TEST_PACKAGES, TOOLS)


if __name__ == "__main__":
    main()
