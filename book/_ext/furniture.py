"""What stands around the text of a page: the line below the title, and no more buttons and scripts than are used."""

import html
import re
from pathlib import Path

from chapters import CHAPTER, NOTEBOOK
from docutils import nodes
from sphinx.application import Sphinx

from scripts.settings import ROOT, colab_url, repository

WORDS_A_MINUTE = 150  # for a text with formulas, read in a second language
UNUSED = "thebe"


# What the theme and its parts write and a page does without. The script of 1.5 MB draws icons that the style sheet has as a font, too.
# The rest tells a reader aloud something wrong: a name that is not what is seen, none at all, a list without items.
REPAIRS = {
    re.compile(r"<script[^>]*scripts/fontawesome\.js[^>]*></script>"): "",
    re.compile(r' aria-label="Toggle hidden content"'): "",
    re.compile(r'<div role="list" class="citation-list">'): '<div class="citation-list">',
    re.compile(
        r'<summary>(?=<span class="toctree-toggle")'
    ): '<summary aria-label="the pages below this one">',
    re.compile(r'(<button[^>]*search-button-field[^>]*?) aria-label="Search"'): r"\1",
}


def minutes(doctree: nodes.document) -> int:
    """Minutes to read a page: its words, and a third of a minute for each formula set apart and each figure."""
    words = sum(len(paragraph.astext().split()) for paragraph in doctree.findall(nodes.paragraph))
    slow = len(list(doctree.findall(nodes.math_block))) + len(list(doctree.findall(nodes.figure)))
    return max(1, round(words / WORDS_A_MINUTE + slow / 3))


def links(pagename: str) -> list[tuple[str, str]]:
    """Words and address of the ways out of a page."""
    up = "../" * pagename.count("/")
    url, branch = repository()
    found = CHAPTER.fullmatch(pagename) or NOTEBOOK.fullmatch(pagename)
    source = f"{pagename}.md"
    ways = []
    if found and (ROOT / "solutions" / f"{found[1]}.md").exists():
        notebook = f"notebooks/{found[1]}/{found[1]}"
        if not NOTEBOOK.fullmatch(pagename):
            ways.append(("Exercises", f"{up}{notebook}.html"))
        ways += [("Open in Colab", colab_url(found[1])), ("Notebook", f"{up}_sources/{notebook}.ipynb")]
        source = f"{notebook}.ipynb" if NOTEBOOK.fullmatch(pagename) else source
    return [*ways, ("Source", f"{url}/blob/{branch}/{source}")]


def line(pagename: str, doctree: nodes.document) -> str:
    """The line below a title: minutes, and the ways to Colab, notebook and source."""
    ways = "".join(
        f'<a class="course-way" href="{html.escape(address)}"{" download" * (words == "Notebook")}>{words}</a>'
        for words, address in links(pagename)
    )
    time = f"<span>{minutes(doctree)} min to read</span>" if CHAPTER.fullmatch(pagename) else ""
    return f'<p class="course-line">{time}{ways}</p>'


def tidy_page(app: Sphinx, pagename: str, template: str, context: dict, doctree: nodes.document) -> None:
    """Put the line below the title; leave out scripts and buttons that are not used."""
    context["header_buttons"] = [
        button
        for button in context.get("header_buttons", [])
        if button.get("label") not in ("launch-buttons", "download-buttons", "download-source-button")
    ]
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file
            for file in context.get(kind, [])
            if UNUSED not in f"{file} {getattr(file, 'attributes', '')}".lower()
        ]
    if doctree is not None and (ROOT / f"{pagename}.md").exists() or NOTEBOOK.fullmatch(pagename):
        context["body"] = re.sub(r"</h1>", f"</h1>\n{line(pagename, doctree)}", context["body"], count=1)


def repair_pages(app: Sphinx, error: Exception | None) -> None:
    """Repair what the theme writes into every page, and drop the script that no page loads."""
    if error is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        repaired = text = path.read_text(encoding="utf-8")
        for wrong, right in REPAIRS.items():
            repaired = wrong.sub(right, repaired)
        if repaired != text:
            path.write_text(repaired, encoding="utf-8")
    for path in (Path(app.outdir) / "_static" / "scripts").glob("fontawesome.js*"):
        path.unlink()
