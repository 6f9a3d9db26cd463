"""Prompts in any form, as lists of token ids and back.

Axes: B prompts, N tokens of the longest prompt, M of the longest text.
"""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Prompts = Tensor | Sequence[int] | Sequence[Sequence[int]] | Sequence[Tensor]  # or arrays of NumPy


def to_rows(
    ids: Prompts, lengths: Tensor | None = None, attention_mask: Tensor | None = None
) -> list[list[int]]:
    """Write prompts as lists of token ids.

    Args:
        ids: (N,) or (B, N) integer ids, or a list of prompts of any lengths, each a list, an array or a tensor.
        lengths: (B,) number of real tokens in each right-padded row of (B, N) ids; None: all N.
        attention_mask: (B, N) 1 for real tokens, 0 for padding, in place of `lengths`.

    Returns:
        B lists without padding.

    Raises:
        ValueError: ids that are not integers, a prompt without tokens, or lengths or a mask that do not fit.
    """
    rows = nested(ids)
    rows = [rows] if is_one_prompt(rows) else rows
    if attention_mask is not None:
        real = nested(attention_mask)
        real = [real] if is_one_prompt(real) else real
        if [len(row) for row in real] != [len(row) for row in rows]:
            raise ValueError(f"the attention mask needs an entry for each of the ids {tuple(ids.shape)}")
        rows = [
            [t for t, keep in zip(row, here, strict=True) if keep]
            for row, here in zip(rows, real, strict=True)
        ]
    elif lengths is not None:
        n = [operator.index(length) for length in nested(lengths)]
        if not isinstance(ids, Tensor) or ids.ndim != 2 or len(n) != len(rows):
            raise ValueError(f"lengths {tuple(lengths.shape)} need ids (B, N) with one row a length")
        if not all(0 <= length <= ids.shape[1] for length in n):
            raise ValueError(
                f"every length must lie in 0 ... {ids.shape[1]}, got {max(n) if min(n) >= 0 else min(n)}"
            )
        rows = [row[:length] for row, length in zip(rows, n, strict=True)]
    if not rows or not all(rows):
        raise ValueError("there must be at least one prompt, and at least one token in each")
    try:
        return [[operator.index(token) for token in row] for row in rows]
    except TypeError:
        raise ValueError("a prompt is made of token ids (integers); encode a text first") from None


def nested(ids: Any) -> Any:
    """Write tensors and arrays, alone or in a list, as lists of Python's own numbers."""
    if hasattr(ids, "tolist"):
        numbers = str(ids.dtype).removeprefix("torch.")
        if ids.ndim > 2 or not numbers.startswith(("int", "uint", "bool")):
            raise ValueError(f"prompts must be (N,) or (B, N) integers, got {tuple(ids.shape)} {ids.dtype}")
        return ids.tolist()
    return (
        ids if isinstance(ids, str) else [nested(each) if hasattr(each, "__len__") else each for each in ids]
    )


def is_one_prompt(rows: list) -> bool:
    """Tell a list of token ids from a list of prompts."""
    return isinstance(rows, str) or not any(isinstance(each, list | str) for each in rows)


def pad(rows: list[list[int]], pad_id: int = 0, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Put rows of different length into one table, padded on the right: (B, N) ids and (B,) lengths.

    Example:
        >>> pad([[5, 6, 7], [8]])
        (tensor([[5, 6, 7],
                [8, 0, 0]]), tensor([3, 1]))
    """
    lengths = [len(row) for row in rows]
    table = [row + [pad_id] * (max(lengths) - len(row)) for row in rows]
    return torch.tensor(table, device=device), torch.tensor(lengths, device=device)


def as_given(ids: Prompts, rows: list[list[int]], pad_id: int | None, ragged: bool) -> Tensor | list[Tensor]:
    """Give texts back in the form in which the prompts came; where `ragged`, a list in place of a table."""
    first = ids if isinstance(ids, Tensor) else next((each for each in ids if isinstance(each, Tensor)), None)
    device = None if first is None else first.device
    dtype = torch.long if first is None else first.dtype
    if isinstance(ids, Tensor) and ids.ndim == 2 and not ragged:
        return pad(rows, pad_id or 0, device)[0].to(dtype)
    texts = [torch.tensor(row, dtype=dtype, device=device) for row in rows]
    one = ids.ndim == 1 if hasattr(ids, "ndim") else is_one_prompt(nested(ids))
    return texts[0] if one else texts
