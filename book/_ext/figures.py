"""Figures of `lecture_lib.plots` and `lecture_lib.widgets`: captions that are set, numbers, targets for references."""

import html
import re
from pathlib import Path

from docutils import nodes
from sphinx.transforms import SphinxTransform

FIGURE = re.compile(
    r"<figure class='course-figure'(?: data-name='([^']*)')?[^>]*>(.*)<figcaption>(.*)</figcaption></figure>\s*",
    re.DOTALL,
)
NAME = re.compile(r'\bname="(fig-[\w-]+)"')
MARKUP = re.compile(r"\$([^$]+)\$|\*\*([^*]+)\*\*|\*([^*]+)\*|`([^`]+)`")


def inline(text: str) -> list[nodes.Node]:
    """A caption's text with math, bold, emphasis and code as nodes."""
    found, at = [], 0
    for piece in MARKUP.finditer(text):
        found.append(nodes.Text(text[at : piece.start()]))
        kinds = (nodes.math, nodes.strong, nodes.emphasis, nodes.literal)
        found += [kind("", inner) for kind, inner in zip(kinds, piece.groups(), strict=True) if inner]
        at = piece.end()
    return [*found, nodes.Text(text[at:])]


class Figures(SphinxTransform):
    """Outputs that are figures of the course become figures of the book."""

    default_priority = 400

    def apply(self, **kwargs: object) -> None:
        """Replace each output by a numbered figure."""
        outputs = [
            node for node in self.document.findall(nodes.container) if node.get("nb_element") == "mime_bundle"
        ]
        if not outputs and self.env.docname.startswith("book/"):
            self._hold_places()
        place = 0
        for output in outputs:
            raw = next((node for node in output.findall(nodes.raw) if node["format"] == "html"), None)
            found = raw is not None and FIGURE.fullmatch(raw.astext().strip())
            if found:
                place += 1
                output.replace_self(self._figure(*found.groups(), place))

    def _hold_places(self) -> None:
        """A build that has not run the page still knows its figures, so that references to them lead somewhere."""
        text = Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8")
        for name in NAME.findall(text):
            self.document += self._figure(name, "", "Not drawn: this build has not run the page.", 0)

    def _figure(self, name: str | None, body: str, caption: str, place: int) -> nodes.figure:
        figure = nodes.figure("", nodes.raw("", body, format="html"), classes=["course-figure"])
        figure += nodes.caption("", "", *inline(html.unescape(caption)))
        figure["names"].append(name or f"fig-{self.env.docname.split('/')[-1]}-{place}")
        self.document.note_explicit_target(figure, figure)
        return figure
