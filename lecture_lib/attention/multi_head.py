"""Attention with many heads (lecture, Algorithm 12.2): self, cross and grouped-query, with a cache or none.

`multi_head_attention` is the definition. `MultiHeadAttention`, which the models are made of, calls torch's fused kernel:
the same numbers without ever storing the N x M scores; a test holds the two equal.

Source: Vaswani et al. (2017), section 3.2.2; Ainslie et al. (2023) for grouped queries.
Axes: B batch, H heads, H_kv key-value heads, N query tokens, M key tokens, D = d_model, D_k = d_head.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib.attention.context import Context
from lecture_lib.attention.dot_product import causal_mask, check_mask, scaled_dot_product_attention
from lecture_lib.embedding import rotate


class MultiHeadAttention(nn.Module):
    """Attend with several heads side by side and mix what they read: Concat[H_1, ..., H_H] W_o.

    With n_kv_heads < n_heads (grouped-query), n_heads / n_kv_heads neighbouring query heads share one key-value head.
    Heads that do not divide the width, or key-value heads that do not divide the heads, are refused.

    Args:
        d_model: width D of a token.
        n_heads: number of query heads H.
        n_kv_heads: number of key-value heads H_kv, a divisor of H; None: H.
        d_head: width D_k of a head; None: D / H.
        qkv_bias: whether W_q, W_k and W_v have biases.
        out_bias: whether W_o has one.
        qk_norm_eps: normalise queries and keys by their root mean square, with this epsilon (Qwen3).

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
        parts = f"{n_kv_heads} key-value heads must divide {n_heads} heads"
        if min(n_kv_heads, n_heads) < 1 or n_heads % n_kv_heads or (d_head is None and d_model % n_heads):
            raise ValueError(f"{parts}, and these {n_heads} heads must divide d_model {d_model}")
        d_head = d_model // n_heads if d_head is None else d_head
        self.d_model, self.n_heads, self.n_kv_heads, self.d_head = d_model, n_heads, n_kv_heads, d_head
        self.layer = 0  # its place in a stack
        self.windowed = False  # whether it looks at the last tokens only
        self.W_q = nn.Linear(d_model, n_heads * d_head, bias=qkv_bias)
        self.W_k = nn.Linear(d_model, n_kv_heads * d_head, bias=qkv_bias)
        self.W_v = nn.Linear(d_model, n_kv_heads * d_head, bias=qkv_bias)
        self.W_o = nn.Linear(n_heads * d_head, d_model, bias=out_bias)
        self.q_norm = None if qk_norm_eps is None else nn.RMSNorm(d_head, eps=qk_norm_eps)
        self.k_norm = None if qk_norm_eps is None else nn.RMSNorm(d_head, eps=qk_norm_eps)
        # The three maps as one product, where a layout has put them so.
        self.in_one: Callable[..., tuple[Tensor, ...]] | None = None

    def forward(
        self, X: Tensor, memory: Tensor | Context | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Let the tokens of X read from the memory, or from one another; a width or a mask that does not fit is refused.

        Args:
            X: (B, N, D) tokens that ask.
            memory: (B, M, D) tokens that are asked; None: X itself. Layers give a `Context`, which says this and all else.
            mask: bool, broadcastable to (B, H, N, M), True where a query may look at a key; None: everywhere.

        Returns:
            (B, N, D) what each token has read; one that may look nowhere has read zeros.
        """
        here = memory if isinstance(memory, Context) else self.context(X, memory, mask)
        Q, K, V = self.project(X, here)
        if here.keep is not None:
            K, V = here.keep(self.layer, K, V)
        heads = self.attend(Q, K, V, here)
        return self.W_o(heads.transpose(1, 2).flatten(2))  # (B, N, D)

    def project(self, X: Tensor, here: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries, keys and values: X W_q, X W_k, X W_v, cut into heads, the first two turned; those of a memory may be known."""
        asked = X if here.memory is None else here.memory
        if here.known is not None:
            made = [self.W_q(X)]
        elif self.in_one is not None and asked is X:
            made = self.in_one(X, self.W_q, self.W_k, self.W_v)
        else:
            made = [self.W_q(X), self.W_k(asked), self.W_v(asked)]
        # `split_heads` for widths that are known to fit: (B, H, N, D_k)
        Q, *others = [torch.unflatten(Y, -1, (-1, self.d_head)).transpose(1, 2) for Y in made]
        K, V = others or here.known[self.layer]
        if self.q_norm is not None:
            Q, K = self.q_norm(Q), self.k_norm(K) if others else K
        if here.rotary is not None:
            Q, K = rotate(Q, *here.rotary), rotate(K, *here.rotary)
        return Q, K, V

    def attend(self, Q: Tensor, K: Tensor, V: Tensor, here: Context) -> Tensor:
        """Mix the values by torch's kernel, (B, H, N, D_k).

        For one token a row, the query heads that share keys are rows of queries of one head; and halves are
        attended in single precision on a CPU, whose kernel for halves takes four times as long.
        """
        near = self.windowed and here.near is not None
        mask, is_causal = (here.near, False) if near else (here.mask, here.is_causal)
        dtype, n_tokens, grouped = Q.dtype, int(Q.shape[2]), self.n_kv_heads < self.n_heads
        one_each = n_tokens == 1 and not is_causal
        if one_each and grouped:
            Q = Q.unflatten(1, (self.n_kv_heads, -1)).squeeze(3)  # (B, H_kv, H / H_kv, D_k)
        if one_each and Q.is_cpu and dtype in (torch.bfloat16, torch.float16):
            Q, K, V = Q.float(), K.float(), V.float()
        if is_causal and mask is not None:  # the kernel takes one or the other
            mask, is_causal = mask & causal_mask(n_tokens, Q.device), False
        heads = F.scaled_dot_product_attention(
            Q, K, V, attn_mask=mask, is_causal=is_causal, enable_gqa=grouped and not one_each
        ).to(dtype)
        return heads.flatten(1, 2).unsqueeze(2) if one_each and grouped else heads

    def weights(
        self, X: Tensor, memory: Tensor | Context | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Show who looks at whom, as `forward`: (B, H, N, M) weights, numbers that the fused kernel never stores.

        Each row sums to one, or to zero where a query may look nowhere.
        """
        here = memory if isinstance(memory, Context) else self.context(X, memory, mask)
        Q, K, _ = self.project(X, here)
        K = K.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
        mask = here.near if self.windowed and here.near is not None else here.mask
        if here.is_causal:
            causal = causal_mask(X.shape[1], X.device)
            mask = causal if mask is None else mask & causal
        # As values, unit vectors bring out the weights.
        unit_vectors = torch.eye(K.shape[-2], dtype=K.dtype, device=K.device)
        return scaled_dot_product_attention(Q, K, unit_vectors, mask)

    def context(self, X: Tensor, memory: Tensor | None, mask: Tensor | None) -> Context:
        """Make the context of a call from outside a model, and refuse what does not fit."""
        asked = X if memory is None else memory
        wanted = f"tokens must be (B, N, {self.d_model}), and the memory of the same batch and width"
        if X.ndim != 3 or asked.ndim != 3 or X.shape[::2] != asked.shape[::2] or X.shape[-1] != self.d_model:
            raise ValueError(f"{wanted}: got {tuple(X.shape)} and {tuple(asked.shape)}")
        if mask is not None:
            check_mask(mask, (len(X), self.n_heads, X.shape[1], asked.shape[1]))
            mask = torch.atleast_2d(mask)
        return Context(mask=mask, memory=memory)
