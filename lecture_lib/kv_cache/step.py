r"""One decoding step, written flat: the numbers of the model's modules without the calls between them.

A step of a small model is mostly Python: seventy module calls for twenty-five products. Here a layer is one
function. Tests hold the step equal to the model.

Axes: B rows with one token each, D = d_model, D_k = d_head, |V| = vocab_size.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lecture_lib.embedding import sinusoidal_positions
from lecture_lib.kv_cache.cache import KVCache
from lecture_lib.kv_cache.flat import bare, flat_layer
from lecture_lib.kv_cache.parts import Parts
from lecture_lib.transformer import InputEmbedding


class Step:
    """The model's next logits for one new token a row.

    Args:
        parts: the model, without dropout.
        cache: its keys and values.
        fixed: whether all shapes stay the same from step to step, as a CUDA graph needs it.
    """

    def __init__(self, parts: Parts, cache: KVCache, fixed: bool = False) -> None:
        self.begin = cache.begin_fixed if fixed else partial(cache.begin, 1)
        self.keys_values = cache.layers
        self.embed = flat_embedding(parts.embedding, cache)
        self.layers = [flat_layer(layer, parts) for layer in parts.stack.layers]
        self.final_norm, self.head = bare(parts.stack.final_norm), bare(parts.head)
        every_place = torch.empty(1, cache.max_length, 0, device=cache.device)
        self.rotary = parts.stack.rotary(
            every_place, None
        )  # (max_length, D_k / 2) cosines and sines, or None

    def __call__(self, tokens: Tensor) -> Tensor:
        """Read one token a row.

        Args:
            tokens: (B,) token ids; known to be in the vocabulary, for the step does not look.

        Returns:
            (B, |V|) logits of the next ones.

        Raises:
            ValueError: a row has no room left.
        """
        positions, mask = self.begin()  # (1,) or (B, 1)
        rotary = None
        if self.rotary is not None:
            places = positions[..., None] if positions.ndim == 2 else positions
            rotary = tuple(table[places] for table in self.rotary)  # (1, D_k / 2) or (B, 1, 1, D_k / 2)
        X = self.embed(tokens, positions.flatten())  # (B, D)
        for layer, keys_values in zip(self.layers, self.keys_values, strict=True):
            X = layer(X, keys_values.store, mask, rotary)
        return self.head(self.final_norm(X))


def flat_embedding(embedding: InputEmbedding, cache: KVCache) -> Callable[[Tensor, Tensor], Tensor]:
    """Write the way in as one function: token, plus place, plus segment 0; then the norm.

    Args:
        embedding: of the model.
        cache: says how many places there are.

    Returns:
        A function of tokens (B,) and positions (1,) or (B,); it gives (B, D).
    """
    config, look_up, norm = embedding.config, bare(embedding.tokens), bare(embedding.norm)
    places, segment = bare(embedding.positions), embedding.segments
    if config.positions.startswith("sinusoidal"):
        halves = config.positions == "sinusoidal_halves"
        every_place = torch.arange(cache.max_length, device=cache.device)
        table = sinusoidal_positions(every_place, config.d_model, halves).to(cache.dtype)
        places = table.__getitem__

    def embed(tokens: Tensor, positions: Tensor) -> Tensor:
        X = look_up(tokens)  # (B, D)
        if config.scale_embedding:
            X = X * math.sqrt(config.d_model)
        if places is not None:
            X = X + places(positions)
        if segment is not None:
            X = X + segment.weight[0]
        return norm(X)

    return embed
