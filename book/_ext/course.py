"""Sphinx extension of the course: exercise pages, figures with numbers, ways to the notebook, a page without ballast."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import chapters  # noqa: E402
import docstrings  # noqa: E402
import figures  # noqa: E402
import furniture  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    os.environ["LECTURE_LIB_SITE"] = "1"  # a chart of a page that is run is drawn by the site
    app.add_transform(figures.Figures)
    app.add_transform(docstrings.Fold)
    chapters.number_by_name()
    app.connect("source-read", chapters.read_source)
    app.connect("html-page-context", furniture.tidy_page, priority=900)
    app.connect("build-finished", furniture.repair_pages)
    app.connect("autodoc-skip-member", docstrings.read_member)
    app.connect("autodoc-process-docstring", docstrings.read_docstring)
    for name in ("charts.js", "course.js"):
        app.add_js_file(name, loading_method="defer")
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
