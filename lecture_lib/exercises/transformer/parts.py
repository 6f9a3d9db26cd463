"""Parts of a layer for the exercises that put them together, and what the cases are drawn from.

A case names the parts by their sizes and a seed, so that it stays plain data; they are made of torch's own modules and
handed to the answer as callables.
"""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

BY_HAND = {"attention": "mean", "network": "relu"}  # said in few letters: a small case is printed in full
BY_HAND_WORDS = (
    "attention gives the mean of the tokens, the network max(x, 0), gains are 1, biases 0: by hand"
)


class Attention:
    """torch's attention, called as the exercises say: attention(X, mask=mask) with True = may look."""

    def __init__(self, module: nn.MultiheadAttention) -> None:
        self.module = module

    def __call__(self, X: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read: (B, N, D) tokens and an (N, N) mask to (B, N, D) tokens."""
        return self.module(X, X, X, attn_mask=hidden(mask), need_weights=False)[0]


def _empty_parts(X: Tensor, n_heads: int, d_ff: int) -> list[nn.Module]:
    """Attention, its norm, network, its norm: without values, so that nobody's random numbers are used up."""
    D, like = X.shape[-1], {"device": "meta", "dtype": X.dtype}
    attention = nn.MultiheadAttention(D, n_heads, batch_first=True, **like)
    feed_forward = nn.Sequential(nn.Linear(D, d_ff, **like), nn.ReLU(), nn.Linear(d_ff, D, **like))
    parts = [attention, nn.LayerNorm(D, **like), feed_forward, nn.LayerNorm(D, **like)]
    return [part.to_empty(device=X.device) for part in parts]


def _named(attention: nn.Module, norm: nn.Module, *others: nn.Module) -> SimpleNamespace:
    names = "attention", "attention_norm", "feed_forward", "feed_forward_norm"
    return SimpleNamespace(**dict(zip(names, (Attention(attention), norm, *others), strict=True)))


def draw_parts(X: Tensor, n_heads: int, d_ff: int, seed: int) -> SimpleNamespace:
    """The parts of one layer for tokens like X, with weights, gains and biases all drawn."""
    draw = torch.Generator().manual_seed(seed)
    parts = _empty_parts(X, n_heads, d_ff)
    for place, part in enumerate(parts):
        for parameter in part.parameters():
            parameter.data.normal_(place % 2, 0.5, generator=draw)  # the norms' around 1
    return _named(*parts)


def parts_by_hand(X: Tensor) -> SimpleNamespace:
    """The parts described by `BY_HAND`."""
    attention, norm, feed_forward, last_norm = _empty_parts(X, 1, X.shape[-1])
    for part in (attention, feed_forward):
        for parameter in part.parameters():
            parameter.data.zero_()
    attention.in_proj_weight.data[-X.shape[-1] :].fill_diagonal_(1)  # no queries, no keys: equal weights
    for linear in (attention.out_proj, feed_forward[0], feed_forward[2]):
        linear.weight.data.fill_diagonal_(1)
    norm.reset_parameters()
    last_norm.reset_parameters()
    return _named(attention, norm, feed_forward, last_norm)


def torch_layer(
    attention: Attention, feed_forward: nn.Module, *norms: nn.Module, norm_first: bool
) -> Callable:
    """One of torch's own layers, made of these parts: layer(X, mask)."""
    first, _, last = feed_forward
    with torch.device("meta"):
        sizes = attention.module.embed_dim, attention.module.num_heads, first.out_features
        layer = nn.TransformerEncoderLayer(*sizes, dropout=0.0, batch_first=True, norm_first=norm_first)
    layer.self_attn, layer.linear1, layer.linear2 = attention.module, first, last
    layer.norm1, layer.norm2 = norms
    return lambda X, mask: layer(X, src_mask=hidden(mask))


def hidden(mask: Tensor | None) -> Tensor | None:
    """The mask in the words of torch's layers: True where a token may not look."""
    return None if mask is None else ~mask
