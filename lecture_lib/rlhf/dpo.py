r"""Tune a policy on preferred answers directly: the reward loss, with β ln(π/π_ref) as the reward.

`train(DPO(policy, beta), answer_pairs(...), config)` is the whole of it: its two implicit rewards are the scores of two classes.

Source: Rafailov et al. (2023), section 4. Axes: B pairs, the two answers of each, N tokens of the longest.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from lecture_lib.decoder import Decoder
from lecture_lib.fields import positive_real
from lecture_lib.padding import pad
from lecture_lib.rlhf.rollouts import reply_log_probs, said_places
from lecture_lib.training import Batch

Pair = tuple[Sequence[int], Sequence[int], Sequence[int]]  # prompt and two answers, as ids


class DPO(nn.Module):
    """Implicit rewards β ln(π/π_ref) of pairs of answers; a cross-entropy over the two is the loss of DPO.

    Args:
        policy: the decoder to tune.
        beta: price of a nat, above 0.
    """

    def __init__(self, policy: Decoder, beta: float) -> None:
        super().__init__()
        self.policy, self.beta = policy, positive_real("beta", beta)

    def forward(self, ids: Tensor, lengths: Tensor, said: Tensor, reference: Tensor) -> Tensor:
        """Give the rewards, (B, 2), of the batches of `answer_pairs`."""
        rows = ids.flatten(0, 1), lengths.flatten(), said.flatten(0, 1)
        return self.beta * (reply_log_probs(self.policy, *rows).view_as(reference) - reference)


def answer_pairs(
    pairs: Sequence[Pair],
    preferred: Sequence[int],
    reference: Decoder,
    order: Iterable[Sequence[int]],
    pad_id: int = 0,
) -> Iterator[Batch]:
    """Ask which of two answers was preferred, for `DPO`: the class is 0 for the first, 1 for the second.

    Args:
        pairs: (prompt, answer, answer) token ids; the end of an answer is part of it.
        preferred: 0 or 1 for each pair; as many as pairs, or they are refused.
        reference: the policy before tuning; how likely it finds the answers is computed here, a batch at a time.
        order: lists of places of pairs, as in `training.shuffled`.

    Returns:
        Batches with inputs (ids (B, 2, N), lengths (B, 2), said (B, 2, N - 1), ln π_ref (B, 2)) and (B,) targets.
    """
    if len(pairs) != len(preferred):
        raise ValueError(f"each pair needs its preference: got {len(pairs)} and {len(preferred)}")
    device = next(reference.parameters()).device
    for chosen in order:
        rows = [(prompt, answer) for i in chosen for prompt, *both in [pairs[i]] for answer in both]
        ids, lengths = pad([[*prompt, *answer] for prompt, answer in rows], pad_id, device)
        said = said_places([prompt for prompt, _ in rows], lengths, ids.shape[1])
        with torch.no_grad():
            log_probs = reply_log_probs(reference, ids, lengths, said)
        B = len(chosen)
        inputs = ids.view(B, 2, -1), lengths.view(B, 2), said.view(B, 2, -1), log_probs.view(B, 2)
        yield Batch(inputs, torch.tensor([preferred[i] for i in chosen], device="cpu"))
