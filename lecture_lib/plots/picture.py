"""A figure with caption and words, as a notebook or a page displays it."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lecture_lib.plots.look import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE_BY_SIDE = "display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start"


class Picture:
    """A piece of HTML with a caption; the book gives it a number.

    Args:
        body: HTML of the figure itself.
        caption: what is seen and what follows; `$...$`, `*...*` and `` `...` `` are set as in Markdown.
        alt: what the figure shows, for readers who cannot see it.
        name: label for references to it in the book.
    """

    def __init__(self, body: str, caption: str, alt: str, name: str | None = None):
        self.body, self.caption, self.alt, self.name = body, caption, alt, name

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        name = f" data-name='{html.escape(self.name)}'" if self.name else ""
        caption = f"<figcaption>{html.escape(self.caption, quote=False)}</figcaption>"
        return f"<figure class='course-figure'{name} style='margin:1em 0'>{self.body}{caption}</figure>"


def show(
    figures: "Figure | Sequence[Figure]", caption: str, alt: str | Sequence[str], name: str | None = None
) -> Picture:
    """Show a matplotlib figure, or several side by side (on a phone one below the other), and close it.

    Args:
        figures: one figure, or one a panel; each at most 4.3 inches wide, so that its text can be read on a phone.
        caption: what is seen and what follows from it; `$...$`, `*...*` and `` `...` `` are set as in Markdown.
        alt: what the figure shows, for readers who cannot see it; one text, or one a panel.
        name: label for references in the book, such as `fig-entropy`.

    Returns:
        An object that a notebook or a page displays; let it be the last line of a cell.

    Raises:
        ValueError: caption or alt is empty, or the panels and their texts differ in number.
    """
    from matplotlib import pyplot as plt

    panels = list(figures) if isinstance(figures, list | tuple) else [figures]
    texts = [alt, *[""] * (len(panels) - 1)] if isinstance(alt, str) else list(alt)
    if not caption.strip() or not texts[0].strip() or len(texts) != len(panels):
        raise ValueError(
            f"a caption and an alt text are needed, for {len(panels)} panels one text or as many: got {alt!r}"
        )
    pictures = [svg(panel, text) for panel, text in zip(panels, texts, strict=True)]
    for panel in panels:
        plt.close(panel)
    body = "".join(
        p if text else p.replace('role="img"', 'aria-hidden="true"', 1)
        for p, text in zip(pictures, texts, strict=True)
    )
    return Picture(f"<div style='{SIDE_BY_SIDE}'>{body}</div>", caption, " ".join(texts).strip(), name)
