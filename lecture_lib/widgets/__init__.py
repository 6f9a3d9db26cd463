"""Figures to play with that are no charts: they work in the book's pages, in JupyterLab and in Colab, without a kernel.

`merges` lets a reader type a text and watch byte-pair encoding merge it. `explore` shows frames drawn beforehand behind sliders,
for pictures that cannot be data; what can be data is a chart (`lecture_lib.plots.chart`).
"""

from lecture_lib.widgets.explore import explore
from lecture_lib.widgets.merges import merges

__all__ = ["explore", "merges"]
