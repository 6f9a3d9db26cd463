"""What a student writes never runs in the instructor's browser: a graded copy as formgrader shows it, in a real one."""

import json

import nbformat
import pytest
from browser import needs_chromium, opened
from classroom import code, raw, release, solved
from nbconvert import HTMLExporter
from test_grading_text import MARKDOWN

from lecture_lib.grading.safe import graded_copy
from lecture_lib.grading.triage import triage

HARMLESS = "A score $a<b$ and `x<y` and **bold**, [a link](https://example.org/x)."
EVIL = [
    *MARKDOWN,
    '<img src=x onerror="window.won=1">',
    "<svg><script>window.won=1</script></svg>",
    "<details open ontoggle=window.won=1>x</details>",
    "<a href=javascript:window.won=1 id=go>go</a>",
    "[go](javascript:window.won=1) ![x](javascript:window.won=1)",
    "[go][r]\n\n[r]: javascript:window.won=1",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=window.won=1>",
    "$\\href{javascript:window.won=1}{x}$",
    "`` ` <script>window.won=1</script> ``\n\n    <script>window.won=1</script>",
    "</div></body><script>window.won=1</script>",
]
LOOK = """() => ({
  won: window.won,
  tags: [...document.querySelectorAll('.jp-RenderedMarkdown *, .jp-OutputArea *')]
    .map(e => e.tagName.toLowerCase()).filter(t => ['script','iframe','style','object','embed','form','svg','link','meta','details'].includes(t)),
  on: [...document.querySelectorAll('.jp-RenderedMarkdown *, .jp-OutputArea *')]
    .flatMap(e => [...e.attributes].map(a => a.name)).filter(n => n.startsWith('on')),
  links: [...document.querySelectorAll('.jp-RenderedMarkdown a')].map(a => a.href).filter(h => /^(javascript|data|vbscript):/i.test(h)),
  text: document.body.innerText,
})"""


@pytest.mark.browser
@needs_chromium
def test_nothing_of_a_submission_acts_in_the_browser(tmp_path):
    notebook = solved()
    cells = [
        {"cell_type": "markdown", "id": f"m{i}", "metadata": {}, "source": text}
        for i, text in enumerate([HARMLESS, *EVIL])
    ]
    output = {
        "output_type": "display_data",
        "metadata": {},
        "data": {"text/html": EVIL[1], "image/svg+xml": "<svg onload=window.won=1>"},
    }
    stream = {"output_type": "stream", "name": "stdout", "text": "<script>window.won=1</script>"}
    cells.append({**code("'<script>window.won=1</script>'"), "outputs": [output, stream]})
    notebook["cells"] = [*notebook["cells"], *cells]
    as_it_came = json.loads(raw(notebook))
    for each in as_it_came["cells"]:
        each["source"] = "".join(each["source"])
    assert seen_in_browser(as_it_came, tmp_path, follow=False)["won"], (
        "the attacks do not work: they test nothing"
    )
    seen = seen_in_browser(json.loads(graded_copy(triage(raw(notebook), json.loads(release())))), tmp_path)
    assert not seen["won"] and not seen["tags"] and not seen["on"] and not seen["links"], seen
    assert "x<y" in seen["text"].replace("\u2060", "") and "bold" in seen["text"]


def seen_in_browser(notebook, folder, follow=True):
    """What a browser makes of a notebook in nbconvert's page, and of every link in it that is no address."""
    page = folder / "page.html"
    page.write_text(HTMLExporter().from_notebook_node(nbformat.from_dict(notebook))[0], encoding="utf-8")
    with opened() as browser:
        tab = browser.new_page()
        tab.route("http*://**", lambda route: route.abort())
        tab.goto(page.as_uri())
        for link in tab.query_selector_all(".jp-RenderedMarkdown a") if follow else ():
            if not (link.get_attribute("href") or "").startswith("http"):
                link.evaluate("each => each.click()")
        tab.wait_for_timeout(500)
        return tab.evaluate(LOOK)
