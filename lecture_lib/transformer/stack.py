"""Layers one above another (`TransformerStack`), their first weights and their number.

Source: lecture, "Transformer model"; Vaswani et al. (2017), section 3; Radford et al. (2019) for the first
weights.
Axes: B batch, N tokens, M tokens of the memory, D = d_model, L layers.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib.attention import Context, MultiHeadAttention
from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.door import make_context, with_clocks
from lecture_lib.transformer.layer import FeedForward, TransformerLayer, make_norm


class TransformerStack(nn.Module):
    """Layers one above another: X_l = Layer_l(X_{l-1}); with pre-LN, a norm after the last.

    Args:
        config: the choices.
        cross_attention: whether every layer also reads from a memory.

    Source: Bishop & Bishop (2024), section 12.1.7; Vaswani et al. (2017), section 3.1.
    """

    def __init__(self, config: ModelConfig, cross_attention: bool = False) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(TransformerLayer(config, cross_attention) for _ in range(config.n_layers))
        self.final_norm = make_norm(config) if config.norm_first else nn.Identity()
        for i, layer in enumerate(self.layers):
            layer.attention.layer = i
            layer.attention.windowed = config.sliding_window is not None and i not in config.full_layers
            if cross_attention:
                layer.cross_attention.layer = i

    def forward(self, X: Tensor, here: Context | None = None, there: Context | None = None) -> Tensor:
        """Refine the tokens layer by layer.

        Args:
            X: (B, N, D) embedded tokens.
            here: where they stand and what they may look at; None: at 0 ... N - 1, and at everything.
            there: the memory, for layers with cross-attention.

        Returns:
            (B, N, D) refined tokens.
        """
        here = make_context(self.config, X) if here is None else with_clocks(self.config, X, here)
        for layer in self.layers:
            X = layer(X, here, there)
        return self.final_norm(X)


def initialise(model: nn.Module, config: ModelConfig, generator: torch.Generator | None = None) -> None:
    r"""Draw the initial weights as GPT-2 does: normal with `config.init_std`, biases zero.

    In a pre-LN model each of the n sublayers adds to the same path, so their last maps (W_o, W_out) start
    smaller by $1/\sqrt{n}$ and the sum does not grow with depth.

    Args:
        model: the module whose linear maps and tables are drawn anew.
        config: says `init_std` and `norm_first`.
        generator: source of the random numbers; None: torch's own.

    Source: Radford et al. (2019), section 2.3.
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

    Args:
        architecture: what builds the model from the config, such as `TransformerStack` or `Decoder`.
        config: the choices.

    Returns:
        Number of parameters; a shared one counts once.
    """
    with torch.device("meta"):
        model = architecture(config)
    return sum(parameter.numel() for parameter in model.parameters())
