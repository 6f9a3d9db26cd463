r"""Temperature taken seriously: the heat capacity of a token, and the Boltzmann distribution of whole texts.

A logit is minus an energy. Dividing the logits of every token by T does *not* draw texts from $p(\text{text})^{1/T}$: the partition
function of what may follow is missing. For a Markov source a transfer matrix gives it, so the difference is exact.

Source: Shih, Sadigh & Ermon (2023) for language models; the recursion is the transfer matrix of a spin chain.
Axes: V tokens of the vocabulary; `...` any number of leading axes, such as the batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lecture_lib.sampling.filters import apply_temperature


def heat_capacity(logits: Tensor, temperature: float) -> Tensor:
    r"""Heat capacity of a token, (...) in units of Boltzmann's constant: $C = d\langle E\rangle/dT = \mathrm{Var}(z)/T^2$.

    The variance is that of the Boltzmann distribution softmax(z / T) itself, so C is small for a cold token, which is
    decided, and for a hot one, which knows no energies; between them it has a maximum.

    Args:
        logits: (..., V) logits, minus the energies; -inf: ruled out, contributes nothing.
        temperature: T, in units of the logits.

    Example:
        >>> heat_capacity(torch.tensor([1.0, 0.0]), 1.0)  # two levels: p (1 - p), with p = 1 / (1 + e)
        tensor(0.1966)
    """
    scaled = apply_temperature(logits, temperature)
    probs = scaled.softmax(-1)
    scaled = scaled.masked_fill(probs == 0, 0)  # 0 times -inf is not 0
    mean = (probs * scaled).sum(-1, keepdim=True)
    return (probs * (scaled - mean).square()).sum(-1)


def lookahead_probs(P: Tensor, prefix: Sequence[int], temperature: float, remaining: int) -> Tensor:
    r"""Give the next token's law, (V,), if whole texts follow $p^{1/T}$: $P_{st}^{1/T}\,Z_t(\text{rest})$, normalised.

    $Z_t(n) = \sum_u P_{tu}^{1/T} Z_u(n-1)$ with $Z_t(0) = 1$ sums over all ways to go on; at T = 1 it is 1 and nothing changes.

    Args:
        P: (V, V) transition matrix of a Markov source, row: the last token, column: the next one.
        prefix: the text so far, at least one token.
        temperature: T, 1 for the source itself.
        remaining: number of tokens still to be drawn, the next one included.

    Example:
        >>> P = torch.tensor([[0.0, 0.6, 0.4], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
        >>> lookahead_probs(P, [0], 0.5, remaining=1), lookahead_probs(P, [0], 0.5, remaining=2)
        (tensor([0.0000, 0.6923, 0.3077]), tensor([0.0000, 0.5294, 0.4706]))
    """
    log_weights = apply_temperature(P.log(), temperature)
    log_Z = torch.zeros_like(P[0])
    for _ in range(remaining - 1):
        log_Z = torch.logsumexp(log_weights + log_Z, dim=-1)
    return (log_weights[prefix[-1]] + log_Z).softmax(-1)


def text_log_probs(log_start: Tensor, log_P: Tensor, length: int) -> Tensor:
    r"""List ln p(text) of every text of a Markov source, (V^length,), in the order of the texts read as numbers in base V.

    Args:
        log_start: (V,) logarithms of the first token's probabilities.
        log_P: (V, V) logarithms of the transition matrix, row: the last token, column: the next one.
        length: number of tokens of a text.

    Example:
        >>> P = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
        >>> text_log_probs(P[0].log(), P.log(), 2).exp()  # the texts 00, 01, 10, 11
        tensor([0.2500, 0.2500, 0.0000, 0.5000])
    """
    logs = log_start
    for _ in range(length - 1):
        logs = logs[..., None] + log_P
    return logs.flatten()
