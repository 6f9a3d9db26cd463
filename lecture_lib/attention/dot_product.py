r"""Attention with one head: tokens read from one another (lecture, Algorithm 12.1).

Source: Bishop & Bishop (2024), section 12.1; Vaswani et al. (2017), section 3.2.
Axes: N query tokens, M key tokens, D_k width of queries and keys, D_v of values; `...` any number of leading
axes. Masks are boolean and True means: may look.
"""

import math

import torch
from torch import Tensor


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    r"""Turn scores into positive weights that sum to one: $e^{x_i} / \sum_j e^{x_j}$.

    Args:
        x: (...) scores; -inf: weight zero.
        dim: the axis along which the weights sum to one.

    Returns:
        (...) weights, in the shape and dtype of x. A slice that is -inf throughout
        (a query that may look nowhere) gives zeros.

    Example:
        >>> softmax(torch.tensor([0.0, 1.0, -torch.inf]))
        tensor([0.2689, 0.7311, 0.0000])

    Source: Bishop & Bishop (2024), eq. 5.76.
    """
    largest = x.detach().amax(dim, keepdim=True)
    largest = largest.masked_fill(largest == -torch.inf, 0)
    powers = torch.exp(x - largest)  # the largest is exp(0) = 1: nothing overflows, and the sum is at least 1
    return powers / powers.sum(dim, keepdim=True).clamp_min(1)  # unless all were -inf: 0 / 1


def check_attention(Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None) -> None:
    """Refuse what attention cannot use: arguments as `scaled_dot_product_attention`."""
    got = f"got queries {tuple(Q.shape)}, keys {tuple(K.shape)} and values {tuple(V.shape)}"
    if min(Q.ndim, K.ndim, V.ndim) < 2 or Q.shape[-1] != K.shape[-1]:
        raise ValueError(f"queries, keys and values have one row a token, and the first two share D_k: {got}")
    if K.shape[-2] != V.shape[-2] or K.shape[-2] == 0:
        raise ValueError(f"there must be at least one key, and one value for each: {got}")
    try:
        leading = torch.broadcast_tensors(*(X.new_empty(X.shape[:-2]) for X in (Q, K, V)))[0].shape
    except RuntimeError:
        raise ValueError(f"the axes before the tokens must be the same: {got}") from None
    if mask is not None:
        check_mask(mask, (*leading, Q.shape[-2], K.shape[-2]))


def check_mask(mask: Tensor, scores: tuple[int, ...]) -> None:
    """Refuse a mask that is not boolean, or does not broadcast to the `scores`, whose shape is given; as `scaled_dot_product_attention`."""
    if mask.dtype != torch.bool:
        raise ValueError(f"a mask is boolean, True where a query may look at a key: got {mask.dtype}")
    axes = zip(reversed(mask.shape), reversed(scores), strict=False)
    if mask.ndim > len(scores) or any(m not in (1, s) for m, s in axes):
        raise ValueError(f"the mask must broadcast to (..., N, M) = {tuple(scores)}: got {tuple(mask.shape)}")


def scaled_dot_product_attention(
    Q: Tensor,
    K: Tensor,
    V: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Mix values by query-key similarity: $\mathrm{Softmax}(QK^T/\sqrt{D_k})\,V$.

    Args:
        Q: (..., N, D_k) queries.
        K: (..., M, D_k) keys.
        V: (..., M, D_v) values; the unit vectors `torch.eye(M)` bring out the weights.
        mask: (N, M) bool or anything that broadcasts to (..., N, M), True where a
            query may look at a key; None: everywhere. A query that may look nowhere
            gives zeros.

    Returns:
        (..., N, D_v) one mixed value vector per query.

    Raises:
        ValueError: queries and keys differ in width, keys and values in number,
            or the mask does not fit.

    Example:
        >>> I = torch.eye(2); scaled_dot_product_attention(I, I, I)
        tensor([[0.6698, 0.3302],
                [0.3302, 0.6698]])

    Source: Bishop & Bishop (2024), Algorithm 12.1; Vaswani et al. (2017), eq. 1.
    """
    check_attention(Q, K, V, mask)
    scores = Q @ K.mT / math.sqrt(Q.shape[-1])  # (..., N, M)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = softmax(scores, dim=-1)
    return weights @ V  # (..., N, D_v)


def causal_mask(n: int, device: torch.device | None = None) -> Tensor:
    """Let token i look at token j only if j <= i: the lower triangle.

    Args:
        n: number of tokens N.
        device: where the mask lives.

    Returns:
        (N, N) bool, True where a query may look.
    """
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


def padding_mask(lengths: Tensor, n: int | None = None) -> Tensor:
    """Hide the padding of right-padded rows: key j may be looked at only if j < length.

    Args:
        lengths: (B,) integer number of real tokens in each row.
        n: padded length N; None: the largest length.

    Returns:
        (B, 1, 1, N) bool, True for real tokens; broadcasts over heads and queries.

    Raises:
        ValueError: a length is negative or larger than n, or the lengths are not one integer a row.
    """
    if lengths.ndim != 1 or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ValueError(f"lengths must be (B,) integers, got {tuple(lengths.shape)} {lengths.dtype}")
    if n is None:
        n = int(lengths.max()) if lengths.numel() else 0
    if lengths.device.type == "cpu" and lengths.numel() and not 0 <= lengths.min() <= lengths.max() <= n:
        raise ValueError(f"every length must lie in 0 ... {n}, got {lengths.tolist()}")
    return torch.arange(n, device=lengths.device) < lengths[:, None, None, None]
