"""Drawn diagrams: the whole machine with a part lit, the heads of attention, the residual stream.

They are plain SVG in a frame 340 units wide, about what a phone shows, so that text of 12 units stays readable.
"""

import html
from collections.abc import Sequence

from lecture_lib.plots.look import PALETTE
from lecture_lib.plots.picture import Picture

WIDTH = 340
PARTS = ("text", "ids", "vectors", "attention", "feed-forward", "layers", "logits", "token")


def text(x: float, y: float, words: str, bold: bool = False, anchor: str = "middle", size: float = 12) -> str:
    """Words at a place."""
    weight = ' font-weight="700"' if bold else ""
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}"{weight} stroke="none">'
        f"{html.escape(words)}</text>"
    )


def box(x: float, y: float, wide: float, high: float, words: str = "", lit: bool = False) -> str:
    """A rounded box with words in its middle; a lit one is tinted and has a thick edge."""
    edge = (
        f'stroke="{PALETTE[0]}" stroke-width="2.5" fill="{PALETTE[0]}" fill-opacity=".25"'
        if lit
        else 'fill="none"'
    )
    label = text(x + wide / 2, y + high / 2 + 4, words) if words else ""
    return f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" rx="4" {edge}/>{label}'


def cells(x: float, y: float, shades: Sequence[float], size: float = 10, color: str = PALETTE[0]) -> str:
    """A row of small squares, shaded from 0 to 1: a vector."""
    return "".join(
        f'<rect x="{x + i * size}" y="{y}" width="{size}" height="{size}" fill="{color}" fill-opacity="{s}" stroke-width=".6"/>'
        for i, s in enumerate(shades)
    )


def arrow(*points: tuple[float, float]) -> str:
    """A line through the points with a head at the last one."""
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    (x0, y0), (x, y) = points[-2:]
    dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
    head = f"M{x - 5 * dx - 3 * dy} {y - 5 * dy - 3 * dx}L{x} {y}L{x - 5 * dx + 3 * dy} {y - 5 * dy + 3 * dx}"
    return f'<path d="{path}{head}" fill="none"/>'


