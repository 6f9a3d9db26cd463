"""Batches: what a model is shown at one step, and what it should have said; cut out of one long text.

Batches of separate rows are in `rows`. Axes: B rows, N tokens in each.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lecture_lib.training.losses import IGNORED


class Batch(NamedTuple):
    """What goes in and what should come out: `model(*inputs)` are logits, one distribution for each target.

    Args:
        inputs: arguments of the model, (B, ...) each; None where the model may take its default.
        targets: (B,) or (B, M) int64 ids of what should be said; -100 where nothing is asked.
    """

    inputs: tuple[Tensor | None, ...]
    targets: Tensor

    @property
    def n_targets(self) -> int:
        """Count what is asked: the weight of this batch in a mean over tokens."""
        return int((self.targets != IGNORED).sum())

    def to(self, device: torch.device) -> "Batch":
        """Give the batch on a device.

        Args:
            device: where its tensors are to live.

        Returns:
            The same batch there.
        """
        moved = (None if x is None else x.to(device, non_blocking=True) for x in self.inputs)
        return Batch(tuple(moved), self.targets.to(device, non_blocking=True))

    def share(self, rank: int, n_shares: int) -> "Batch":
        """Give the rows of one of several processes; together they have every row once.

        Args:
            rank: number of the process, from 0.
            n_shares: number of processes.

        Returns:
            A batch of B / n_shares rows, the first ones one row more where B does not divide.

        Raises:
            ValueError: fewer rows than processes.
        """
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
    """Cut windows out of a long text at random places, without end.

    Args:
        ids: (n_tokens,) the text.
        batch_size: B windows in a batch.
        context_length: N tokens in a window; the targets are the same tokens one place on.
        generator: source of the places; None: torch's own.

    Returns:
        Batches with inputs ((B, N) ids,) and (B, N) targets.

    Raises:
        ValueError: a text not longer than the window, or a size below 1.
    """
    ids = _stream(ids, batch_size, context_length)
    offsets = torch.arange(context_length + 1)

    def draw() -> Batch:
        starts = torch.randint(len(ids) - context_length, (batch_size, 1), generator=generator)
        windows = ids[starts + offsets]  # (B, N + 1)
        return Batch((windows[:, :-1],), windows[:, 1:])

    return (draw() for _ in itertools.count())


def sequential_windows(ids: Sequence[int] | Tensor, batch_size: int, context_length: int) -> list[Batch]:
    """Cut a text into windows one after the other; every token but the first is a target once.

    Args:
        ids: (n_tokens,) the text.
        batch_size: B windows in a batch; the last batches may have fewer, and one row may be shorter than N.
        context_length: N tokens in a window.

    Returns:
        Batches with inputs ((B, N) ids,) and (B, N) targets.

    Raises:
        ValueError: fewer than two tokens, or a size below 1.
    """
    ids = _stream(ids, batch_size, context_length=1)
    if context_length < 1:
        raise ValueError(f"context_length must be at least 1, got {context_length}")
    whole = (len(ids) - 1) // context_length * context_length
    rows, targets = (x.view(-1, context_length).split(batch_size) for x in (ids[:whole], ids[1 : whole + 1]))
    batches = [Batch((x,), y) for x, y in zip(rows, targets, strict=True) if len(x)]
    if whole < len(ids) - 1:
        batches.append(Batch((ids[None, whole:-1],), ids[None, whole + 1 :]))
    return batches


def _stream(ids: Sequence[int] | Tensor, batch_size: int, context_length: int) -> Tensor:
    """Give the text as a tensor if it is long enough to ask for a next token."""
    ids = torch.as_tensor(ids, dtype=torch.int64)
    if batch_size < 1 or context_length < 1:
        raise ValueError(
            f"batch_size and context_length must be at least 1, got {batch_size} and {context_length}"
        )
    if ids.ndim != 1 or len(ids) <= context_length:
        raise ValueError(
            f"the text must be one row of more than {context_length} tokens, got {tuple(ids.shape)}"
        )
    return ids
