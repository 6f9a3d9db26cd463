"""A drawn diagram: steps one below the other, each with a note beside it."""

from collections.abc import Sequence

from lecture_lib.plots.diagrams import arrow, box, drawing, text
from lecture_lib.plots.picture import Picture

HIGH, STEP, WIDE = 26, 40, 160  # a box, a box with its arrow, a box's width


def chain(steps: Sequence[tuple[str, str]], caption: str, alt: str, name: str | None = None) -> Picture:
    """Steps from top to bottom, with an arrow from each to the next.

    Args:
        steps: words of a box, and the note at its right; up to 24 letters each.
        caption: text below it.
        alt: words for readers who cannot see it; the steps and notes are added.
        name: label for references in the book.

    Returns:
        The diagram, to be displayed.
    """
    parts = []
    for place, (words, note) in enumerate(steps):
        y = 2 + place * STEP
        parts += [box(2, y, WIDE, HIGH, words), text(WIDE + 12, y + 17, note, anchor="start")]
        if place:
            parts.append(arrow((2 + WIDE / 2, y - STEP + HIGH + 1), (2 + WIDE / 2, y - 1)))
    said = f"{alt} " + ", ".join(f"{words} ({note})" for words, note in steps) + "."
    high = 4 + STEP * (len(steps) - 1) + HIGH
    return Picture(drawing(parts, high, said), caption, said, name)
