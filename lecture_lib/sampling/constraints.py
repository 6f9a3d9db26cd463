"""Tokens that a text must or must not have, whatever the model finds likely.

A checkpoint brings such rules along: a translator must not write its padding token, a summary ends with the end token.

Source: the logits processors of `transformers`, in their order.
Axes: B texts, V tokens of the vocabulary.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from lecture_lib.sampling.sampler import SamplingParameters


def constrain(
    logits: Tensor,
    sampling: SamplingParameters,
    rows: Sequence[Sequence[int]],
    n_new: Sequence[int],
    is_last: bool | Sequence[bool],
    end_ids: Collection[int] = (),
) -> Tensor:
    """Rule tokens out (-inf), or all but one (which gets 0), before the knobs are turned: (B, V) logits.

    A forced token wins over bad words and `min_new_tokens`, the last place over the first; suppressed tokens win over all.
    A forced token or a bad word outside the vocabulary, and a text for which no token is left, are refused.

    Args:
        logits: (B, V) logits of the next tokens, or their log-probabilities.
        rows: B texts, prompt and new tokens so far.
        n_new: B numbers of new tokens so far.
        is_last: whether the next token is the last one allowed; for all texts, or for each.
        end_ids: tokens that end a text: not before `min_new_tokens`; alone they are no bad word.

    Example:
        >>> constrain(torch.zeros(1, 4), SamplingParameters(bad_words=((3, 1), (2,))), [[0, 3]], [1], False)
        tensor([[0., -inf, -inf, 0.]])
    """
    logits = apply_constraints(logits, sampling, rows, n_new, is_last, end_ids)
    empty = logits.isneginf().all(-1)
    if empty.any():
        raise ValueError(f"the constraints leave no token for text {int(empty.nonzero()[0, 0])}: relax them")
    return logits


def apply_constraints(
    logits: Tensor,
    sampling: SamplingParameters,
    rows: Sequence[Sequence[int]],
    n_new: Sequence[int],
    is_last: bool | Sequence[bool],
    end_ids: Collection[int] = (),
) -> Tensor:
    """Rule out as `constrain`, but a text may be left without a token, as a beam that is to be dropped: (B, V) logits."""
    last = list(is_last) if isinstance(is_last, Sequence) else [bool(is_last)] * len(rows)
    if not len(logits) == len(rows) == len(n_new) == len(last):
        sizes = f"{len(rows)} texts, {len(n_new)} numbers of new tokens, {len(last)} of is_last"
        raise ValueError(f"one text for each row of logits {tuple(logits.shape)}: got {sizes}")
    vocab_size = logits.shape[-1]
    if (token := largest_token(sampling)) >= vocab_size:
        raise ValueError(f"token id {token} of a constraint is outside the vocabulary of {vocab_size} tokens")
    forbidden, forced = torch.zeros(2, *logits.shape, dtype=torch.bool, device="cpu")
    for i, (row, n) in enumerate(zip(rows, n_new, strict=True)):
        only = forced_token(sampling, n, last[i])
        if only is not None:
            forbidden[i], forced[i, only] = True, True
        else:
            forbidden[i, list(bad_tokens(sampling, row, n, end_ids))] = True
        suppressed = [token for token in suppressed_tokens(sampling, n) if token < vocab_size]
        forbidden[i, suppressed], forced[i, suppressed] = True, False
    logits = logits.masked_fill(forbidden.to(logits.device), -torch.inf)
    return logits.masked_fill(forced.to(logits.device), 0)


def largest_token(sampling: SamplingParameters) -> int:
    """Give the largest id that is forced, or in a bad word; 0 if there is none."""
    named = {sampling.forced_first, sampling.forced_last, *(i for word in sampling.bad_words for i in word)}
    return max(named - {None}, default=0)


def forced_token(sampling: SamplingParameters, n_new: int, is_last: bool) -> int | None:
    """Give the only token that may come next, or None if there is a choice."""
    if is_last and sampling.forced_last is not None:
        return sampling.forced_last
    return sampling.forced_first if n_new == 0 else None


def suppressed_tokens(sampling: SamplingParameters, n_new: int) -> set[int]:
    """Give the tokens that are not written at this place; the first free place is the one behind a forced first token."""
    first_free = 0 if sampling.forced_first is None else 1
    return {*sampling.suppress_tokens, *(sampling.begin_suppress_tokens if n_new == first_free else ())}


def bad_tokens(
    sampling: SamplingParameters, row: Sequence[int], n_new: int, end_ids: Collection[int]
) -> set[int]:
    """Give the tokens that would complete a bad word, or end a text too early."""
    end_ids = set(map(int, end_ids))
    tokens = set(end_ids) if n_new < sampling.min_new_tokens else set()
    for *before, token in sampling.bad_words:
        completes = list(row[len(row) - len(before) :]) == before if len(before) <= len(row) else False
        if completes and (before or token not in end_ids):
            tokens.add(token)
    return tokens
