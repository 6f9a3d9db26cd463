"""Self-attention with many heads."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib import attention
from lecture_lib.checks.attention.draws import F64, maps, normal, sizes, some_keys, views
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def _multi_head_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    A, B, H, N, D_k, D_v = sizes(draw, 6)
    D = H * D_k + 1  # a width that no product of the others gives
    size = f"N={N} tokens, D={D}, {H} heads, D_k={D_k}, D_v={D_v}"

    def call(*leading: int, heads: int = H, dtype: torch.dtype = torch.float32) -> tuple:
        return 2 * normal(draw, *leading, N, D, dtype=dtype), *maps(draw, D, heads, D_k, D_v, dtype), heads

    lengths = torch.randint(1, N, (B, 1, 1, 1), generator=draw)
    lengths[1] = 0
    nowhere = some_keys(draw, N, N)
    nowhere[0], nowhere[1] = False, True
    return [
        Case("N=2 tokens, D=2, 2 heads of width one", (2 * normal(draw, 2, 2), *maps(draw, 2, 2, 1, 1), 2)),
        Case(size, call()),
        Case(f"batch ({B},), {size}", call(B)),
        Case(f"batch ({B},), {size}, everything a transposed view", views(call(B))),
        Case(f"batch (1,), one token, D={D}, {H} heads", (2 * normal(draw, 1, 1, D), *call()[1:])),
        Case(f"batch ({A}, {B}), {size}", call(A, B)),
        Case(f"batch ({B},), N={N} tokens, D={D}, one head", call(B, heads=1)),
        Case(f"batch ({B},), {size}, causal mask", (*call(B), torch.ones(N, N, dtype=torch.bool).tril())),
        Case(
            f"batch ({B},), {size}, padded, row 1 all padding", call(B), {"mask": torch.arange(N) < lengths}
        ),
        Case(f"{size}, its own mask for each head", (*call(), some_keys(draw, H, N, N))),
        Case(
            f"batch ({B},), {size}, masked, token 0 looks nowhere, float64, with gradients",
            (*call(B, dtype=F64), nowhere),
            gradient=(0, 1, 2, 3, 4),
        ),
    ]


def head_by_head(X: Tensor, memory: Tensor, weights: tuple, n_heads: int, mask: Tensor | None) -> Tensor:
    """Add up what each head contributes, with its own slices of W_q, W_k, W_v, W_o and torch's kernel."""
    columns = (W.chunk(n_heads, dim=1) for W in weights[:3])
    slices = zip(*columns, weights[3].chunk(n_heads, dim=0), strict=True)
    scores = (*X.shape[:-2], n_heads, X.shape[-2], memory.shape[-2])
    masks = [None] * n_heads if mask is None else torch.broadcast_to(mask, scores).unbind(-3)
    return sum(
        F.scaled_dot_product_attention(X @ q, memory @ k, memory @ v, attn_mask=seen) @ o
        for (q, k, v, o), seen in zip(slices, masks, strict=True)
    )


def _reference(
    X: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor, W_o: Tensor, n_heads: int, mask: Tensor | None = None
) -> Tensor:
    return head_by_head(X, X, (W_q, W_k, W_v, W_o), n_heads, mask)


def _wrong(*changes: tuple[str, str]) -> Callable:
    return altered(attention.multi_head_attention, *changes)


PROJECTED, JOINED = "split_heads(X @ W, n_heads)", "merge_heads(heads)"

MULTI_HEAD = Exercise(
    name="attention.multi_head_attention",
    points=4,
    difficulty=2,
    minutes=20,
    against="torch's kernel, head by head with its own slices of the maps (float32 1e-5, float64 1e-9 with gradients)",
    reference=_reference,
    cases=_multi_head_cases,
    kernels=("_native_multi_head_attention",),
    owned=("torch.nn.functional.multi_head_attention_forward", "lecture_lib.attention.MultiHeadAttention"),
    mistakes=(
        Mistake(
            "there is one wide head. Where are the features cut into heads?",
            _wrong((PROJECTED, "split_heads(X @ W, 1)")),
        ),
        Mistake(
            "the projected numbers are reshaped to (H, N, D_k) in their old order, which mixes tokens.",
            _wrong((PROJECTED, "(X @ W).reshape(*X.shape[:-2], n_heads, X.shape[-2], -1)")),
        ),
        Mistake(
            "the heads are joined by reshaping alone, which mixes tokens. Which axes have to change places first?",
            _wrong((JOINED, "heads.reshape(*X.shape[:-2], X.shape[-2], -1)")),
        ),
        Mistake(
            "each token's heads look at one another, and no token at another token. "
            "Which axis has to stand second to last when attention is called?",
            _wrong((PROJECTED, "(X @ W).unflatten(-1, (n_heads, -1))"), (JOINED, "heads.flatten(-2)")),
        ),
        Mistake(
            "each head takes every H-th feature. Which columns of W_q belong to head 0?",
            _wrong(
                (PROJECTED, "(X @ W).unflatten(-1, (-1, n_heads)).movedim(-1, -3)"),
                (JOINED, "heads.movedim(-3, -1).flatten(-2)"),
            ),
        ),
        Mistake(
            "queries and keys are exchanged: who asks is asked. Which map makes the queries?",
            _wrong(("(W_q, W_k, W_v)", "(W_k, W_q, W_v)")),
        ),
        Mistake(
            "the scores are divided by the square root of the width of all heads together. "
            "Over how many features does one head's dot product run?",
            _wrong(("attention(Q,", "attention(Q / n_heads**0.5,")),
        ),
        Mistake(
            "the scores are divided by √D_k twice. Does scaled_dot_product_attention do it already?",
            _wrong(("attention(Q,", "attention(Q / Q.shape[-1] ** 0.5,")),
        ),
        Mistake(
            "the mask is not handed on to the heads.",
            _wrong(("K, V, mask)", "K, V)")),
        ),
        Mistake(
            "the joined heads are returned without W_o. What mixes what the heads have read?",
            _wrong((" @ W_o", "")),
        ),
        Mistake(
            "W_o is transposed. Rows are tokens: which of its axes meets the joined heads?",
            _wrong(("@ W_o", "@ W_o.mT")),
        ),
        Mistake(
            "the tokens themselves are added to the result. The residual path comes later, with the layer.",
            _wrong(("@ W_o", "@ W_o + X")),
        ),
    ),
)
