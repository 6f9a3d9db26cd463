"""A chapter's notebook shown from its executed solution, and the box that leads from a chapter to its notebook."""

import re

from sphinx.application import Sphinx

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
