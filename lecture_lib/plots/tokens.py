"""Tokens as coloured boxes."""

import html
import zlib
from collections.abc import Sequence


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
