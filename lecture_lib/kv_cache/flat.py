"""The pieces of a decoding step: each module as one function of (B, D) tokens, one token a row.

Every layer is a closure over the parameters of its module; heads need no transposing, as a row has one
token. Whatever is no plain layer of torch (LoRA, quantized, hooked) is called as it is.

Axes: B rows, H heads, H_kv key-value heads, G = H / H_kv, M stored tokens, D = d_model, D_k = d_head.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib.attention import MultiHeadAttention
from lecture_lib.embedding import TokenEmbedding, rotate
from lecture_lib.kv_cache.layout import joined
from lecture_lib.kv_cache.parts import Parts
from lecture_lib.quantization import QuantizedLinear
from lecture_lib.transformer import FeedForward, TransformerLayer

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
    if type(module) is QuantizedLinear:
        return module.packed_product()
    return module.forward


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

    def read_text(X: Tensor, store: Callable, mask: Tensor | None, rotary: tuple | None) -> Tensor:
        q, k, v = project(X)
        Q, K, V = q_norm(q.view(q_shape)), k_norm(k.view(kv_shape)), v.view(kv_shape)
        if rotary is not None:
            Q, K = rotate(Q, *rotary), rotate(K, *rotary)
        K, V = store(K, V)  # (B, H_kv, M, D_k)
        return W_o(mix(Q, K, V, mask).flatten(1))  # (B, D)

    return read_text


def mix(Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with the G query heads of a group as G rows of queries: they look at the same keys.

    Args:
        Q: (B, H, 1, D_k) queries of one token a row.
        K: (B, H_kv, M, D_k) keys.
        V: (B, H_kv, M, D_k) values.
        mask: (B, 1, 1, M) bool, True where a query may look; None: everywhere.

    Returns:
        (B, H_kv, G, D_k) what each query head has read.
    """
    Q = Q.view(*K.shape[:2], -1, K.shape[-1])  # (B, H_kv, G, D_k)
    if Q.is_cpu and Q.dtype in (torch.bfloat16, torch.float16):  # four times as fast as the kernel for halves
        wide = F.scaled_dot_product_attention(Q.float(), K.float(), V.float(), attn_mask=mask)
        return wide.to(Q.dtype)
    return F.scaled_dot_product_attention(Q, K, V, attn_mask=mask)


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

    def read_memory(X: Tensor, *context: object) -> Tensor:
        return W_o(mix(q_norm(W_q(X).view(q_shape)), K, V, mask).flatten(1))

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
