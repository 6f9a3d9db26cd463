"""Batches of separate rows: to predict the next token, to fill in masked ones, to translate, to classify.

Which rows come when is decided apart from what is made of them, so that one order serves all:
`next_token_batches(rows, shuffled(len(rows), 32, generator))` for training, without end, and
`next_token_batches(rows, in_order(len(rows), 32))` for an evaluation, once through.

Axes: B rows, N tokens of the longest row (of the source), M tokens of the longest target.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from lecture_lib.fields import whole
from lecture_lib.padding import pad
from lecture_lib.training.batches import Batch, drawn_on
from lecture_lib.training.losses import IGNORED, mask_tokens


def shuffled(n_rows: int, batch_size: int, generator: torch.Generator | None = None) -> Iterator[list[int]]:
    """Deal row numbers without end, in full lists of `batch_size`: every row once, then again in a new order.

    `generator`: source of the order; None: torch's own. A list may take its rows from two rounds.
    """
    n_rows, batch_size = whole("n_rows", n_rows, 1), whole("batch_size", batch_size, 1)
    device = drawn_on(generator)
    rounds = (torch.randperm(n_rows, generator=generator, device=device).tolist() for _ in itertools.count())
    dealt = itertools.chain.from_iterable(rounds)
    return (list(itertools.islice(dealt, batch_size)) for _ in itertools.count())


def in_order(n_rows: int, batch_size: int) -> list[list[int]]:
    """Deal row numbers 0, 1, 2 ... once, in lists of `batch_size`; the last may be shorter."""
    n_rows, batch_size = whole("n_rows", n_rows), whole("batch_size", batch_size, 1)
    return [list(range(start, min(start + batch_size, n_rows))) for start in range(0, n_rows, batch_size)]


def next_token_batches(
    rows: Sequence[Sequence[int]], order: Iterable[Sequence[int]], pad_id: int = 0
) -> Iterator[Batch]:
    """Ask, at every token of a row, for the next one; a row of fewer than two tokens is refused.

    `order` is lists of row numbers, from `shuffled` or `in_order`. Batches have inputs (ids (B, N), lengths (B,)), filled up by
    `pad_id`, and (B, N) targets.
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
    """Hide tokens, anew every time, and ask for them: arguments as `mask_tokens` and `next_token_batches` take them.

    The mask fills up short rows too, and is never asked for there. Batches as those of `next_token_batches`.
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
    """Show the source and the true translation so far, and ask for its next token: teacher forcing.

    Each target runs from its start token to its end token. Batches, in the `order` of `next_token_batches`, have inputs
    (source ids (B, N), target ids (B, M), source lengths (B,)) and (B, M) targets; a source without target is refused.
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
    """Ask for the class of each row, or of each of its tokens (-100: not asked); rows without labels are refused.

    Batches, in the `order` of `next_token_batches`, have inputs (ids (B, N), lengths (B,)) and targets (B,) or (B, N).
    """
    if len(rows) != len(labels):
        raise ValueError(f"each row needs its label: got {len(rows)} and {len(labels)}")

    def labelled(chosen: Sequence[int]) -> Batch:
        asked = [labels[i] for i in chosen]
        one_a_row = np.ndim(asked[0]) == 0
        targets = pad([asked])[0][0] if one_a_row else pad(asked, IGNORED)[0]
        return Batch(pad([rows[i] for i in chosen], pad_id), targets)

    return map(labelled, order)
