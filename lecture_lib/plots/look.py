"""The look of all figures: colours that stand out on white, on black and on Colab's grey, and black that follows the page.

A matplotlib figure becomes a piece of SVG without a background, whose black parts take the colour of the text around it.
"""

import hashlib
import html
import io
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each colour has a contrast of at least 3 to 1 with white, with #383838 and with black.
PALETTE = ["#3c87c8", "#d9604f", "#3a9b52", "#bf8412", "#9a78d0", "#7f8b94"]
INK = "#010101"  # becomes the page's colour of text
STYLE = {
    "figure.figsize": (4.3, 2.9),  # on a phone it is drawn 330 pixels wide, and 11 points become 11 pixels
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "font.size": 11,
    "legend.fontsize": "medium",
    "legend.frameon": False,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)


def use_style() -> None:
    """Take the course's look for all figures that follow; a figure that a cell leaves behind is shown in it, too."""
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    plt.rcParams.update(STYLE | {"axes.prop_cycle": plt.cycler(color=PALETTE)})
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shell.display_formatter.formatters["text/html"].for_type(Figure, svg)


def svg(figure: "Figure", alt: str = "") -> str:
    """A figure as a piece of SVG in the page's colours.

    Args:
        figure: a matplotlib figure.
        alt: what it shows, for readers who cannot see it.

    Returns:
        The `<svg>` element; the same figure gives the same text.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "course"}
    ):  # text stays text; ids are the same every time
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"<(metadata|title)>.*?</\1>", "", file.getvalue(), flags=re.DOTALL)
    opening, _, body = text[text.index("<svg") :].partition(">")
    box = re.search(r'viewBox="0 0 (\S+) (\S+)"', opening)
    wide, high = (round(float(size) * 4 / 3) for size in box.groups())  # points to pixels
    body = body.replace(INK, "currentColor").replace("#000000", "currentColor")
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", body)
    words = f'role="img" aria-label="{html.escape(alt, quote=True)}"'
    size = f'width="{wide}" height="{high}" style="max-width:100%;height:auto"'
    return _own_ids(f'<svg {words} {size} {box[0]} fill="currentColor">{body.rstrip()}')


def _own_ids(text: str) -> str:
    """Ids that no other figure of the page has; those that nothing refers to go."""
    key = hashlib.sha256(text.encode()).hexdigest()[:8]
    used = set(re.findall(r"#([\w.-]+)[\")]", text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: f' id="{key}-{found[1]}"' * (found[1] in used), text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", text).replace("xlink:href", "href")
