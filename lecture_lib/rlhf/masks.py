"""Which tokens a model is to learn: after instruction tuning those of the answers alone.

Source: Ouyang et al. (2022), section 3.5. Axes: B texts, N tokens of the longest.
"""

import torch
from torch import Tensor

from lecture_lib.training.losses import IGNORED


def answer_mask(ids: Tensor, begin_id: int, end_id: int) -> Tensor:
    """Mark the tokens of answers: those behind `begin_id`, up to and including the next `end_id`.

    A text may hold several answers. A second `begin_id` inside an answer is an ordinary token of it, an `end_id` outside
    an answer is not part of one, and an answer that is cut off runs to the end of its row.

    Args:
        ids: (B, N) or (N,) integer token ids, others are refused; padding behind the end of an answer is not marked.
        begin_id: id of the token that opens an answer, which is not part of it.
        end_id: id of the token that closes it, which is.

    Returns:
        bool, of the shape of ids.

    Example:
        >>> answer_mask(torch.tensor([5, 1, 6, 7, 2, 5, 2]), begin_id=1, end_id=2).int()
        tensor([0, 0, 1, 1, 1, 0, 0], dtype=torch.int32)
    """
    if ids.is_floating_point() or ids.ndim not in (1, 2):
        raise ValueError(f"ids must be (N,) or (B, N) integers, got {tuple(ids.shape)} {ids.dtype}")
    mask, inside = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids[..., 0], dtype=torch.bool)
    for n, token in enumerate(ids.unbind(-1)):
        mask[..., n] = inside
        inside = (inside & (token != end_id)) | (~inside & (token == begin_id))
    return mask


def answer_targets(ids: Tensor, begin_id: int, end_id: int) -> tuple[Tensor, Tensor]:
    """Split texts into what is read and what comes next, and ask for the tokens of answers alone: as `answer_mask`.

    The token before an answer, `begin_id`, is asked for its first token. A row of one token has nothing to ask.

    Args:
        ids: (B, N) integer token ids.

    Returns:
        inputs (B, N - 1) and targets (B, N - 1), -100 where the next token is not one of an answer.

    Example:
        >>> answer_targets(torch.tensor([[5, 1, 6, 2, 0]]), begin_id=1, end_id=2)
        (tensor([[5, 1, 6, 2]]), tensor([[-100,    6,    2, -100]]))
    """
    targets = ids.masked_fill(~answer_mask(ids, begin_id, end_id), IGNORED)
    return ids[..., :-1], targets[..., 1:]
