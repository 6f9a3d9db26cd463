"""A model before its training: the first weights, and their number.

Source: Radford et al. (2019), section 2.3.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from lecture_lib.attention import MultiHeadAttention
from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.layer import FeedForward


def initialise(model: nn.Module, config: ModelConfig, generator: torch.Generator | None = None) -> None:
    r"""Draw the initial weights as GPT-2 does: normal with `config.init_std`, biases zero.

    In a pre-LN model each of the n sublayers adds to the same path, so their last maps (W_o, W_out) start
    smaller by $1/\sqrt{n}$ and the sum does not grow with depth.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=config.init_std, generator=generator)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    last_maps = [
        m.W_o if isinstance(m, MultiHeadAttention) else m.W_out
        for m in model.modules()
        if isinstance(m, MultiHeadAttention | FeedForward)
    ]
    if config.norm_first:
        for linear in last_maps:
            nn.init.normal_(
                linear.weight, std=config.init_std / math.sqrt(len(last_maps)), generator=generator
            )


def parameter_count(architecture: Callable[[ModelConfig], nn.Module], config: ModelConfig) -> int:
    """Count the parameters of a model without making them, on torch's meta device.

    `architecture` builds it, such as `TransformerStack` or `Decoder`; a shared parameter counts once.
    """
    with torch.device("meta"):
        model = architecture(config)
    return sum(parameter.numel() for parameter in model.parameters())
