"""Figures of the course: one look for all, readable on light and dark pages, on a phone and on paper.

Three kinds of figure. `show` gives a matplotlib figure as a picture in the page's own colours, with caption and words for
readers who cannot see it. `machine`, `heads` and `residual_stream` are drawn diagrams. `chart` and the functions in `live`
are figures that a reader steers: Vega-Lite computes them in the page, in JupyterLab and in Colab, without a kernel.
"""

from lecture_lib.plots.chain import chain
from lecture_lib.plots.charts import Chart, chart, radio
from lecture_lib.plots.diagrams import heads, machine, residual_stream
from lecture_lib.plots.heat import heat_map
from lecture_lib.plots.knobs import sampling_knobs
from lecture_lib.plots.live import curves, rotary_clocks
from lecture_lib.plots.look import INK, PALETTE, use_style
from lecture_lib.plots.maps import attention_map
from lecture_lib.plots.picture import Picture, show
from lecture_lib.plots.rounding import rounding_knobs
from lecture_lib.plots.tokens import token_boxes
from lecture_lib.plots.triangle import belief_path

__all__ = [
    "INK",
    "PALETTE",
    "Chart",
    "Picture",
    "attention_map",
    "belief_path",
    "chain",
    "chart",
    "curves",
    "heads",
    "heat_map",
    "machine",
    "radio",
    "residual_stream",
    "rotary_clocks",
    "rounding_knobs",
    "sampling_knobs",
    "show",
    "token_boxes",
    "use_style",
]
