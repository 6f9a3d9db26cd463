"""The parts of a decoder layer for the exercise that puts them together: torch's own modules, drawn from sizes and a seed."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

BY_HAND = "by hand"
BY_HAND_WORDS = "attentions give the mean of what may be seen, the network max(x, 0), gains are 1, biases 0"


class Attention:
    """torch's attention, called as the exercise says: attention(X, memory, mask=mask) with True = may look."""

    def __init__(self, module: nn.MultiheadAttention) -> None:
        self.module = module

    def __call__(self, X: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Read: (B, M, D) tokens of X from a memory (B, N, D), or from one another."""
        asked = X if memory is None else memory
        if mask is not None:
            sizes = len(X), self.module.num_heads, X.shape[1], asked.shape[1]
            mask = ~mask.expand(sizes).flatten(0, 1)
        return self.module(X, asked, asked, attn_mask=mask, need_weights=False)[0]


def draw_parts(X: Tensor, n_heads: int, d_ff: int, seed: int | str) -> tuple[Callable, ...]:
    """Attention, cross-attention, network, and their norms; made without torch's own random numbers."""
    D, like = X.shape[-1], {"device": "meta", "dtype": X.dtype}
    attentions = [nn.MultiheadAttention(D, n_heads, batch_first=True, **like) for _ in range(2)]
    network = nn.Sequential(nn.Linear(D, d_ff, **like), nn.ReLU(), nn.Linear(d_ff, D, **like))
    norms = [nn.LayerNorm(D, **like) for _ in range(3)]
    parts = [part.to_empty(device=X.device) for part in (*attentions, network, *norms)]
    by_hand, generator = seed == BY_HAND, torch.Generator().manual_seed(0 if seed == BY_HAND else seed)
    for place, part in enumerate(parts):
        for parameter in part.parameters():
            parameter.data.normal_(place > 2, 0 if by_hand else 0.5, generator=generator)  # norms around 1
    if by_hand:
        _set_by_hand(*parts)
    return Attention(parts[0]), Attention(parts[1]), *parts[2:]


def _set_by_hand(attention: nn.Module, cross: nn.Module, network: nn.Module, *norms: nn.Module) -> None:
    for each in (attention, cross):
        each.in_proj_weight.data[-each.embed_dim :].fill_diagonal_(1)  # no queries, no keys: equal weights
    for linear in (attention.out_proj, cross.out_proj, network[0], network[2]):
        linear.weight.data.fill_diagonal_(1)
    for norm in norms:
        norm.bias.data.zero_()


def torch_layer(attention: Attention, cross: Attention, network: nn.Module, *norms: nn.Module) -> nn.Module:
    """Torch's own pre-LN decoder layer, made of these parts."""
    first, _, last = network
    with torch.device("meta"):
        sizes = attention.module.embed_dim, attention.module.num_heads, first.out_features
        layer = nn.TransformerDecoderLayer(*sizes, dropout=0.0, batch_first=True, norm_first=True)
    layer.self_attn, layer.multihead_attn = attention.module, cross.module
    layer.linear1, layer.linear2 = first, last
    layer.norm1, layer.norm2, layer.norm3 = norms
    return layer
