"""Layers one above another (`TransformerStack`), their first weights and their number.

Source: lecture, "Transformer model"; Vaswani et al. (2017), section 3; Radford et al. (2019) for the first
weights.
Axes: B batch, N tokens, M tokens of the memory, D = d_model, L layers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from lecture_lib.attention import LayerCache, MultiHeadAttention
from lecture_lib.embedding import (
    rotary_frequencies,
    rotary_tables,
)
from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.layer import FeedForward, TransformerLayer, make_norm


class Cache(Protocol):
    """The key-value cache of a whole stack: one `LayerCache` a layer, and the positions of all.

    A model calls `begin` once per forward, embeds its tokens at the positions it returns, and passes the mask
    and `layers[i]` to layer i. Nothing here needs a value from the device, so a cache of fixed size works
    under CUDA graphs.
    """

    layers: Sequence[LayerCache]

    def begin(self, n_tokens: int, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Make room for new tokens, before the first layer.

        Args:
            n_tokens: number N of new tokens in a row.
            lengths: (B,) number of real ones in each row; None: all N.

        Returns:
            (B, N) or (N,) positions of the new tokens, and a bool mask that broadcasts to (B, H, N, M), True
            where a new token may look at a stored one.
        """
        ...


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

    def forward(
        self,
        X: Tensor,
        mask: Tensor | None = None,
        is_causal: bool = False,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Refine the tokens layer by layer.

        Args:
            X: (B, N, D) embedded tokens.
            mask: bool, broadcastable to (B, H, N, N), True where a token may look at a token; None:
                everywhere.
            is_causal: True: token i looks at tokens 0 ... i only.
            memory: (B, M, D) tokens of the other text, for layers with cross-attention.
            memory_mask: bool, broadcastable to (B, H, N, M), True where a token may look at the memory.
            positions: (N,) or (B, N) integer positions, used by rotary models; None: 0 ... N - 1.
            cache: earlier keys and values of every layer.

        Returns:
            (B, N, D) refined tokens.
        """
        rotary = self.rotary(X, positions)
        for i, layer in enumerate(self.layers):
            X = layer(
                X, mask, is_causal, memory, memory_mask, rotary, None if cache is None else cache.layers[i]
            )
        return self.final_norm(X)

    def rotary(self, X: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Compute once what turns queries and keys in every layer.

        Args:
            X: (B, N, D) embedded tokens.
            positions: (N,) or (B, N) positions; None: 0 ... N - 1.

        Returns:
            (N, D_k / 2) or (B, 1, N, D_k / 2) float32 cosines and sines; None if the model is not rotary.
        """
        config = self.config
        if config.positions != "rotary":
            return None
        positions = torch.arange(X.shape[1], device=X.device) if positions is None else positions
        frequencies = rotary_frequencies(config.d_head, config.rope_theta, config.rope_scaling, X.device)
        return rotary_tables(positions[:, None] if positions.ndim == 2 else positions, frequencies)


def place(
    n_tokens: int, lengths: Tensor | None, positions: Tensor | None, cache: Cache | None
) -> tuple[Tensor | None, Tensor | None, bool]:
    """Say where the new tokens of a text stand, and which tokens they may look at.

    Args:
        n_tokens: number N of new tokens in a row.
        lengths: (B,) number of real ones in each row; None: all N.
        positions: (N,) or (B, N) integer positions; None: 0 ... N - 1, or where the cache says.
        cache: keys and values of the tokens before; None: there are none.

    Returns:
        The positions (None: 0 ... N - 1), the mask, and whether it is the causal mask of the new tokens
        alone.

    Raises:
        ValueError: positions are given together with a cache.
    """
    if cache is None:
        return positions, None, True
    if positions is not None:
        raise ValueError("give positions or a cache: a cache says itself where the new tokens stand")
    positions, mask = cache.begin(n_tokens, lengths)
    return positions, mask, False


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
