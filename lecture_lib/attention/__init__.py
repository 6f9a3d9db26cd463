"""Attention: one head (`dot_product`, Algorithm 12.1) and many (`multi_head`, Algorithm 12.2)."""

from lecture_lib.attention.dot_product import (
    causal_mask,
    check_attention,
    check_mask,
    padding_mask,
    scaled_dot_product_attention,
    softmax,
)
from lecture_lib.attention.multi_head import LayerCache, MultiHeadAttention, merge_heads, split_heads

__all__ = [
    "LayerCache",
    "MultiHeadAttention",
    "causal_mask",
    "check_attention",
    "check_mask",
    "merge_heads",
    "padding_mask",
    "scaled_dot_product_attention",
    "softmax",
    "split_heads",
]
