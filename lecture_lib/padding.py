"""Rows of different length as one table, filled up on the right.

Axes: B rows, N tokens of the longest row.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def pad(
    rows: Sequence[Sequence[int]], pad_id: int = 0, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Write rows of ids into one table; no row at all, and an empty one, are refused.

    Args:
        rows: B lists of ids.
        pad_id: what stands behind the end of a row.
        device: where the table lives; None: the CPU.

    Returns:
        (B, N) int64 ids, and (B,) int64 lengths.

    Example:
        >>> pad([[5, 6, 7], [8]])
        (tensor([[5, 6, 7],
                [8, 0, 0]]), tensor([3, 1]))
    """
    lengths = [len(row) for row in rows]
    if not all(lengths) or not lengths:
        raise ValueError(f"there must be rows, and at least one token in each: got lengths {lengths}")
    table = [[*row, *[pad_id] * (max(lengths) - len(row))] for row in rows]
    return tuple(torch.tensor(each, dtype=torch.int64, device=device or "cpu") for each in (table, lengths))
