"""Charts that a reader steers: Vega-Lite, computed where they are seen.

JupyterLab draws them itself, Colab does with Vega from the network, and in the book the site's own copy of Vega; no kernel is needed.
"""

import hashlib
import html
import json
import os
import sys
from typing import Any

MIME = "application/vnd.vegalite.v5+json"
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
SITE = "LECTURE_LIB_SITE"  # set while the book is built
TEXT = {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "titleFontSize": 12}
LOOK = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": TEXT
    | {
        "titleFontWeight": "normal",
        "grid": False,
        "domainColor": "currentColor",
        "tickColor": "currentColor",
    },
    "legend": TEXT,
    "header": TEXT,
    "text": {"color": "currentColor", "fontSize": 12},
    "title": {
        "color": "currentColor",
        "subtitleColor": "currentColor",
        "fontSize": 12,
        "fontWeight": "normal",
        "anchor": "start",
    },
}


class Chart:
    """A chart with its inputs, a caption, and words that follow the setting.

    Args:
        spec: the Vega-Lite specification.
        caption: what is seen and what follows.
        alt: what the chart shows, for readers who cannot see it.
        name: label for references in the book.
    """

    def __init__(self, spec: dict[str, Any], caption: str, alt: str, name: str | None = None):
        options = {"embedOptions": {"renderer": "svg", "actions": False}}
        self.spec = spec | {
            "$schema": SCHEMA,
            "description": alt,
            "config": LOOK | spec.get("config", {}),
            "usermeta": options,
        }
        self.caption, self.alt, self.name = caption, alt, name

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        if os.environ.get(SITE):
            return {"text/html": self.html(), "text/plain": self.alt}
        if "google.colab" in sys.modules:
            return {"text/html": self._with_network(), "text/plain": self.alt}
        return {MIME: self.spec, "text/plain": self.alt}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        display(bundle, raw=True)
        if MIME in bundle:  # JupyterLab draws the chart alone, so its caption follows as text
            caption = f"<p class='course-caption'>{html.escape(self.caption, quote=False)}</p>"
            display({"text/html": caption, "text/plain": self.caption}, raw=True)

    def html(self) -> str:
        """The chart as the book's pages hold it: `charts.js` draws it."""
        spec = json.dumps(self.spec, separators=(",", ":")).replace("</", "<\\/")
        name = f" data-name='{html.escape(self.name)}'" if self.name else ""
        return (
            f"<figure class='course-figure'{name}><div class='course-chart'>"
            f"<script type='application/json'>{spec}</script></div>"
            f"<figcaption>{html.escape(self.caption, quote=False)}</figcaption></figure>"
        )

    def _with_network(self) -> str:
        from altair.utils.html import spec_to_html

        key = "chart-" + hashlib.sha256(json.dumps(self.spec).encode()).hexdigest()[:8]
        versions = {"vega_version": "5", "vegalite_version": "5", "vegaembed_version": "6"}
        page = spec_to_html(self.spec, "vega-lite", output_div=key, fullhtml=False, **versions)
        return f"<figure>{page}<figcaption>{html.escape(self.caption, quote=False)}</figcaption></figure>"


def chart(picture: Any, caption: str, alt: str, name: str | None = None) -> Chart:
    """Give an Altair chart the course's look, a caption, and words.

    A mark or layer whose name is `words` is text that says what the present setting shows: the book's pages read it out.

    Args:
        picture: an Altair chart of any kind, or a Vega-Lite specification.
        caption: what is seen and what follows from it.
        alt: what the chart shows, for readers who cannot see it.
        name: label for references in the book.

    Returns:
        An object that a notebook or a page displays; let it be the last line of a cell.

    Raises:
        ValueError: caption or alt is empty.
    """
    if not caption.strip() or not alt.strip():
        raise ValueError(f"a chart needs a caption and an alt text: got {caption!r} and {alt!r}")
    spec = picture if isinstance(picture, dict) else picture.to_dict()
    spec = {key: value for key, value in spec.items() if key != "config"}
    return Chart(spec, caption, alt, name)


def radio(name: str, options: Any, start: Any = None, label: str = "") -> Any:
    """A parameter of a chart that is set by radio buttons.

    Args:
        name: the parameter's name in the chart.
        options: the values.
        start: value at first; None: the first option.
        label: words beside the buttons; empty: the name.

    Returns:
        An Altair parameter.
    """
    import altair

    options = list(options)
    bind = altair.binding_radio(options=options, name=f"{label or name} ")
    return altair.param(name=name, value=options[0] if start is None else start, bind=bind)
