"""The belief of a reader of three hidden states: a path in a triangle, for a text that the reader of the page chooses."""

from collections.abc import Sequence
from typing import Any

from lecture_lib.plots.charts import Chart, chart
from lecture_lib.plots.look import PALETTE

NAMES, HEIGHT = "ABC", 0.75**0.5  # the corners, and the height of the triangle


def belief_path(
    ids: Any, exact: Any, read: Any, start: Sequence[int], caption: str, alt: str, name: str | None = None
) -> Chart:
    """The path of the belief during a text of N tokens, and what a network's vectors say of it at the end.

    Args:
        ids: all texts of N tokens, (3^N, N) integers from 0 to 2.
        exact: the belief after each token, (3^N, N, 3).
        read: the same, read from a network.
        start: the text at first, N ids.
        caption: what is seen and what follows from it.
        alt: what the chart shows, for readers who cannot see it.
        name: label for references in the book.

    Returns:
        The chart, to be displayed.
    """
    import altair

    tokens = [
        altair.param(
            name=f"t{n}",
            value=NAMES[value],
            bind=altair.binding_select(options=list(NAMES), name=f"token {n} "),
        )
        for n, value in enumerate(start, start=1)
    ]
    layers = _layers(altair, altair.Data(values=_beginnings(ids, exact, read)), len(start))
    picture = altair.layer(*layers, _corners(altair)).properties(width=280, height=245)
    return chart(picture.add_params(*tokens), caption, alt, name)


def _beginnings(ids: Any, exact: Any, read: Any) -> list[dict[str, Any]]:
    """One record for each beginning of a text, the empty one first: its exact belief, and the place (u, v) of what is read."""
    third = round(1 / 3, 3)
    records = {"": {"text": "", "read": 0, "a": third, "b": third, "c": third}}
    for text, beliefs, found in zip(ids.tolist(), exact.tolist(), read.tolist(), strict=True):
        for n, ((a, b, c), (_, rb, rc)) in enumerate(zip(beliefs, found, strict=True), start=1):
            said = "".join(NAMES[i] for i in text[:n])
            belief = {"a": round(a, 3), "b": round(b, 3), "c": round(c, 3)}
            records[said] = {"text": said, "read": n} | belief
            records[said] |= {"u": round(rb + rc / 2, 3), "v": round(rc * HEIGHT, 3)}
    return list(records.values())


def _layers(altair: Any, data: Any, n_tokens: int) -> list[Any]:
    """All beginnings in gray, the path of the chosen text, its last belief, what is read there, and the sentence."""
    chosen = " + ".join(f"t{n}" for n in range(1, n_tokens + 1))
    parts = " + ', ".join(f"{each} ' + format(datum.{each.lower()}, '.2f')" for each in NAMES)
    base = altair.Chart(data).transform_calculate(x="datum.b + datum.c / 2", y=f"datum.c * {HEIGHT:.8f}")
    x = altair.X("x:Q", axis=None, scale=altair.Scale(domain=[-0.08, 1.08]))
    y = altair.Y("y:Q", axis=None, scale=altair.Scale(domain=[-0.1, 0.95]))
    path = base.transform_filter(f"substring({chosen}, 0, datum.read) == datum.text")
    last = path.transform_filter(f"datum.read == {n_tokens}")
    words = last.transform_calculate(words=f"'after ' + {chosen} + ': {parts}").mark_text(align="left")
    cross = last.mark_point(shape="cross", size=130, color=PALETTE[1], strokeWidth=2, opacity=1)
    return [
        base.mark_circle(size=6, color="gray", opacity=0.5).encode(x, y),
        path.mark_line(color=PALETTE[0]).encode(x, y, order="read:Q"),
        path.mark_circle(size=40, color=PALETTE[0], opacity=1).encode(
            x, y, tooltip=["text:N", "a:Q", "b:Q", "c:Q"]
        ),
        last.mark_circle(size=120, color=PALETTE[0], opacity=1).encode(x, y),
        cross.encode(altair.X("u:Q", axis=None), altair.Y("v:Q", axis=None)),
        words.encode(x=altair.value(0), y=altair.value(-8), text="words:N").properties(name="words"),
    ]


def _corners(altair: Any) -> Any:
    """The names of the states beside their corners."""
    places = [{"x": 0, "y": -0.06}, {"x": 1, "y": -0.06}, {"x": 0.5, "y": HEIGHT + 0.044}]
    named = [place | {"n": each} for place, each in zip(places, NAMES, strict=True)]
    x, y = altair.X("x:Q", axis=None), altair.Y("y:Q", axis=None)
    return altair.Chart(altair.Data(values=named)).mark_text(fontSize=13).encode(x, y, text="n:N")
