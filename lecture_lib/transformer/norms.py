r"""Norms: they keep the numbers of a token at one size, whatever the layers add.

`layer_norm` and `rms_norm` are the definitions; models call torch's fused kernels, and a test holds them equal.

Source: Ba et al. (2016); Zhang & Sennrich (2019).
Axes: D = d_model; `...` any number of leading axes.
"""

import torch
from torch import Tensor, nn

from lecture_lib.transformer.config import ModelConfig


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    r"""Set mean 0 and variance 1: $g (x - \mu) / \sqrt{\sigma^2 + \epsilon} + b$.

    Args:
        x: (..., D) vectors.
        gain: (D,) learned scale of each feature.
        bias: (D,) learned shift of each feature.
        eps: added to the variance, which is the mean of the squares (division by D).

    Returns:
        (..., D) normalised vectors.

    Example:
        >>> layer_norm(torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.ones(4), torch.zeros(4))
        tensor([-1.0690, -0.5345,  0.0000,  1.6036])

    Source: Ba et al. (2016), eq. 4.
    """
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return gain * centred / torch.sqrt(variance + eps) + bias


def rms_norm(x: Tensor, gain: Tensor, eps: float = 1e-6) -> Tensor:
    r"""Scale each vector to root mean square 1: $g \odot x / \sqrt{\overline{x^2} + \epsilon}$.

    Args:
        x: (..., D) vectors.
        gain: (D,) learned scale of each feature.
        eps: added to the mean square.

    Returns:
        (..., D) normalised vectors.

    Source: Zhang & Sennrich (2019), eq. 4.
    """
    return gain * x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps)


def make_norm(config: ModelConfig) -> nn.Module:
    """Make the norm that a config asks for, from (..., D) to (..., D), with gain 1 and bias 0."""
    kind = nn.LayerNorm if config.norm == "layer" else nn.RMSNorm
    return kind(config.d_model, eps=config.norm_eps)
