"""A chapter's notebook shown from its executed solution, and the box that leads from a chapter to its notebook."""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector

from scripts import run, shown
from scripts.settings import ROOT, colab_url

NOTEBOOK = re.compile(r"notebooks/(\d\d_\w+)/\1")
CHAPTER = re.compile(r"book/(\d\d_\w+)")
OPEN = """

```{{admonition}} Now solve it
:class: tip
The exercises of this chapter: [read them here](../notebooks/{name}/{name}.ipynb),
[open them in Colab]({colab}), or download
{{download}}`the notebook <../notebooks/{name}/{name}.ipynb>` and open it in JupyterLab.
```
"""


def read_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace a released notebook by its executable page; end a chapter with the ways to its notebook."""
    if (record := run.record_path(docname)).exists():
        app.env.note_dependency(str(record))  # new outputs: the page is read again
    if found := NOTEBOOK.fullmatch(docname):
        app.env.note_dependency(str(ROOT / "solutions" / f"{found[1]}.md"))
        source[0] = shown.page(found[1], shown.show_solutions())
    elif (found := CHAPTER.fullmatch(docname)) and (ROOT / "solutions" / f"{found[1]}.md").exists():
        source[0] += OPEN.format(name=found[1], colab=colab_url(found[1]))


def number_by_name() -> None:
    """Let a chapter have the number of its file, also while chapters before it are missing; its figures follow."""
    figures = TocTreeCollector.assign_figure_numbers  # runs when all chapters have been counted

    def assign_figure_numbers(self: TocTreeCollector, env: BuildEnvironment) -> list[str]:
        for docname, numbers in env.toc_secnumbers.items():
            if found := CHAPTER.fullmatch(docname):
                own = int(found[1][:2])
                numbers |= {anchor: (own, *n[1:]) for anchor, n in numbers.items() if n}
                for node in (env.titles[docname], *env.tocs[docname].findall(nodes.reference)):
                    if node.get("secnumber"):
                        node["secnumber"] = [own, *node["secnumber"][1:]]
        return figures(self, env)

    TocTreeCollector.assign_figure_numbers = assign_figure_numbers
