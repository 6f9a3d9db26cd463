"""Attention: one head (`dot_product`), many (`heads`, Algorithm 12.2), as models run them (`multi_head`, `context`)."""

from lecture_lib.attention.context import Context, Keep
from lecture_lib.attention.dot_product import (
    causal_mask,
    check_attention,
    check_mask,
    padding_mask,
    scaled_dot_product_attention,
    softmax,
)
from lecture_lib.attention.heads import cross_attention, merge_heads, multi_head_attention, split_heads
from lecture_lib.attention.multi_head import MultiHeadAttention

__all__ = [
    "Context",
    "Keep",
    "MultiHeadAttention",
    "causal_mask",
    "check_attention",
    "check_mask",
    "cross_attention",
    "merge_heads",
    "multi_head_attention",
    "padding_mask",
    "scaled_dot_product_attention",
    "softmax",
    "split_heads",
]
