"""Attention with many heads (lecture, Algorithm 12.2): self, cross and grouped-query, with a cache or none.

`multi_head_attention` is the definition. `MultiHeadAttention`, which the models are made of, calls torch's
fused kernel: the same numbers without ever storing the N x M scores; a test holds the two equal.

Source: Vaswani et al. (2017), section 3.2.2; Ainslie et al. (2023) for grouped queries.
Axes: B batch, H heads, H_kv key-value heads, N query tokens, M key tokens, D = d_model, D_k = d_head.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib.attention.dot_product import causal_mask, check_mask, scaled_dot_product_attention
from lecture_lib.attention.heads import merge_heads, split_heads
from lecture_lib.embedding import rotate


class LayerCache(Protocol):
    """What attention asks of one layer's key-value cache: store the new keys and values, return all of them.

    The cache knows where the new tokens stand (the model tells it once per forward, before the first layer),
    and the `mask` made from the same positions says which stored keys each query may see. So a cache may
    return a preallocated buffer of fixed size, rows of different length, or a prompt in chunks, without
    waiting for the device.
    """

    def append(self, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values of the new tokens and give back all that queries may look at.

        Args:
            K: (B, H_kv, N, D_k) keys of the new tokens.
            V: (B, H_kv, N, D_k) their values.

        Returns:
            (B, H_kv, M, D_k) all keys, and all values in the same shape.
        """
        ...


class MultiHeadAttention(nn.Module):
    """Attend with several heads side by side and mix what they read: Concat[H_1, ..., H_H] W_o.

    Self-attention, or cross-attention when `memory` is given. With n_kv_heads < n_heads (grouped-query),
    n_heads / n_kv_heads neighbouring query heads share one key-value head.

    Args:
        d_model: width D of a token.
        n_heads: number of query heads H.
        n_kv_heads: number of key-value heads H_kv, a divisor of H; None: H.
        d_head: width D_k of a head; None: D / H.
        qkv_bias: whether W_q, W_k and W_v have biases.
        out_bias: whether W_o has one.
        qk_norm_eps: normalise queries and keys by their root mean square, with this epsilon (Qwen3); None: do
            not.

    Raises:
        ValueError: the heads do not divide the width, or the key-value heads not the heads.

    Source: Bishop & Bishop (2024), Algorithm 12.2; Vaswani et al. (2017), section 3.2.2.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        d_head: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
        qk_norm_eps: float | None = None,
    ) -> None:
        super().__init__()
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        if n_heads < 1 or (d_head is None and d_model % n_heads):
            raise ValueError(f"{n_heads} heads must divide d_model {d_model}")
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(f"{n_kv_heads} key-value heads must divide {n_heads} heads")
        d_head = d_model // n_heads if d_head is None else d_head
        self.d_model, self.n_heads, self.n_kv_heads, self.d_head = d_model, n_heads, n_kv_heads, d_head
        self.W_q = nn.Linear(d_model, n_heads * d_head, bias=qkv_bias)
        self.W_k = nn.Linear(d_model, n_kv_heads * d_head, bias=qkv_bias)
        self.W_v = nn.Linear(d_model, n_kv_heads * d_head, bias=qkv_bias)
        self.W_o = nn.Linear(n_heads * d_head, d_model, bias=out_bias)
        self.q_norm = nn.RMSNorm(d_head, eps=qk_norm_eps) if qk_norm_eps is not None else nn.Identity()
        self.k_norm = nn.RMSNorm(d_head, eps=qk_norm_eps) if qk_norm_eps is not None else nn.Identity()

    def project(
        self, X: Tensor, memory: Tensor | None = None, rotary: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make the queries of X and the keys and values of the memory: X W_q, X W_k, X W_v, cut into heads.

        Args:
            X: (B, N, D) tokens that ask.
            memory: (B, M, D) tokens that are asked; None: X itself.
            rotary: (N, D_k / 2) or (B, 1, N, D_k / 2) cosines and sines from `rotary_tables`; None: no
                rotation.

        Returns:
            (B, H, N, D_k) queries, (B, H_kv, M, D_k) keys and (B, H_kv, M, D_k) values.

        Raises:
            ValueError: X or the memory is not (B, tokens, D), or they differ in B.
        """
        memory = X if memory is None else memory
        if (
            X.ndim != 3
            or memory.ndim != 3
            or X.shape[::2] != memory.shape[::2]
            or X.shape[-1] != self.d_model
        ):
            raise ValueError(
                f"tokens must be (B, N, {self.d_model}), and the memory of the same batch and width: "
                f"got {tuple(X.shape)} and {tuple(memory.shape)}"
            )
        Q = self.q_norm(split_heads(self.W_q(X), self.n_heads))
        K = self.k_norm(split_heads(self.W_k(memory), self.n_kv_heads))
        V = split_heads(self.W_v(memory), self.n_kv_heads)
        if rotary is not None:
            Q, K = rotate(Q, *rotary), rotate(K, *rotary)
        return Q, K, V

    def forward(
        self,
        X: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        is_causal: bool = False,
        rotary: tuple[Tensor, Tensor] | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Let the tokens of X read from the memory, or from one another.

        Args:
            X: (B, N, D) tokens that ask.
            memory: (B, M, D) tokens that are asked; None: X itself.
            mask: bool, broadcastable to (B, H, N, M), True where a query may look at a key; None: everywhere.
            is_causal: True: token i looks at tokens 0 ... i only; faster than the same mask written out.
            rotary: (N, D_k / 2) or (B, 1, N, D_k / 2) cosines and sines from `rotary_tables`; None: no
                rotation.
            cache: earlier keys and values of this layer, which the new ones join.

        Returns:
            (B, N, D) what each token has read; one that may look nowhere has read zeros.

        Raises:
            ValueError: a width, or the mask, does not fit.
        """
        Q, K, V = self.project(X, memory, rotary)
        if cache is not None:
            K, V = cache.append(K, V)
        if mask is not None:
            check_mask(mask, (*Q.shape[:-1], K.shape[-2]))
            mask = torch.atleast_2d(mask)
        if is_causal and mask is not None:  # the kernel takes one or the other
            mask, is_causal = mask & causal_mask(Q.shape[-2], device=Q.device), False
        grouped = self.n_kv_heads < self.n_heads
        heads = F.scaled_dot_product_attention(
            Q, K, V, attn_mask=mask, is_causal=is_causal, enable_gqa=grouped
        )
        return self.W_o(merge_heads(heads))  # (B, N, D)

    def weights(
        self,
        X: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        rotary: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Show who looks at whom, numbers that the fused kernel of `forward` never stores.

        Args:
            X: (B, N, D) tokens that ask.
            memory: (B, M, D) tokens that are asked; None: X itself.
            mask: bool, broadcastable to (B, H, N, M), True where a query may look at a key; None: everywhere.
            rotary: (N, D_k / 2) or (B, 1, N, D_k / 2) cosines and sines from `rotary_tables`; None: no
                rotation.

        Returns:
            (B, H, N, M) attention weights; each row sums to one, or to zero where a query may look nowhere.

        Raises:
            ValueError: a width, or the mask, does not fit.
        """
        Q, K, _ = self.project(X, memory, rotary)
        K = K.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
        # As values, unit vectors bring out the weights.
        unit_vectors = torch.eye(K.shape[-2], dtype=K.dtype, device=K.device)
        return scaled_dot_product_attention(Q, K, unit_vectors, mask)
