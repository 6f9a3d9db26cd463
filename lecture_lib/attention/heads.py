r"""Many heads, as the lecture writes them down (Algorithm 12.2): split, attend side by side, merge, mix.

Source: Bishop & Bishop (2024), section 12.1.6; Vaswani et al. (2017), section 3.2.2.
Axes: B batch, H heads, N tokens, M tokens of the memory, D width of a token, D_k and D_v width of a head;
`...` any number of leading axes.
"""

from torch import Tensor

from lecture_lib.attention.dot_product import padding_mask, scaled_dot_product_attention


def split_heads(X: Tensor, n_heads: int) -> Tensor:
    """Cut the features into heads and put the head axis before the tokens.

    Args:
        X: (..., N, H * D_k) features of all heads side by side.
        n_heads: number of heads H.

    Returns:
        (..., H, N, D_k) head h holds features h D_k ... (h + 1) D_k - 1.

    Raises:
        ValueError: the width does not divide into H heads.

    Example:
        >>> split_heads(torch.arange(8).view(2, 4), n_heads=2).tolist()
        [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]
    """
    if n_heads < 1 or X.shape[-1] % n_heads:
        raise ValueError(f"{n_heads} heads must divide the width {X.shape[-1]} of {tuple(X.shape)}")
    return X.unflatten(-1, (n_heads, X.shape[-1] // n_heads)).transpose(-3, -2)


def merge_heads(X: Tensor) -> Tensor:
    """Put the heads side by side again, Concat[H_1, ..., H_H]: undo `split_heads`.

    Args:
        X: (..., H, N, D_k) outputs of the heads.

    Returns:
        (..., N, H * D_k) features of all heads side by side.

    Example:
        >>> merge_heads(torch.tensor([[[0, 1], [4, 5]], [[2, 3], [6, 7]]])).tolist()
        [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    return X.transpose(-3, -2).flatten(-2)


def multi_head_attention(
    X: Tensor,
    W_q: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    W_o: Tensor,
    n_heads: int,
    mask: Tensor | None = None,
) -> Tensor:
    """Attend with H heads and mix what they read: Concat[H_1, ..., H_H] W_o.

    Args:
        X: (..., N, D) tokens.
        W_q: (D, H * D_k) query maps of all heads, one head beside the other.
        W_k: (D, H * D_k) key maps.
        W_v: (D, H * D_v) value maps; D_v need not be D_k.
        W_o: (H * D_v, D) map from the joined heads back to the width of a token.
        n_heads: number of heads H.
        mask: bool, broadcastable to (..., H, N, N), True where a token may look
            at a token; None: everywhere.

    Returns:
        (..., N, D) what each token has read.

    Example:
        >>> I = torch.eye(2); multi_head_attention(I, I, I, I, I, n_heads=2)
        tensor([[0.7311, 0.5000],
                [0.5000, 0.7311]])

    Source: Bishop & Bishop (2024), Algorithm 12.2.
    """
    Q, K, V = (split_heads(X @ W, n_heads) for W in (W_q, W_k, W_v))  # (..., H, N, D_k or D_v)
    heads = scaled_dot_product_attention(Q, K, V, mask)
    return merge_heads(heads) @ W_o


def cross_attention(
    X: Tensor,
    memory: Tensor,
    W_q: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    W_o: Tensor,
    n_heads: int,
    lengths: Tensor | None = None,
) -> Tensor:
    """Let X read from another text: queries of X, keys and values of the memory.

    Args:
        X: (B, N, D) tokens that ask.
        memory: (B, M, D) tokens that are asked, padded on the right.
        W_q: (D, H * D_k) query maps of all heads, one head beside the other.
        W_k: (D, H * D_k) key maps.
        W_v: (D, H * D_v) value maps; D_v need not be D_k.
        W_o: (H * D_v, D) map from the joined heads back to the width of a token.
        n_heads: number of heads H.
        lengths: (B,) integer number of real tokens in each memory, 0 ... M; the rest is
            padding and is not read. None: there is no padding.

    Returns:
        (B, N, D) what each token has read; from a memory of length 0, zeros.

    Example:
        >>> I = torch.eye(2); X = memory = I[None]  # two tokens ask the same two
        >>> cross_attention(X, memory, I, I, I, I, n_heads=1, lengths=torch.tensor([1]))
        tensor([[[1., 0.],
                 [1., 0.]]])

    Source: Vaswani et al. (2017), section 3.2.3.
    """
    Q = split_heads(X @ W_q, n_heads)
    K, V = (split_heads(memory @ W, n_heads) for W in (W_k, W_v))  # (B, H, M, D_k or D_v)
    mask = None if lengths is None else padding_mask(lengths, memory.shape[-2])
    heads = scaled_dot_product_attention(Q, K, V, mask)
    return merge_heads(heads) @ W_o