def drawing(parts: Sequence[str], high: float, alt: str) -> str:
    """The parts in one picture in the page's colours, as wide as a phone at least and half as wide again at most."""
    return (
        f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" viewBox="0 0 {WIDTH} {high}" width="{WIDTH * 3 // 2}"'
        f' style="max-width:100%;height:auto" fill="currentColor" stroke="currentColor" stroke-width="1"'
        f' font-family="system-ui, sans-serif">{"".join(parts)}</svg>'
    )


def machine(lit: str | Sequence[str] = (), caption: str = "", name: str | None = None) -> Picture:
    """The whole machine, from text to the next token, with the parts of a chapter lit.

    Args:
        lit: one name or several of `PARTS`: text, ids, vectors, attention, feed-forward, layers, logits, token.
        caption: text below it; empty: which parts are lit.
        name: label for references in the book.

    Returns:
        The diagram, to be displayed.

    Raises:
        ValueError: a part has another name.
    """
    lit = [lit] if isinstance(lit, str) else list(lit)
    if unknown := [part for part in lit if part not in PARTS]:
        raise ValueError(f"the machine has the parts {', '.join(PARTS)}; got {unknown[0]!r}")
    shown = f"; lit: {', '.join(lit)}" if lit else ""
    alt = (
        "Text is cut into ids, ids become vectors, layers of attention and feed-forward change them, "
        f"logits choose the next token{shown}."
    )
    default = (
        f"The whole machine; lit: {', '.join(lit)}."
        if lit
        else "The whole machine, from text to the next token."
    )
    return Picture(
        drawing(_machine({part: part in lit for part in PARTS}), 164, alt), caption or default, alt, name
    )


def _machine(on: dict[str, bool]) -> list[str]:
    """The parts of the machine from left to right, and the way back."""
    rows = (
        ("the", "17", (0.9, 0.2, 0.5, 0.1)),
        ("cat", "42", (0.1, 0.8, 0.3, 0.6)),
        ("sat", "5", (0.4, 0.5, 0.0, 0.9)),
    )
    parts = [
        box(1, 14, 38, 84, lit=on["text"]),
        box(53, 14, 30, 84, lit=on["ids"]),
        box(97, 14, 48, 84, lit=on["vectors"]),
        box(159, 6, 92, 100, lit=on["layers"]),
        box(163, 18, 84, 32, "attention", on["attention"]),
        box(163, 62, 84, 32, "feed-forward", on["feed-forward"]),
        box(265, 14, 34, 84, lit=on["logits"]),
        box(309, 40, 30, 32, "on", on["token"]),
    ]
    for y, (word, number, shades) in zip((36, 60, 84), rows, strict=True):
        parts += [text(20, y, word), text(68, y, number), cells(101, y - 9, shades)]
    for i, wide in enumerate((6, 26, 10, 3, 14, 5)):
        parts.append(f'<rect x="269" y="{22 + 12 * i}" width="{wide}" height="8" fill="{PALETTE[1]}"/>')
    parts += [
        arrow((x, 56), (x + gap, 56)) for x, gap in ((40, 12), (84, 12), (146, 12), (252, 12), (299, 9))
    ]
    for x, part in (
        (20, "text"),
        (68, "ids"),
        (121, "vectors"),
        (205, "layers"),
        (281, "logits"),
        (322, "token"),
    ):
        parts.append(text(x, 122, "layers × L" if part == "layers" else part, on[part]))
    back = arrow((324, 128), (324, 142), (20, 142), (20, 128))
    return [*parts, back, text(172, 157, "the token is appended, and the machine runs again")]


def heads(caption: str = "", name: str | None = None) -> Picture:
    """Queries, keys and values, cut into heads, mixed, and joined again.

    Args:
        caption: text below it; empty: what is seen.
        name: label for references in the book.

    Returns:
        The diagram, to be displayed.
    """
    parts = [box(2, 74, 34, 62, "X"), text(19, 152, "N × D")]
    for i, letter in enumerate("QKV"):
        y, color = 20 + 62 * i, PALETTE[i]
        parts += [
            arrow((36, 105), (50, 105), (50, y + 22), (60, y + 22)),
            text(75, y + 14, f"W_{letter.lower()}"),
        ]
        parts += [f'<path d="M60 {y + 22}L92 {y + 22}" fill="none"/>']
        parts += [
            f'<rect x="{94 + 18 * h}" y="{y}" width="16" height="44" fill="{color}" fill-opacity="{0.75 - 0.2 * h}"/>'
            for h in range(3)
        ]
        parts += [text(121, y - 5, letter, bold=True)]
        parts += [f'<path d="M148 {y + 22}L160 {y + 22}" fill="none"/>']
    parts += ['<path d="M160 42L160 166" fill="none"/>']
    for h in range(3):
        y = 40 + 48 * h
        parts += [
            arrow((160, y + 17), (172, y + 17)),
            box(174, y, 72, 34, ""),
            text(210, y + 15, f"head {h + 1}"),
        ]
        parts += [text(210, y + 28, "softmax", size=11.5), arrow((246, y + 17), (258, y + 17))]
        parts += [
            f'<rect x="260" y="{y + 9}" width="16" height="16" fill="{PALETTE[2]}" fill-opacity="{0.75 - 0.2 * h}"/>'
        ]
        parts += [f'<path d="M276 {y + 17}L286 {y + 17}" fill="none"/>']
    parts += [
        '<path d="M286 57L286 153" fill="none"/>',
        arrow((286, 105), (310, 105)),
        text(299, 121, "W_o"),
    ]
    parts += [box(312, 74, 26, 62, "Y"), text(322, 152, "N × D")]
    alt = "The tokens X become queries, keys and values; each is cut into three heads; every head mixes its values by the softmax of its scores; the results are joined and multiplied by W_o."
    default = "Many heads. Each head has its own columns of $\\mathbf Q$, $\\mathbf K$ and $\\mathbf V$; their results are joined and mixed by $\\mathbf W^{(o)}$."
    return Picture(drawing(parts, 212, alt), caption or default, alt, name)


def residual_stream(norm_first: bool = True, caption: str = "", name: str | None = None) -> Picture:
    """One layer as it reads from the residual stream and adds to it.

    Args:
        norm_first: whether the norm stands before each part (pre-LN) or behind each sum (post-LN).
        caption: text below it; empty: what is seen.
        name: label for references in the book.

    Returns:
        The diagram, to be displayed.
    """
    y, parts = 118, []
    parts += [text(2, y + 4, "X", True, "start"), text(338, y + 4, "Y", True, "end")]
    stops = [(14, 326)] if norm_first else [(14, 134), (172, 288)]  # the norms of post-LN stand on the line
    parts += [f'<path d="M{start} {y}H{end}" fill="none"/>' for start, end in stops]
    for x, label in ((22, "attention"), (176, "feed-forward")):
        plus = x + 100
        if norm_first:
            parts += [arrow((x, y), (x, 84)), box(x - 14, 56, 42, 26, "norm"), arrow((x, 56), (x, 34))]
        else:
            parts += [arrow((x, y), (x, 34)), box(plus + 12, y - 13, 38, 26, "norm")]
        parts += [box(x - 14, 6, 88, 28, label, True), arrow((x + 74, 20), (plus, 20), (plus, y - 8))]
        parts.append(f'<circle cx="{plus}" cy="{y}" r="8" fill="{PALETTE[3]}" fill-opacity=".45"/>')
        parts.append(text(plus, y + 4.5, "+", True, size=14))
    order = "pre-LN" if norm_first else "post-LN"
    alt = f"A line from X to Y, the residual stream. Attention, then the feed-forward network, read from it and add their result to it; the norms stand {'before each part' if norm_first else 'on the line, behind each sum'}."
    default = (
        f"One layer ({order}). The residual stream runs through; each part reads from it and adds to it."
    )
    return Picture(drawing(parts, 138, alt), caption or default, alt, name)
