r"""One decoding step, written flat: the numbers of the model's modules without the calls between them.

A step of a small model is mostly Python: seventy module calls for twenty-five products. Here every layer is one closure over
the same parameters, with one token a row, so that heads need no transposing. Whatever is no plain layer of torch (LoRA,
quantized) is called as it is. Tests hold the step equal to the model.

Axes: B rows with one token each, H heads, M stored tokens, D = d_model, D_k = d_head, |V| = vocab_size.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib.attention import MultiHeadAttention
from lecture_lib.embedding import TokenEmbedding, rotate, sinusoidal_positions
from lecture_lib.kv_cache.cache import KVCache
from lecture_lib.kv_cache.layout import joined
from lecture_lib.kv_cache.parts import Parts
from lecture_lib.transformer import FeedForward, InputEmbedding, TransformerLayer

Map = Callable[[Tensor], Tensor]  # (B, D) to (B, D')


def bare(module: nn.Module | None) -> Map | None:
    """Find the function under a module, where it is known: a call of it costs a third of the module's.

    Args:
        module: a layer; one with hooks is left alone, so that they run.

    Returns:
        A function of the same input with the same result.
    """
    if module is None or module._forward_hooks or module._forward_pre_hooks:
        return module
    if type(module) is nn.Linear:
        weight, bias = module.weight, module.bias
        return lambda X: F.linear(X, weight, bias)
    if type(module) is nn.LayerNorm:
        shape, gain, shift, eps = module.normalized_shape, module.weight, module.bias, module.eps
        return lambda X: torch.layer_norm(X, shape, gain, shift, eps)
    if type(module) in (nn.Embedding, TokenEmbedding):
        table = module.weight
        return lambda ids: F.embedding(ids, table)
    return module.forward


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


def flat_layer(layer: TransformerLayer, parts: Parts) -> Callable[..., Tensor]:
    """Write a layer as one function: X + Attention(Norm(X)), X + MLP(Norm(X)), or post-LN.

    Args:
        layer: of the stack.
        parts: the model it is of, for the source.

    Returns:
        A function of X (B, D), the cache's `store`, mask and rotary tables; it gives (B, D).
    """
    sublayers = [(flat_attention(layer.attention), bare(layer.attention_norm))]
    if layer.cross_attention is not None:
        read_memory = flat_cross_attention(layer.cross_attention, parts.memory, parts.memory_mask)
        sublayers.append((read_memory, bare(layer.cross_attention_norm)))
    sublayers.append((flat_feed_forward(layer.feed_forward), bare(layer.feed_forward_norm)))
    norm_first = layer.norm_first

    def apply(X: Tensor, *context: object) -> Tensor:
        for sublayer, norm in sublayers:
            X = X + sublayer(norm(X), *context) if norm_first else norm(X + sublayer(X, *context))
        return X

    return apply


def flat_attention(attention: MultiHeadAttention) -> Callable[..., Tensor]:
    """Write self-attention as one function: the new token reads all stored ones, itself among them.

    Args:
        attention: of a layer.

    Returns:
        A function of X (B, D), the cache's `store`, mask and rotary tables; it gives (B, D).
    """
    project, W_o = flat_projection(attention), bare(attention.W_o)
    q_norm, k_norm = bare(attention.q_norm), bare(attention.k_norm)
    q_shape = (-1, attention.n_heads, 1, attention.d_head)
    kv_shape = (-1, attention.n_kv_heads, 1, attention.d_head)
    grouped = attention.n_kv_heads < attention.n_heads

    def read_text(X: Tensor, store: Callable, mask: Tensor | None, rotary: tuple | None) -> Tensor:
        q, k, v = project(X)
        Q, K, V = q_norm(q.view(q_shape)), k_norm(k.view(kv_shape)), v.view(kv_shape)
        if rotary is not None:
            Q, K = rotate(Q, *rotary), rotate(K, *rotary)
        K, V = store(K, V)  # (B, H_kv, M, D_k)
        heads = F.scaled_dot_product_attention(Q, K, V, attn_mask=mask, enable_gqa=grouped)
        return W_o(heads.flatten(1))  # (B, D)

    return read_text


def flat_projection(attention: MultiHeadAttention) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Write X W_q, X W_k, X W_v as one product, where the three lie side by side in memory.

    Args:
        attention: of a layer; `lay_out_for_decoding` lays its maps so.

    Returns:
        A function of X (B, D); it gives the three products, (B, H * D_k) and twice (B, H_kv * D_k).
    """
    maps = [attention.W_q, attention.W_k, attention.W_v]
    if all(type(m) is nn.Linear and bare(m) is not m for m in maps):
        weight, bias = joined([m.weight for m in maps]), joined([m.bias for m in maps])
        if weight is not None and (bias is None) == (maps[0].bias is None):
            sizes = [m.out_features for m in maps]
            return lambda X: F.linear(X, weight, bias).split(sizes, -1)
    W_q, W_k, W_v = map(bare, maps)
    return lambda X: (W_q(X), W_k(X), W_v(X))


def flat_cross_attention(
    attention: MultiHeadAttention, memory: Tensor, mask: Tensor | None
) -> Callable[..., Tensor]:
    """Write cross-attention as one function; keys and values of the source are computed here, once.

    Args:
        attention: of a layer.
        memory: (B, M, D) the source.
        mask: (B, 1, 1, M) bool, True for its real tokens; None: all are real.

    Returns:
        A function of X (B, D), and of what else a sublayer is given; it gives (B, D).
    """
    _, K, V = attention.project(memory)  # the queries of the source are not asked for
    W_q, W_o, q_norm = bare(attention.W_q), bare(attention.W_o), bare(attention.q_norm)
    q_shape = (-1, attention.n_heads, 1, attention.d_head)
    grouped = attention.n_kv_heads < attention.n_heads

    def read_memory(X: Tensor, *context: object) -> Tensor:
        Q = q_norm(W_q(X).view(q_shape))
        heads = F.scaled_dot_product_attention(Q, K, V, attn_mask=mask, enable_gqa=grouped)
        return W_o(heads.flatten(1))

    return read_memory


def flat_feed_forward(network: FeedForward) -> Callable[..., Tensor]:
    """Write the feed-forward network as one function.

    Args:
        network: of a layer.

    Returns:
        A function of X (B, D), and of what else a sublayer is given; it gives (B, D).
    """
    W_in, W_gate, W_out, f = bare(network.W_in), bare(network.W_gate), bare(network.W_out), network.activation

    def think(X: Tensor, *context: object) -> Tensor:
        return W_out(f(W_in(X)) if W_gate is None else f(W_gate(X)) * W_in(X))

    return think
