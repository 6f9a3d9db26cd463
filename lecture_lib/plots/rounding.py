"""A grid of few bits over Gaussian weights: the reader sets bits and clip, and the page computes the error."""

from lecture_lib.plots.charts import Chart, chart, radio
from lecture_lib.plots.look import PALETTE

WIDTHS, FARTHEST, N_WEIGHTS = (2, 3, 4, 6), 5.5, 240
LIMIT = "(pow(2, bits - 1) - 1)"  # the largest code
GOLDEN = 0.6180339887  # places that never fall into step with a grid


def rounding_knobs(caption: str, alt: str, name: str | None = None) -> Chart:
    """The staircase of a symmetric grid, and the mean squared error of Gaussian weights against where it is cut off.

    Args:
        caption: what is seen and what follows from it.
        alt: what the chart shows, for readers who cannot see it.
        name: label for references in the book.

    Returns:
        The chart, to be displayed.
    """
    import altair

    slider = altair.binding_range(min=0.5, max=5, step=0.1, name="clip ")
    knobs = radio("bits", WIDTHS, 4), altair.param(name="clip", value=4, bind=slider)
    panels = altair.vconcat(_staircase(altair), _errors(altair)).resolve_scale(color="independent")
    return chart(panels.add_params(*knobs), caption, alt, name)


def _rounded(base: object, clip: str) -> object:
    """Add what a weight x becomes on the grid that ends at `clip`."""
    base = base.transform_calculate(step=f"{clip} / {LIMIT}")
    return base.transform_calculate(
        rounded=f"datum.step * clamp(round(datum.x / datum.step), -{LIMIT}, {LIMIT})"
    )


def _staircase(altair: object) -> object:
    """What comes out against what goes in."""
    line = _rounded(altair.Chart(altair.sequence(-5, 5.001, 0.02, as_="x")), "clip")
    what = line.mark_line(color=PALETTE[0], interpolate="step").encode(
        altair.X("x:Q", title="weight, in σ", scale=altair.Scale(domain=[-5, 5], nice=False)),
        altair.Y("rounded:Q", title="rounded", scale=altair.Scale(domain=[-5, 5], nice=False)),
    )
    same = line.mark_line(color=PALETTE[5], strokeDash=[2, 3]).encode(x="x:Q", y="x:Q")
    return altair.layer(same, what).properties(width=240, height=150)


def _errors(altair: object) -> object:
    """The error for every clip (computed from weights), the law for weights inside the grid, and Shannon's limit."""
    places = [round(FARTHEST * ((i * GOLDEN) % 1), 3) for i in range(N_WEIGHTS)]
    values = [{"x": places, "c": [round(0.5 + 0.1 * i, 1) for i in range(46)]}]
    weights = altair.Chart(altair.Data(values=values)).transform_flatten(["x"]).transform_flatten(["c"])
    measured = _rounded(weights, "datum.c").transform_calculate(
        p=f"{2 * FARTHEST / N_WEIGHTS} * exp(-datum.x * datum.x / 2) / sqrt(2 * PI)",
        part="datum.p * pow(datum.x - datum.rounded, 2)",
    )
    measured = measured.transform_aggregate(error="sum(part)", groupby=["c"]).transform_calculate(
        law=f"pow(datum.c / {LIMIT}, 2) / 12", shannon="pow(4, -bits)"
    )
    log = altair.Scale(type="log", domain=[1e-4, 1], clamp=True)
    at = altair.X("c:Q", title="clip, in σ", scale=altair.Scale(domain=[0.5, 5], nice=False))
    layers = [
        measured.mark_line(color=color, strokeDash=dash).encode(
            at, altair.Y(f"{column}:Q", title="mean square", scale=log)
        )
        for column, color, dash in (
            ("error", PALETTE[0], [1, 0]),
            ("law", PALETTE[1], [5, 3]),
            ("shannon", PALETTE[2], [1, 3]),
        )
    ]
    here = measured.transform_filter("abs(datum.c - clip) < 0.01").transform_calculate(
        words="bits + ' bits, clip ' + format(clip, '.1f') + ': error ' + format(datum.error, '.2g')"
        " + ', ' + format(-10 * log(datum.error) / LN10, '.1f') + ' dB'"
    )
    dot = here.mark_point(filled=True, size=80, opacity=1, color=PALETTE[0]).encode(at, y="error:Q")
    words = here.mark_text(align="left").encode(x=altair.value(0), y=altair.value(-10), text="words:N")
    return altair.layer(*layers, dot, words.properties(name="words")).properties(width=240, height=170)
