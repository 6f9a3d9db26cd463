"""An attention map by layer and head, computed where it is seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lecture_lib.plots.charts import Chart, chart, radio
from lecture_lib.plots.look import PALETTE

Texts = tuple[Sequence[str], Sequence[str], object]


def attention_map(
    maps: Mapping[Any, Texts] | Texts,
    caption: str,
    alt: str,
    choices: Sequence[str] = (),
    row: int = 0,
    start: tuple[int, int] = (1, 1),
    name: str | None = None,
) -> Chart:
    """Attention by layer and head: hover over a row, or choose it, and see where its token looks.

    Args:
        maps: `(asking, asked, weights)`: N tokens, M tokens, (L, H, N, M) weights; or several such, each under a value
            of the choice, or under a tuple with a value for each of the choices.
        caption: what is seen and what follows from it.
        alt: what the chart shows, for readers who cannot see it.
        choices: names of the choices, such as `("model", "ending")`.
        row: index of the token that is lit at first.
        start: layer and head shown at first, counted from 1.
        name: label for references in the book.

    Returns:
        The chart, to be displayed.
    """
    import altair

    cases = {k if isinstance(k, tuple) else (k,): case for k, case in maps.items()} if choices else {(): maps}
    asking = {"|".join(map(str, key)): list(case[0]) for key, case in cases.items()}
    asked = {"|".join(map(str, key)): list(case[1]) for key, case in cases.items()}
    n_layers, n_heads = np.shape(next(iter(cases.values()))[2])[:2]
    inputs = [radio(each, list(dict.fromkeys(key[k] for key in cases))) for k, each in enumerate(choices)]
    inputs += [
        radio("layer", range(1, n_layers + 1), start[0]),
        radio("head", range(1, n_heads + 1), start[1]),
    ]
    constants = [altair.param(name="asking", value=asking), altair.param(name="asked", value=asked)]
    case = f"join([{', '.join(choices)}], '|')"
    base = altair.Chart(altair.Data(values=_records(cases, choices)))
    for each in (*choices, "layer", "head"):
        base = base.transform_filter(f"datum.{each} == {each}")
    base = base.transform_flatten(["weight", "j"]).transform_calculate(
        asks=f"asking[{case}][datum.i]", looked=f"asked[{case}][datum.j]"
    )
    labels = [" / ".join(dict.fromkeys(words)) for words in zip(*asking.values(), strict=True)]
    step = altair.Step(max(12, min(24, 264 // max(len(labels), len(next(iter(asked.values())))))))
    layers = altair.layer(*_layers(base, labels, row, case)).add_params(*inputs, *constants)
    return chart(layers.properties(width=step, height=step), caption, alt, name)


def _records(cases: Mapping[tuple, Texts], choices: Sequence[str]) -> list[dict[str, Any]]:
    """A row of weights as one record, which the chart unfolds."""
    records = []
    for key, (_, asked, weights) in cases.items():
        table = np.asarray(weights.detach().cpu() if hasattr(weights, "detach") else weights, dtype=float)
        for layer, head, i in np.ndindex(table.shape[:3]):
            place = {"layer": layer + 1, "head": head + 1, "i": i, "j": list(range(len(asked)))}
            weight = [round(value, 3) for value in table[layer, head, i].tolist()]
            records.append(dict(zip(choices, key, strict=True)) | place | {"weight": weight})
    return records


def _layers(base: Any, labels: list[str], row: int, case: str) -> list[Any]:
    """The map, a frame around the lit row, and a sentence about it."""
    import altair

    select = altair.binding_select(options=list(range(len(labels))), labels=labels, name="row of ")
    lit = altair.selection_point(
        name="row", fields=["i"], on="pointerover", empty=False, value=[{"i": row}], bind=select
    )
    plain = {"domain": False, "ticks": False, "title": None, "labelOverlap": False}
    x = altair.X("j:O").axis(labelExpr=f"asked[{case}][datum.value]", labelAngle=-60, **plain)
    y = altair.Y("i:O").axis(labelExpr=f"asking[{case}][datum.value]", **plain)
    strength = altair.Opacity("weight:Q", scale=altair.Scale(domain=[0, 1], range=[0.02, 1]), legend=None)
    hints = [
        altair.Tooltip("asks:N"),
        altair.Tooltip("looked:N", title="looks at"),
        altair.Tooltip("weight:Q"),
    ]
    grid = base.mark_rect(color=PALETTE[0]).encode(x, y, strength, tooltip=hints).add_params(lit)
    frame = base.transform_filter(lit).mark_rect(filled=False, stroke=PALETTE[1], strokeWidth=2, tooltip=None)
    largest = base.transform_filter(lit).transform_window(
        rank="row_number()", sort=[altair.SortField("weight", order="descending")]
    )
    sentence = "datum.asks + ' looks most at ' + datum.looked + ', weight ' + format(datum.weight, '.2f')"
    words = largest.transform_filter("datum.rank == 1").transform_calculate(words=sentence)
    words = words.mark_text(align="left").encode(x=altair.value(0), y=altair.value(-10), text="words:N")
    return [grid, frame.encode(x, y), words.properties(name="words")]
