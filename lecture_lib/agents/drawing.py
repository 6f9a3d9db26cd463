"""An architecture as a drawing: a row for each component, as many boxes as it gives answers."""

from collections.abc import Sequence

from lecture_lib.plots import Picture
from lecture_lib.plots.diagrams import arrow, box, drawing, text

ROW, HIGH, LEFT, RIGHT, MOST = 44, 24, 128, 336, 10


def architecture(
    rows: Sequence[tuple[str, int]], stages: Sequence = (), caption: str = "", label: str | None = None
) -> Picture:
    """Draw components, given as (name, width), from the question at the top to the answer at the bottom.

    Args:
        rows: name and number of answers of each component; more than ten boxes are drawn as ten.
        stages: what each did in a run, as far as it came; one with failures is lit.
        caption: text below it; empty: the components by name.
        label: for references in the book.
    """
    names = [_named(name, width) for name, width in rows]
    parts, middle = [text(232, 15, "question", True)], (LEFT + RIGHT) / 2
    for i, (_, width) in enumerate(rows):
        y, stage = 36 + ROW * i, stages[i] if i < len(stages) else None
        parts += [
            arrow((middle, y - 16), (middle, y - 2)),
            text(4, y + (12 if stage else 17), names[i], True, "start"),
        ]
        if stage:
            words = f"{stage.calls} calls" + (", failures" if stage.failures else "")
            parts.append(text(4, y + 26, words, anchor="start", size=11.5))
        shown = min(width, MOST)
        wide = min(60.0, (RIGHT - LEFT + 4) / shown - 4)
        start = middle - (shown * (wide + 4) - 4) / 2
        parts += [
            box(round(start + (wide + 4) * k, 1), y, round(wide, 1), HIGH, lit=bool(stage and stage.failures))
            for k in range(shown)
        ]
    end = 36 + ROW * len(rows)
    parts += [arrow((middle, end - 16), (middle, end - 2)), text(232, end + 12, "answer", True)]
    chain = ", ".join(names)
    alt = f"From the question to the answer, one below the other: {chain}."
    return Picture(drawing(parts, end + 20, alt), caption or f"An architecture: {chain}.", alt, label)


def _named(name: str, width: int) -> str:
    return name if width == 1 else f"{width} {name}s"
