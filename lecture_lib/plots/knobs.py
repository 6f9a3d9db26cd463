"""The knobs of a playground over real distributions of the next token, computed where they are seen."""

from collections.abc import Mapping, Sequence
from typing import Any

from lecture_lib.plots.charts import Chart, chart
from lecture_lib.plots.look import PALETTE

KNOBS = {  # name: (label, lowest, highest, step, start), the lecture's settings
    "T": ("temperature", 0.1, 2, 0.05, 0.7),
    "top_p": ("top-p", 0.05, 1, 0.05, 0.7),
    "top_k": ("top-k", 1, 100, 1, 50),
    "penalty": ("repetition penalty", 0.8, 2, 0.1, 1),
}
SHOWN = 10  # bars
Next = tuple[Sequence[str], Sequence[float], Sequence[int]]


def sampling_knobs(contexts: Mapping[str, Next], caption: str, alt: str, name: str | None = None) -> Chart:
    """Next-token distributions under temperature, top-k, top-p and repetition penalty, which the reader sets.

    Args:
        contexts: under the text so far `(tokens, logits, seen)`: words of the V tokens of the vocabulary, (V,) logits, and
            the ids that have appeared in the text.
        caption: what is seen and what follows from it.
        alt: what the chart shows, for readers who cannot see it.
        name: label for references in the book.

    Returns:
        The chart, to be displayed.
    """
    import altair

    knobs = [
        altair.param(
            name=key,
            value=start,
            bind=altair.binding_range(min=low, max=high, step=step, name=f"{label} "),
        )
        for key, (label, low, high, step, start) in KNOBS.items()
    ]
    options = list(contexts)
    choose = altair.binding_select(options=options, name="after ")
    chosen = altair.param(name="context", value=options[0], bind=choose)
    base = altair.Chart(altair.Data(values=[_record(text, *each) for text, each in contexts.items()]))
    panel = altair.layer(*_layers(_with_knobs(base))).add_params(chosen, *knobs)
    return chart(panel.properties(width=190, height=22 * SHOWN), caption, alt, name)


def _record(text: str, tokens: Sequence[str], logits: Sequence[float], seen: Sequence[int]) -> dict[str, Any]:
    """A context, its logits from the largest down; words for the first hundred, of which a few are shown."""
    order = sorted(range(len(logits)), key=lambda i: -float(logits[i]))
    ranks = {i: rank for rank, i in enumerate(order, start=1)}
    return {
        "context": text,
        "logit": [round(float(logits[i]), 2) for i in order],
        "token": [tokens[i] for i in order[:100]],
        "seen": sorted(ranks[i] for i in set(seen)),
    }


def _with_knobs(base: Any) -> Any:
    """Each knob in its order: penalty, temperature, top-k (ties stay), top-p (the token that crosses it stays)."""
    import altair

    likeliest = [altair.SortField("z", order="descending")]
    turned = base.transform_filter("datum.context == context").transform_flatten(["logit", "token"])
    turned = turned.transform_window(place="row_number()").transform_calculate(
        raw="exp(datum.logit)",
        z="(indexof(datum.seen, datum.place) < 0 ? datum.logit"
        " : datum.logit > 0 ? datum.logit / penalty : datum.logit * penalty) / T",
    )
    turned = turned.transform_joinaggregate(all_raw="sum(raw)", highest="max(z)")
    turned = turned.transform_window(row="row_number()", rank="rank()", sort=likeliest)
    turned = turned.transform_calculate(
        model="datum.raw / datum.all_raw",
        power="datum.rank <= top_k ? exp(datum.z - datum.highest) : 0",
    )
    turned = turned.transform_joinaggregate(all_power="sum(power)")
    turned = turned.transform_calculate(share="datum.power / datum.all_power")
    turned = turned.transform_window(reached="sum(share)", sort=likeliest)
    turned = turned.transform_calculate(
        stays="datum.power > 0 && (datum.row == 1 || datum.reached - datum.share < top_p - 1e-9) ? 1 : 0"
    )
    turned = turned.transform_calculate(part="datum.stays * datum.share", known="datum.stays * datum.model")
    turned = turned.transform_joinaggregate(
        all_part="sum(part)", count="sum(stays)", mass="sum(known)", size="count()"
    )
    return turned.transform_calculate(probability="datum.part / datum.all_part")


def _layers(turned: Any) -> list[Any]:
    """Bars after the knobs, a tick for the model's own probability, the tokens' words, two lines that say it."""
    import altair

    bars = turned.transform_filter(f"datum.row <= {SHOWN}")
    up = altair.Y("row:O", axis=None)
    across = altair.X("probability:Q", scale=altair.Scale(domain=[0, 1]), title="probability")
    hints = [
        "token:N",
        altair.Tooltip("probability:Q", format=".3f"),
        altair.Tooltip("model:Q", format=".3f"),
    ]
    bar = bars.mark_bar(color=PALETTE[0], height=14).encode(across, up, tooltip=hints)
    tick = bars.mark_tick(color=PALETTE[1], thickness=3, height=18).encode(
        altair.X("model:Q"), up, tooltip=hints
    )
    token = bars.mark_text(align="right").encode(x=altair.value(-6), y=up, text="token:N")
    first = turned.transform_filter("datum.row == 1").transform_calculate(
        setting="'T ' + format(T, '.2f') + ', top-p ' + format(top_p, '.2f') + ', top-k ' + top_k"
        " + ', penalty ' + format(penalty, '.1f')",
        words="datum.count + ' of ' + datum.size + ' tokens can come; they had ' + format(datum.mass, '.2f')",
        best="'most likely: ' + datum.token + ', now ' + format(datum.probability, '.2f')",
    )
    lines = [
        first.mark_text(align="left")
        .encode(x=altair.value(-80), y=altair.value(-46 + 17 * line), text=f"{field}:N")
        .properties(name=f"words_{field}")
        for line, field in enumerate(("setting", "words", "best"))
    ]
    return [bar, tick, token, *lines]
