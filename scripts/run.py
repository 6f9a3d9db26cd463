"""Execute the pages of the book, two at a time, into the cache from which Sphinx takes their outputs.

A page runs again when its code has changed, or a file of the library that its last run had imported.
"""

import ast
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.cache.main import JupyterCacheBase
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lecture_lib.files import write_text
from scripts.settings import ROOT, config
from scripts.shown import page, show_solutions

BUILT = ROOT / "_build" / "book" / "_build"
RECORDS = BUILT / "runs"
QUIET = ["--IPKernelApp.log_level=40"]  # the kernel is this machine's own: no warning about TCP
IMPORTED = (
    "import sys; print(sorted({m.__file__ for n, m in list(sys.modules.items())"
    " if n.split('.')[0] == 'lecture_lib' and getattr(m, '__file__', None)}))"
)


def documents() -> list[str]:
    """Names of all pages in the table of contents, in its order."""

    def files(entry: object) -> Iterator[str]:
        if isinstance(entry, list):
            for item in entry:
                yield from files(item)
        elif isinstance(entry, dict):
            yield from (entry[key] for key in ("root", "file") if key in entry)
            for key in ("parts", "chapters", "sections"):
                yield from files(entry.get(key, []))

    return list(files(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))


def notebook_of(document: str) -> nbformat.NotebookNode | None:
    """What of a page is executed, as Sphinx will read it; None if nothing is."""
    if document.startswith("notebooks/"):
        return nbformat.reads(page(document.split("/")[1], show_solutions()), as_version=4)
    text = (ROOT / f"{document}.md").read_text(encoding="utf-8")
    if not is_myst_markdown_notebook(text):
        return None
    extensions = set(config()["parse"]["myst_enable_extensions"])
    return read_myst_markdown_notebook(
        text, MdParserConfig(enable_extensions=extensions), add_source_map=True
    )


def record_path(document: str) -> Path:
    """The file that says of what a page's outputs were made; it is new when they are."""
    return RECORDS / f"{document.replace('/', '.')}.json"


def library() -> dict[str, str]:
    """Hash of every file of the library, by its path from the root."""
    files = [path for path in (ROOT / "lecture_lib").rglob("*.*") if "__pycache__" not in path.parts]
    return {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def used(modules: list[str], known: dict[str, str]) -> dict[str, str]:
    """The part of the library that a run has used: its modules, and what lies beside them that is no module."""
    own = {str(Path(file).relative_to(ROOT)) for file in modules if Path(file).is_relative_to(ROOT)}
    folders = {str(Path(file).parent) for file in own}
    return {
        path: value
        for path, value in known.items()
        if path in own or (not path.endswith(".py") and str(Path(path).parent) in folders)
    }


def is_current(
    document: str, notebook: nbformat.NotebookNode, cache: JupyterCacheBase, known: dict[str, str]
) -> bool:
    """Whether the outputs in the cache are those of this code and of the library as it is."""
    try:
        cache.match_cache_notebook(notebook)
        files = json.loads(record_path(document).read_text(encoding="utf-8"))
    except (KeyError, OSError, ValueError):
        return False
    return all(known.get(path) == value for path, value in files.items())


def run(document: str, notebook: nbformat.NotebookNode, timeout: int) -> tuple[list[str], float]:
    """Execute a page in place.

    Args:
        document: name of the page; it runs in its folder.
        notebook: the page as a notebook, whose outputs are filled in.
        timeout: seconds a cell may take.

    Returns:
        The files of the library that it imported, and the seconds it took.
    """
    start = time.monotonic()
    folder = {"metadata": {"path": str((ROOT / document).parent)}}
    client = NotebookClient(
        notebook, timeout=timeout, resources=folder, record_timing=False, extra_arguments=QUIET
    )
    with client.setup_kernel():
        for place, cell in enumerate(notebook.cells):
            if "skip-execution" not in cell.metadata.get("tags", []):
                client.execute_cell(cell, place)
        notebook.cells.append(nbformat.v4.new_code_cell(IMPORTED))
        asked = client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
        notebook.cells.pop()
    printed = "".join(output.text for output in asked.outputs)  # a busy machine sends one line in pieces
    return ast.literal_eval(printed), time.monotonic() - start


def run_all(jobs: int = 2) -> None:
    """Run every page whose outputs are not current; a failing page ends the build with its error."""
    os.environ |= {"LECTURE_LIB_SITE": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}
    cache, timeout = get_cache(BUILT / ".jupyter_cache"), config()["execute"]["timeout"]
    pages = {document: notebook_of(document) for document in documents()}
    known = library()
    stale = {d: n for d, n in pages.items() if n is not None and not is_current(d, n, cache, known)}
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(run, d, n, timeout): d for d, n in stale.items()}
        for done in as_completed(waiting):
            document = waiting[done]
            try:
                files, seconds = done.result()
            except CellExecutionError as error:
                pool.shutdown(cancel_futures=True)
                sys.exit(f"{document} failed:\n{error}")
            bundle = CacheBundleIn(stale[document], str(ROOT / document), data={"execution_seconds": seconds})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
            record_path(document).parent.mkdir(parents=True, exist_ok=True)
            write_text(record_path(document), json.dumps(used(files, known)))
            print(f"  ran {document} in {seconds:.0f} s", flush=True)
