"""The door of a model: what a batch of texts says about its tokens becomes one `Context` for all layers.

Axes: B texts, N tokens, D = d_model, D_k = d_head.
"""

from dataclasses import replace

import torch
from torch import Tensor

from lecture_lib.attention import Context, padding_mask
from lecture_lib.embedding import rotary_frequencies, rotary_tables
from lecture_lib.transformer.config import ModelConfig


def make_context(
    config: ModelConfig,
    tokens: Tensor,
    lengths: Tensor | None = None,
    positions: Tensor | None = None,
    is_causal: bool = False,
) -> Context:
    """Say where the tokens of a batch stand and what they may look at; what does not fit into the context is refused.

    Args:
        tokens: (B, N, ...) ids or vectors.
        lengths: (B,) number of real tokens in each right-padded row; None: all N.
        positions: (N,) or (B, N) places of the tokens; None: 0 ... N - 1.
        is_causal: whether a token looks back only; padding on the right is then out of sight by itself.
    """
    positions, n = place(config, tokens, positions), tokens.shape[1]
    mask = length_mask(lengths, tokens)
    mask = None if is_causal else mask
    return Context(
        positions,
        mask,
        is_causal,
        within(config, n, mask, is_causal, tokens.device),
        rotary(config, positions),
    )


def within(
    config: ModelConfig, n: int, mask: Tensor | None, is_causal: bool, device: torch.device
) -> Tensor | None:
    """Narrow what n tokens may look at to the model's sliding window, (..., N, N); None if that changes nothing."""
    if config.sliding_window is None or config.sliding_window >= n:
        return None
    every = torch.ones(n, n, dtype=torch.bool, device=device)
    near = (every.tril() if is_causal else every).triu(1 - config.sliding_window)
    return near if mask is None else near & mask


def length_mask(lengths: Tensor | None, tokens: Tensor) -> Tensor | None:
    """Make the padding mask of texts, (B, 1, 1, N) bool, True for real tokens; lengths that do not fit are refused.

    Args:
        lengths: (B,) number of real tokens; None: all are, and the mask is None.
        tokens: (B, N, ...) the texts.
    """
    if lengths is None:
        return None
    if lengths.shape != tokens.shape[:1]:
        raise ValueError(f"one length a text: got {tuple(lengths.shape)} for texts {tuple(tokens.shape)}")
    return padding_mask(lengths, tokens.shape[1])


def place(config: ModelConfig, tokens: Tensor, positions: Tensor | None = None) -> Tensor:
    """Give the positions of (B, N, ...) tokens, (N,) or (B, N), and refuse those beyond the context."""
    context, shape = config.context_length, tokens.shape[:2]
    if tokens.ndim < 2 or shape[1] == 0:
        raise ValueError(f"ids must be (B, N), at least one token a text; got {tuple(tokens.shape)}")
    if shape[1] > context:
        raise ValueError(f"the text has {shape[1]} tokens, but the context of the model is {context}")
    if positions is None:
        return torch.arange(shape[1], device=tokens.device)
    if positions.shape not in (shape, shape[1:]):
        raise ValueError(f"one position a token: got {tuple(positions.shape)} for ids {tuple(shape)}")
    if positions.device.type == "cpu" and not 0 <= positions.min() <= positions.max() < context:
        worst = int(positions.max() if positions.min() >= 0 else positions.min())
        raise ValueError(f"position {worst} is outside the context of {context} tokens (0 to {context - 1})")
    return positions


def rotary(config: ModelConfig, positions: Tensor, length: int | None = None) -> tuple[Tensor, Tensor] | None:
    """Read the clocks of a rotary model.

    Args:
        positions: (N,) or (B, N) places of the tokens.
        length: of the whole text, which clocks with "dynamic" scaling ask for; None: up to the last position.

    Returns:
        (N, D_k / 2) or (B, 1, N, D_k / 2) cosines and sines; None for other models.
    """
    if config.positions != "rotary":
        return None
    scaling = config.rope_scaling
    if length is None and depends_on_length(config):
        length = int(positions.max()) + 1
    frequencies = rotary_frequencies(config.d_head, config.rope_theta, scaling, positions.device, length)
    places = positions[:, None] if positions.ndim == 2 else positions
    return rotary_tables(places, frequencies, 1.0 if scaling is None else scaling.amplitude)


def depends_on_length(config: ModelConfig) -> bool:
    """Tell whether the clocks of a model run slower in longer texts ("dynamic" scaling)."""
    return config.rope_scaling is not None and config.rope_scaling.rope_type == "dynamic"


def complete(config: ModelConfig, X: Tensor, here: Context | None) -> Context:
    """Make the context of a stack that is called alone, or add clocks and window to one that was made without."""
    if here is None:
        return make_context(config, X)
    positions = torch.arange(X.shape[1], device=X.device) if here.positions is None else here.positions
    clocks = rotary(config, positions) if here.rotary is None else here.rotary
    near = within(config, X.shape[1], here.mask, here.is_causal, X.device) if here.near is None else here.near
    return replace(here, positions=positions, rotary=clocks, near=near)
