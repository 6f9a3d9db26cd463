"""Batches of separate rows: sentences to continue, to fill in, to translate, to classify.

Which rows come when is decided apart from what is made of them, so that one order serves all:
`next_token_batches(rows, shuffled(len(rows), 32, generator))` for training, without end, and
`next_token_batches(rows, in_order(len(rows), 32))` for an evaluation, once through.

Axes: B rows, N tokens of the longest row (of the source), M tokens of the longest target.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from lecture_lib.training.batches import Batch
from lecture_lib.training.losses import IGNORED, mask_tokens


def shuffled(n_rows: int, batch_size: int, generator: torch.Generator | None = None) -> Iterator[list[int]]:
    """Deal row numbers without end: every row once, then again in a new order.

    Args:
        n_rows: rows there are.
        batch_size: B; every batch is full, so one may take its rows from two rounds.
        generator: source of the order; None: torch's own.

    Returns:
        Lists of B row numbers.

    Raises:
        ValueError: no rows, or a batch size below 1.
    """
    if n_rows < 1 or batch_size < 1:
        raise ValueError(f"there must be rows, and at least 1 in a batch: got {n_rows} and {batch_size}")
    rounds = (torch.randperm(n_rows, generator=generator).tolist() for _ in itertools.count())
    dealt = itertools.chain.from_iterable(rounds)
    return (list(itertools.islice(dealt, batch_size)) for _ in itertools.count())


def in_order(n_rows: int, batch_size: int) -> list[list[int]]:
    """Deal row numbers 0, 1, 2 ... once, in lists of `batch_size`; the last may be shorter.

    Args:
        n_rows: rows there are.
        batch_size: B.

    Returns:
        Lists of row numbers.

    Raises:
        ValueError: a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return [list(range(start, min(start + batch_size, n_rows))) for start in range(0, n_rows, batch_size)]


def pad(rows: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Write rows of different length into one tensor, filled up on the right.

    Args:
        rows: B lists of ids.
        pad_id: what to fill up with.

    Returns:
        (B, N) int64 ids and (B,) int64 lengths.

    Raises:
        ValueError: no row, or an empty one.
    """
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    if not len(rows) or lengths.min() == 0:
        raise ValueError(
            f"there must be rows, and at least one token in each: got lengths {lengths.tolist()}"
        )
    longest = int(lengths.max())
    return torch.tensor(
        [[*row, *[pad_id] * (longest - len(row))] for row in rows], dtype=torch.int64
    ), lengths


def next_token_batches(
    rows: Sequence[Sequence[int]], order: Iterable[Sequence[int]], pad_id: int = 0
) -> Iterator[Batch]:
    """Ask, at every token of a row, for the next one.

    Args:
        rows: lists of at least two ids.
        order: lists of row numbers, from `shuffled` or `in_order`.
        pad_id: fills up the inputs.

    Returns:
        Batches with inputs (ids (B, N), lengths (B,)) and (B, N) targets.

    Raises:
        ValueError: a row with fewer than two tokens.
    """
    for chosen in order:
        ids, lengths = pad([rows[i][:-1] for i in chosen], pad_id)
        yield Batch((ids, lengths), pad([rows[i][1:] for i in chosen], IGNORED)[0])


def masked_batches(
    rows: Sequence[Sequence[int]],
    order: Iterable[Sequence[int]],
    mask_id: int,
    vocab_size: int,
    special_ids: Sequence[int] = (),
    probability: float = 0.15,
    generator: torch.Generator | None = None,
) -> Iterator[Batch]:
    """Hide tokens by `mask_tokens`, anew every time, and ask for them.

    Args:
        rows: lists of ids.
        order: lists of row numbers, from `shuffled` or `in_order`.
        mask_id: id of the mask; it fills up short rows too, and is never asked for there.
        vocab_size: |V|.
        special_ids: never hidden.
        probability: share of the tokens that are asked for.
        generator: source of the choices; None: torch's own.

    Returns:
        Batches with inputs (ids (B, N), lengths (B,)) and (B, N) targets.

    Raises:
        ValueError: as `mask_tokens` and `pad`.
    """
    for chosen in order:
        ids, lengths = pad([rows[i] for i in chosen], mask_id)
        hidden, targets = mask_tokens(
            ids, mask_id, vocab_size, (*special_ids, mask_id), probability, generator
        )
        yield Batch((hidden, lengths), targets)


def translation_batches(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    order: Iterable[Sequence[int]],
    pad_id: int = 0,
) -> Iterator[Batch]:
    """Show the source and the true translation so far, and ask for its next token (teacher forcing).

    Args:
        sources: lists of ids.
        targets: lists of ids, each from its start token to its end token.
        order: lists of row numbers, from `shuffled` or `in_order`.
        pad_id: fills up the inputs.

    Returns:
        Batches with inputs (source ids (B, N), target ids (B, M), source lengths (B,)) and (B, M) targets.

    Raises:
        ValueError: not one target for each source, or a target of fewer than two tokens.
    """
    if len(sources) != len(targets):
        raise ValueError(f"each source needs its target: got {len(sources)} and {len(targets)}")

    def translation(chosen: Sequence[int]) -> Batch:
        ids, lengths = pad([sources[i] for i in chosen], pad_id)
        said, _ = pad([targets[i][:-1] for i in chosen], pad_id)
        return Batch((ids, said, lengths), pad([targets[i][1:] for i in chosen], IGNORED)[0])

    return map(translation, order)


def labelled_batches(
    rows: Sequence[Sequence[int]],
    labels: Sequence[int] | Sequence[Sequence[int]],
    order: Iterable[Sequence[int]],
    pad_id: int = 0,
) -> Iterator[Batch]:
    """Ask for the class of each row, or of each token.

    Args:
        rows: lists of ids.
        labels: a class for each row, or a list with a class for each of its tokens (-100: not asked).
        order: lists of row numbers, from `shuffled` or `in_order`.
        pad_id: fills up the inputs.

    Returns:
        Batches with inputs (ids (B, N), lengths (B,)) and targets (B,) or (B, N).

    Raises:
        ValueError: not one label for each row.
    """
    if len(rows) != len(labels):
        raise ValueError(f"each row needs its label: got {len(rows)} and {len(labels)}")

    def labelled(chosen: Sequence[int]) -> Batch:
        asked = [labels[i] for i in chosen]
        targets = torch.tensor(asked) if isinstance(asked[0], int) else pad(asked, IGNORED)[0]
        return Batch(pad([rows[i] for i in chosen], pad_id), targets)

    return map(labelled, order)
