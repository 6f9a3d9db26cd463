"""Prompts in any form, as lists of token ids and back.

Axes: B prompts, N tokens of the longest prompt, M of the longest text.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Prompts = Tensor | Sequence[int] | Sequence[Sequence[int]] | Sequence[Tensor]


def to_rows(ids: Prompts, lengths: Tensor | None = None) -> list[list[int]]:
    """Write prompts as lists of token ids.

    Args:
        ids: (N,) or (B, N) integer ids, or a list of prompts of any lengths, each a list or an (N,) tensor.
        lengths: (B,) number of real tokens in each right-padded row of (B, N) ids; None: all N.

    Returns:
        B lists without padding.

    Raises:
        ValueError: ids that are not integers, a prompt without tokens, or lengths that do not fit.
    """
    if isinstance(ids, Tensor):
        if ids.ndim not in (1, 2) or ids.is_floating_point() or ids.dtype == torch.bool:
            raise ValueError(f"prompts must be (N,) or (B, N) integers, got {tuple(ids.shape)} {ids.dtype}")
        rows = ids.tolist() if ids.ndim == 2 else [ids.tolist()]
    elif is_one_prompt(ids):
        rows = [list(ids)]
    else:
        rows = [row for prompt in ids for row in to_rows(prompt)]
    if lengths is not None:
        if not isinstance(ids, Tensor) or ids.ndim != 2 or lengths.shape != ids.shape[:1]:
            raise ValueError(f"lengths {tuple(lengths.shape)} need ids (B, N) with one row a length")
        rows = [row[: checked(length, len(row))] for row, length in zip(rows, lengths.tolist(), strict=True)]
    if not rows or not all(rows):
        raise ValueError("there must be at least one prompt, and at least one token in each")
    if not all(isinstance(token, int) for row in rows for token in row):
        raise ValueError("a prompt is made of token ids (integers); encode a text first")
    return rows


def is_one_prompt(ids: Prompts) -> bool:
    """Tell a list of token ids from a list of prompts."""
    return isinstance(ids, str) or not any(isinstance(item, Tensor | Sequence) for item in ids)


def checked(length: int, n: int) -> int:
    """Refuse a length that is no number of tokens of a row of n."""
    if not 0 <= length <= n:
        raise ValueError(f"every length must lie in 0 ... {n}, got {length}")
    return length


def pad(rows: list[list[int]], pad_id: int = 0, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Put rows of different length into one table, padded on the right.

    Args:
        rows: B lists of token ids.
        pad_id: what stands behind the end of a row.
        device: where the table lives.

    Returns:
        (B, N) ids, and (B,) lengths.

    Example:
        >>> pad([[5, 6, 7], [8]])
        (tensor([[5, 6, 7],
                [8, 0, 0]]), tensor([3, 1]))
    """
    lengths = [len(row) for row in rows]
    table = [row + [pad_id] * (max(lengths) - len(row)) for row in rows]
    return torch.tensor(table, device=device), torch.tensor(lengths, device=device)


def in_the_form_of(
    ids: Prompts, rows: list[list[int]], pad_id: int, device: torch.device
) -> Tensor | list[Tensor]:
    """Give texts back in the form in which the prompts came.

    Args:
        ids: the prompts.
        rows: B lists of token ids, the texts.
        pad_id: what stands behind the end of a row in a (B, M) table.
        device: where the result lives.

    Returns:
        (M,) or (B, M) ids for one prompt or a table of them, a list of B tensors for a list of prompts.
    """
    if isinstance(ids, Tensor) and ids.ndim == 2:
        return pad(rows, pad_id, device)[0].to(ids.dtype)
    dtype = ids.dtype if isinstance(ids, Tensor) else torch.long
    texts = [torch.tensor(row, dtype=dtype, device=device) for row in rows]
    return texts[0] if isinstance(ids, Tensor) or is_one_prompt(ids) else texts
