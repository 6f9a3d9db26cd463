"""Curves with a slider, and the clocks of rotary positions, computed where they are seen."""

from collections.abc import Mapping, Sequence
from typing import Any

from lecture_lib.plots.charts import Chart, chart, radio
from lecture_lib.plots.look import PALETTE


def curves(
    table: Mapping[str, Sequence],
    x: str,
    y: str | Sequence[str],
    series: str,
    steer: str,
    caption: str,
    alt: str,
    start: object = None,
    log: bool = False,
    name: str | None = None,
) -> Chart:
    """Curves of several series against x; the reader chooses the value of one more column.

    Args:
        table: columns of equal length.
        x: column on the horizontal axis.
        y: column on the vertical axis, or several, one panel each, one below the other.
        series: column whose values get a curve each.
        steer: column that the reader sets: a slider if its values are evenly spaced numbers, else radio buttons.
        caption: what is seen and what follows from it.
        alt: what the chart shows, for readers who cannot see it.
        start: value of `steer` at first; None: its last one.
        log: whether the vertical axes are logarithmic.
        name: label for references in the book.

    Returns:
        The chart, to be displayed.
    """
    import altair

    columns = {key: [getattr(value, "item", lambda v=value: v)() for value in table[key]] for key in table}
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    settings, names = sorted(set(columns[steer])), list(dict.fromkeys(columns[series]))
    steps = (
        {b - a for a, b in zip(settings, settings[1:], strict=False)}
        if isinstance(settings[0], int | float)
        else {}
    )
    start = settings[-1] if start is None else start
    chosen = radio("chosen", settings, start, label=steer)
    if len(steps) == 1:
        slider = altair.binding_range(min=settings[0], max=settings[-1], step=steps.pop(), name=f"{steer} ")
        chosen = altair.param(name="chosen", value=start, bind=slider)
    base = altair.Chart(altair.Data(values=records)).transform_filter(f"datum[{steer!r}] == chosen")
    panels = [
        _panel(base, x, column, series, names, log).properties(width=270, height=150)
        for column in ([y] if isinstance(y, str) else y)
    ]
    return chart(altair.vconcat(*panels).add_params(chosen), caption, alt, name)


def _panel(base: Any, x: str, y: str, series: str, names: Sequence[str], log: bool) -> Any:
    """One panel: lines with points, and above them the last value of each curve in words."""
    import altair

    colors = altair.Scale(domain=names, range=PALETTE[: len(names)])
    scale = altair.Scale(type="log") if log else altair.Scale(zero=True)
    line = base.mark_line(point={"size": 22}).encode(
        altair.X(f"{x}:Q"),
        altair.Y(f"{y}:Q", scale=scale, title=None),
        altair.Color(f"{series}:N", scale=colors, legend=None),
        tooltip=[f"{x}:Q", altair.Tooltip(f"{y}:Q", format=".3g"), f"{series}:N"],
    )
    row = f"-10 - 16 * ({len(names) - 1} - indexof({names}, datum[{series!r}]))"
    last = base.transform_joinaggregate(last=f"max({x})").transform_filter(f"datum[{x!r}] == datum.last")
    last = last.transform_calculate(
        row=row, words=f"datum[{series!r}] + ': {y}, at the end ' + format(datum[{y!r}], '.2g')"
    )
    height = altair.Y("row:Q", scale=None, axis=None)
    dot = last.mark_circle(size=70, opacity=1).encode(
        altair.XValue(4), height, altair.Color(f"{series}:N", scale=colors, legend=None)
    )
    text = last.mark_text(align="left").encode(altair.XValue(12), height, text="words:N")
    return altair.layer(line, dot, text.properties(name=f"words_{y}".replace(" ", "_")))


def rotary_clocks(
    d_head: int = 8,
    theta: float = 10000.0,
    longest: int = 64,
    caption: str = "",
    name: str | None = None,
) -> Chart:
    """The clocks of rotary positions: a hand for the query, a hand for the key, and the score by their distance.

    Args:
        d_head: features of a head; each pair of them is one clock.
        theta: base of the frequencies; clock i turns by `theta ** (-2 i / d_head)` a place.
        longest: largest place.
        caption: text below it; empty: what is seen.
        name: label for references in the book.

    Returns:
        The chart, to be displayed.
    """
    import altair

    speeds = [theta ** (-2 * i / d_head) for i in range(d_head // 2)]
    places = [
        altair.param(
            name=each,
            value=value,
            bind=altair.binding_range(min=0, max=longest, step=1, name=f"place of the {each} "),
        )
        for each, value in (("query", 20), ("key", 14))
    ]
    mean = " + ".join(f"cos(datum.distance * {speed:.8g})" for speed in speeds)
    distances = [{"distance": d} for d in range(-longest, longest + 1)]
    score = altair.Chart(altair.Data(values=distances)).transform_calculate(score=f"({mean}) / {len(speeds)}")
    here = score.transform_filter("datum.distance == query - key")
    sentence = "'distance ' + datum.distance + ': score ' + format(datum.score, '.2f')"
    line = score.mark_line(color=PALETTE[0]).encode(
        altair.X("distance:Q", title="place of the query − place of the key"),
        altair.Y("score:Q", title="score", scale=altair.Scale(domain=[-1, 1])),
    )
    dot = here.mark_point(filled=True, color=PALETTE[1], size=90, opacity=1).encode(
        x="distance:Q", y="score:Q"
    )
    words = here.transform_calculate(words=sentence).mark_text(align="left")
    words = words.encode(x=altair.value(0), y=altair.value(-10), text="words:N").properties(name="words")
    curve = altair.layer(line, dot, words).properties(width=280, height=120)
    default = (
        "One clock for each pair of features. The place of a token sets the hands: blue for the query, red for the key. "
        "Move both by the same number of places: the angles between the hands stay, and so does the score."
    )
    alt = f"{len(speeds)} clocks with a hand for the query and one for the key, and the score against their distance."
    return chart(altair.vconcat(_clocks(speeds), curve).add_params(*places), caption or default, alt, name)


def _clocks(speeds: Sequence[float]) -> Any:
    """The clock faces, four in a row."""
    import altair

    faces = [{"x": i % 4, "y": -(i // 4), "speed": speed} for i, speed in enumerate(speeds)]
    rows = -(-len(speeds) // 4)
    base = altair.Chart(altair.Data(values=faces))
    across = altair.X("x:Q", axis=None, scale=altair.Scale(domain=[-0.5, 3.5]))
    up = altair.Y("y:Q", axis=None, scale=altair.Scale(domain=[0.5 - rows, 0.5]))
    layers = [
        base.mark_point(shape="circle", size=2600, filled=False, color=PALETTE[5], opacity=1).encode(
            across, up
        )
    ]
    for token, color, length in (("query", PALETTE[0], 0.4), ("key", PALETTE[1], 0.3)):
        hand = base.transform_calculate(
            tip_x=f"datum.x + {length} * cos({token} * datum.speed)",
            tip_y=f"datum.y + {length} * sin({token} * datum.speed)",
        )
        layers.append(
            hand.mark_rule(color=color, strokeWidth=3).encode(across, up, x2="tip_x:Q", y2="tip_y:Q")
        )
    return altair.layer(*layers).properties(width=280, height=70 * rows)
