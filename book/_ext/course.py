"""Sphinx extension of the course: a chapter's notebook shown from its executed solution, and the way to open it.

In the book, the page of a notebook shows what a student opens (text, stubs, checks) together with the output and the
figures of the solution. The solution's code runs but is shown only under ``course: show_solutions`` in ``_config.yml``.
"""

import json
import re
import sys
from pathlib import Path

import nbformat
import yaml
from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import build_notebooks  # noqa: E402

NOTEBOOK = re.compile(r"notebooks/(\d\d_\w+)/\1")
CHAPTER = re.compile(r"book/(\d\d_\w+)")
BADGE = re.compile(r"\[!\[Open in Colab\]\(\S+\)\]")
OPEN = """

```{{admonition}} Now solve it
:class: tip
The exercises of this chapter: [read them here](../notebooks/{name}/{name}.ipynb),
[open them in Colab]({colab}), or download
{{download}}`the notebook <../notebooks/{name}/{name}.ipynb>` and open it in JupyterLab.
```
"""


def show_solutions() -> bool:
    """The setting ``course.show_solutions`` of ``_config.yml``."""
    return bool(
        yaml.safe_load((ROOT / "_config.yml").read_text()).get("course", {}).get("show_solutions", False)
    )


def page(name: str, solutions: bool) -> str:
    """The notebook of a chapter as its page shows it.

    Args:
        name: ``NN_stem``.
        solutions: whether solution code and model answers are shown.

    Returns:
        The text of a notebook that can be executed.
    """
    stubs = nbformat.read(ROOT / "notebooks" / name / f"{name}.ipynb", as_version=4).cells
    stub = {cell.id: cell.source for cell in stubs}
    notebook = build_notebooks.source_notebook(name)
    notebook.cells = [shown for cell in notebook.cells for shown in _shown(cell, stub, solutions)]
    return json.dumps(notebook)


def _shown(cell: nbformat.NotebookNode, stub: dict[str, str], solutions: bool) -> list[nbformat.NotebookNode]:
    grading = cell.metadata.get("nbgrader")
    if "gpu" in cell.metadata.get("tags", []):
        cell.metadata.tags = [*cell.metadata.tags, "skip-execution"]
    if not grading or not grading["solution"]:
        cell.source = BADGE.sub("[Open in Colab]", cell.source)  # the badge's picture lies on another server
        return [cell]
    cell.source = re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", cell.source, flags=re.MULTILINE).rstrip()
    if cell.cell_type == "markdown":
        answer = f":::{{admonition}} Model answer\n:class: dropdown\n{cell.source}\n:::"
        task = "*Your answer here; it is read and graded by a person.*"
        return [nbformat.v4.new_markdown_cell(answer if solutions else task, id=cell.id)]
    seen = nbformat.v4.new_markdown_cell(f"```python\n{stub[cell.id]}\n```", id=f"{cell.id}-stub")
    cell.metadata = {"tags": ["hide-input" if solutions else "remove-input"]}
    return [seen, cell]


def read_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace a released notebook by its executable page; end a chapter with the ways to its notebook."""
    if found := NOTEBOOK.fullmatch(docname):
        app.env.note_dependency(str(ROOT / "solutions" / f"{found[1]}.md"))
        source[0] = page(found[1], show_solutions())
    elif (found := CHAPTER.fullmatch(docname)) and (ROOT / "solutions" / f"{found[1]}.md").exists():
        source[0] += OPEN.format(name=found[1], colab=build_notebooks.colab_url(found[1]))


def tidy_page(app: Sphinx, pagename: str, template: str, context: dict, doctree: nodes.document) -> None:
    """Keep the launch button on notebooks, since Colab cannot open a chapter's text; leave out thebe, which is not used."""
    if not NOTEBOOK.fullmatch(pagename):
        context["header_buttons"] = [
            b for b in context.get("header_buttons", []) if b.get("label") != "launch-buttons"
        ]
    for kind in ("script_files", "css_files"):
        files = context.get(kind, [])
        context[kind] = [
            file for file in files if "thebe" not in f"{file} {getattr(file, 'attributes', '')}".lower()
        ]


def as_rst(line: str) -> str:
    """One line of a docstring: formulas between dollar signs and code between backticks, as in Markdown, become RST."""
    pieces = re.split(r"(?<![`:])(`[^`]+`)(?!`)|(\$[^$]+\$)|(``.+?``)|(<\|\w+\|>)", line)
    code, formula, literal, token = pieces[1::5], pieces[2::5], pieces[3::5], pieces[4::5]
    marked = [
        f"`{c}`" if c else f":math:`{f[1:-1]}`" if f else f"``{t}``" if t else text
        for c, f, text, t in zip(code, formula, literal, token, strict=True)
    ]
    plain = [text.replace("|", "\\|") for text in pieces[0::5]]
    return "".join(text for pair in zip(plain, [*marked, ""], strict=True) for text in pair)


def read_docstring(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Let docstrings be written as Markdown is."""
    lines[:] = [line if line.lstrip().startswith(">>>") else as_rst(line) for line in lines]


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.connect("source-read", read_source)
    app.connect("html-page-context", tidy_page, priority=900)
    app.connect("autodoc-process-docstring", read_docstring)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
