"""Figures of the course: one look for all, and the few kinds of picture that several chapters draw.

Every function draws on the axes it is given, or on a new figure, and returns the axes; notebooks and pages add titles.
"""

import html
import zlib
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

STYLE = {
    "figure.figsize": (6.4, 3.4),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": plt.cycler(color=["#0b62a4", "#d1495b", "#2e7d32", "#edae49", "#6a4c93", "#5c6770"]),
    "font.size": 10,
    "legend.frameon": False,
    "svg.hashsalt": "course",
}


def use_style() -> None:
    """Take the course's look for all figures that follow."""
    plt.rcParams.update(STYLE)


def heat_map(
    values: object,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    axes: Axes | None = None,
    limit: float | None = None,
) -> Axes:
    """Show a matrix as colours: white is zero, dark is large; red is negative.

    Args:
        values: (N, M) numbers, a tensor or an array.
        rows: N labels, such as the tokens that ask.
        columns: M labels, such as the tokens that are looked at.
        axes: where to draw; None: a new figure.
        limit: value of the darkest colour; None: the largest magnitude.

    Returns:
        The axes.

    Raises:
        ValueError: the values are not a matrix, or the labels do not fit it.
    """
    matrix = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=float)
    if matrix.ndim != 2 or len(rows) not in (0, len(matrix)) or len(columns) not in (0, matrix.shape[1]):
        raise ValueError(
            f"a matrix with fitting labels is needed: got {matrix.shape}, {len(rows)} rows, {len(columns)} columns"
        )
    axes = axes or plt.figure().gca()
    limit = limit or np.abs(matrix).max() or 1.0
    low, colors = (-limit, "RdBu") if matrix.min() < 0 else (0, "Blues")
    axes.imshow(matrix, vmin=low, vmax=limit, cmap=colors, aspect="equal")
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    return axes


def token_boxes(tokens: Sequence[str]) -> str:
    """Show tokens as coloured boxes in a row; the same token has the same colour, spaces are drawn as ␣.

    Args:
        tokens: (N,) the text of each token.

    Returns:
        A piece of HTML, readable on light and dark pages.
    """
    colors = ["#cfe3f3", "#f6d3d8", "#d3ead5", "#f9e6c2", "#e0d6ec", "#dbe0e4"]
    boxes = []
    for token in tokens:
        text = html.escape(token.replace(" ", "␣").replace("\n", "⏎"))
        color = colors[zlib.crc32(token.encode(errors="replace")) % len(colors)]
        style = f"background:{color};color:#111;border-radius:.25em;padding:.1em .3em;margin:.1em;display:inline-block"
        boxes.append(f"<code style='{style}'>{text}</code>")
    return f"<div style='line-height:2'>{''.join(boxes)}</div>"
