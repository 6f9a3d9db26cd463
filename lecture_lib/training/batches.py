"""Batches: what a model is shown at one step, and what it should have said; cut out of one long text.

Batches of separate rows are in `rows`. They are made on the CPU, whatever the default device, and moved by `Batch.to`.
Axes: B rows, N tokens in each.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lecture_lib.fields import whole
from lecture_lib.training.losses import IGNORED


class Batch(NamedTuple):
    """What goes in and what should come out: `model(*inputs)` are logits, one distribution for each target."""

    inputs: tuple[Tensor | None, ...]  # (B, ...) arguments of the model; None where it may take its default
    targets: Tensor  # (B,) or (B, M) int64 ids of what should be said; -100 where nothing is asked

    @property
    def n_targets(self) -> int:
        """Count what is asked: the weight of this batch in a mean over tokens."""
        return int((self.targets != IGNORED).sum())

    def to(self, device: torch.device) -> "Batch":
        """Give the batch on a device."""
        moved = [None if x is None else x.to(device, non_blocking=True) for x in (*self.inputs, self.targets)]
        return Batch(tuple(moved[:-1]), moved[-1])

    def share(self, rank: int, n_shares: int) -> "Batch":
        """Give the rows of one of several processes, B / n_shares or one more; fewer rows than processes are refused."""
        if len(self.targets) < n_shares:
            raise ValueError(f"a batch of {len(self.targets)} rows cannot be shared by {n_shares} processes")
        rows = (None if x is None else x.tensor_split(n_shares)[rank] for x in self.inputs)
        return Batch(tuple(rows), self.targets.tensor_split(n_shares)[rank])


def random_windows(
    ids: Sequence[int] | Tensor,
    batch_size: int,
    context_length: int,
    generator: torch.Generator | None = None,
) -> Iterator[Batch]:
    """Cut windows out of a long text at random places, without end; the targets are the same tokens one place on.

    Args:
        ids: (n_tokens,) the text, longer than a window: a tensor, a list, or an array, also one mapped from a file.
        batch_size: B windows in a batch.
        context_length: N tokens in a window.

    Returns:
        Batches with inputs ((B, N) ids,) and (B, N) targets; a text too short or not of ids is refused.
    """
    batch_size, n = whole("batch_size", batch_size, 1), whole("context_length", context_length, 1)
    ids = _as_text(ids, n)
    offsets = torch.arange(n + 1, device=ids.device)

    def draw() -> Batch:
        starts = torch.randint(len(ids) - n, (batch_size, 1), generator=generator, device=drawn_on(generator))
        windows = ids[starts.to(ids.device) + offsets]  # (B, N + 1)
        return Batch((windows[:, :-1],), windows[:, 1:])

    return (draw() for _ in itertools.count())


def sequential_windows(ids: Sequence[int] | Tensor, batch_size: int, context_length: int) -> list[Batch]:
    """Cut a text into windows one after the other, as `random_windows`; every token but the first is a target once.

    The last batches may have fewer than B windows, and one row may be shorter than N.
    """
    batch_size, n = whole("batch_size", batch_size, 1), whole("context_length", context_length, 1)
    ids = _as_text(ids, 1)
    end = (len(ids) - 1) // n * n
    rows, targets = (x.view(-1, n).split(batch_size) for x in (ids[:end], ids[1 : end + 1]))
    batches = [Batch((x,), y) for x, y in zip(rows, targets, strict=True) if len(x)]
    if end < len(ids) - 1:
        batches.append(Batch((ids[None, end:-1],), ids[None, end + 1 :]))
    return batches


def drawn_on(generator: torch.Generator | None) -> torch.device:
    """Say where a generator draws, whatever the default device: torch's own one on the CPU."""
    return torch.device("cpu") if generator is None else generator.device


def _as_text(ids: Sequence[int] | Tensor, context_length: int) -> Tensor:
    """Give the text as a tensor if it is long enough to ask for a next token."""
    if not isinstance(ids, Tensor):
        array = np.asarray(ids)
        ids = torch.from_numpy(array.astype(np.int64 if array.dtype.kind in "iu" else np.float64))
    if ids.ndim != 1 or len(ids) <= context_length or ids.is_floating_point() or ids.dtype == torch.bool:
        raise ValueError(
            f"give one row of more than {context_length} tokens, got {tuple(ids.shape)} {ids.dtype}"
        )
    return ids.long()
