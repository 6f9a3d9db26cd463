r"""A reward model, learned from pairs of answers of which one was preferred.

The log-odds that a is preferred to b are $r_a - r_b$: the Bradley-Terry model of the arena, with a network in the place of
a table of scores. So the loss of a pair is a cross-entropy over two classes, and `training.train` needs no objective of ours.

Source: Ouyang et al. (2022), equation 1; Christiano et al. (2017), section 2.2.3.
Axes: B pairs, the two answers of each, N tokens of the longest, D = d_model.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib.decoder import Decoder
from lecture_lib.fields import positive_real
from lecture_lib.padding import pad
from lecture_lib.training import Batch


def reward_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    r"""Mean of $-\ln \sigma(r_{\text{chosen}} - r_{\text{rejected}})$, in nats per pair.

    Args:
        chosen: (...) rewards of the preferred answers.
        rejected: (...) rewards of the others, of the same shape, or it is refused.

    Returns:
        () the loss; ln 2 if all rewards are equal.

    Example:
        >>> reward_loss(torch.tensor([2.0]), torch.tensor([0.0]))  # ln(1 + e^-2)
        tensor(0.1269)
    """
    same_shape(chosen=chosen, rejected=rejected)
    return -F.logsigmoid(chosen - rejected).mean()


def fit_linear_reward(features: Tensor, preferred: Tensor, ridge: float = 1.0, steps: int = 30) -> Tensor:
    r"""Weights w, (F,), of the reward $r = x \cdot w$ that makes the preferences most likely, by Newton's method.

    Args:
        features: (B, F) features of the first answer less those of the second.
        preferred: (B,) 1 where the first was preferred, 0 where the second.
        ridge: λ of the penalty λ w² / 2, above 0, which fixes what the pairs leave open.
        steps: Newton steps; a handful is enough.
    """
    ridge = positive_real("ridge", ridge)
    w, penalty = torch.zeros_like(features[0]), ridge * torch.eye(features.shape[1]).to(features)
    for _ in range(steps):
        p = torch.sigmoid(features @ w)
        curvature = (features.T * (p * (1 - p))) @ features + penalty
        w = w + torch.linalg.solve(curvature, features.T @ (preferred - p) - ridge * w)
    return w


class RewardModel(nn.Module):
    """Give one number for a text: a linear map of what a decoder's last real token carries, zero at the start."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder
        self.value = nn.Linear(decoder.config.d_model, 1)
        nn.init.zeros_(self.value.weight), nn.init.zeros_(self.value.bias)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Score texts, (...) rewards.

        Args:
            ids: (..., N) integer token ids, padded on the right.
            lengths: (...) number of real tokens in each.
        """
        rows, ends = ids.flatten(0, -2), lengths.flatten()
        X = self.decoder.features(rows, ends)  # (B, N, D)
        last = X[torch.arange(len(rows), device=X.device), ends - 1]
        return self.value(last).view(lengths.shape)


def preference_batches(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    preferred: Sequence[int],
    order: Iterable[Sequence[int]],
    pad_id: int = 0,
) -> Iterator[Batch]:
    """Ask which of two texts was preferred, for `RewardModel`: the class is 0 for the first, 1 for the second.

    `order` as in `training.shuffled`. Batches have inputs (ids (B, 2, N), lengths (B, 2)) and (B,) targets; pairs without a
    preference are refused.
    """
    if len(pairs) != len(preferred):
        raise ValueError(f"each pair needs its preference: got {len(pairs)} and {len(preferred)}")
    for chosen in order:
        ids, lengths = pad([text for i in chosen for text in pairs[i]], pad_id)
        inputs = ids.view(len(chosen), 2, -1), lengths.view(-1, 2)
        yield Batch(inputs, torch.tensor([preferred[i] for i in chosen], device="cpu"))


def same_shape(**tensors: Tensor) -> None:
    """Refuse tensors that would broadcast against each other without a word."""
    if len({tuple(each.shape) for each in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(each.shape)}" for name, each in tensors.items())
        raise ValueError(f"these must have the same shape: {shapes}")
