"""A matrix as colours."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lecture_lib.plots.look import PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heat_map(
    values: object,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    axes: "Axes | None" = None,
    limit: float | None = None,
) -> "Axes":
    """Show a matrix as colours: nothing at zero (the page is seen), full colour at the limit; red is negative.

    Args:
        values: (N, M) numbers, a tensor or an array.
        rows: N labels, such as the tokens that ask.
        columns: M labels, such as the tokens that are looked at.
        axes: where to draw; None: a new figure.
        limit: value of the full colour; None: the largest magnitude.

    Returns:
        The axes.

    Raises:
        ValueError: the values are not a matrix, or the labels do not fit it.
    """
    from matplotlib import pyplot as plt
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    matrix = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, dtype=float)
    if matrix.ndim != 2 or len(rows) not in (0, len(matrix)) or len(columns) not in (0, matrix.shape[1]):
        raise ValueError(
            f"a matrix with fitting labels is needed: got {matrix.shape}, {len(rows)} rows, {len(columns)} columns"
        )
    axes = axes or plt.figure().gca()
    limit = limit or np.abs(matrix).max() or 1.0
    blue, red = PALETTE[:2]
    stops = [to_rgba(blue, 0), to_rgba(blue)]
    if matrix.min() < 0:
        stops = [to_rgba(red), to_rgba(red, 0), *stops]
    positions = [0, 0.5, 0.5, 1] if len(stops) == 4 else [0, 1]
    cmap = LinearSegmentedColormap.from_list("tint", list(zip(positions, stops, strict=True)))
    low = -limit if matrix.min() < 0 else 0
    axes.imshow(matrix, vmin=low, vmax=limit, cmap=cmap, aspect="equal", interpolation="none")
    axes.spines[:].set(visible=True, linewidth=0.5)
    axes.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    return axes
