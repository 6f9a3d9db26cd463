"""Docstrings: written as Markdown is in the reference, folded where a chapter prints a function."""

import ast
import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

LONG = 4  # lines from which a printed docstring is folded


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


def read_member(app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object) -> bool | None:
    """Leave out what a package only passes on: a name is described where it is at home."""
    home, here = getattr(thing, "__module__", None) or "", app.env.temp_data.get("autodoc:module") or ""
    passed_on = (
        home.startswith("lecture_lib.")
        and home.split(".")[1] != here.partition("lecture_lib.")[2].split(".")[0]
    )
    return True if what == "module" and here and passed_on else None


def split(code: str) -> tuple[str, str] | None:
    """Code with its first long docstring cut to the first line, and that docstring; None if there is none."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            first, last = node.body[0].lineno, node.body[0].end_lineno
            if last - first + 1 >= LONG:
                lines = code.splitlines()
                lines[first - 1 : last] = [lines[first - 1].rstrip() + ' ..."""']
                return "\n".join(lines), text
    return None


class Fold(SphinxTransform):
    """A function that a chapter prints shows the first line of its docstring; the rest unfolds below."""

    default_priority = 410

    def apply(self, **kwargs: object) -> None:
        """Fold the long docstrings of a chapter's code blocks."""
        if not self.env.docname.startswith("book/"):
            return
        for block in list(self.document.findall(nodes.literal_block)):
            if block.get("language") not in ("python", "ipython3") or not (parts := split(block.astext())):
                continue
            block.rawsource, block.children = parts[0], [nodes.Text(parts[0])]
            whole = nodes.literal_block(parts[1], parts[1], language="none")
            opening = '<details class="course-docstring"><summary>its whole docstring</summary>'
            folded = [
                nodes.raw("", opening, format="html"),
                whole,
                nodes.raw("", "</details>", format="html"),
            ]
            parent = block.parent
            parent[parent.index(block) + 1 : parent.index(block) + 1] = folded
