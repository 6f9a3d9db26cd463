"""Many heads: one text reading itself, and one text reading another that may be padded."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.draws import BF16, F64, Draw, columns, scattered
from lecture_lib.checks.exercise import Case, Exercise


def multi_head_cases(seed: int) -> list[Case]:
    """Leading axes, one head, masks of every kind, views, bfloat16, gradients of tokens and maps."""
    draw = Draw(seed)
    A, B, H, N, D_k, D_v = draw.sizes(6)
    D = H * D_k + 1  # a width that no product of the others gives
    size = f"N={N} tokens, D={D}, {H} heads, D_k={D_k}, D_v={D_v}"

    def call(*leading: int, heads: int = H, dtype: torch.dtype = torch.float32) -> tuple:
        X = (2 * draw.normal(*leading, N, D, dtype=F64)).to(dtype)
        return X, *draw.maps(D, heads, D_k, D_v, dtype), heads

    lengths = draw.ids(B, 1, 1, 1, low=1, below=N)
    lengths[1] = 0
    nowhere = draw.mask(N, N)
    nowhere[0], nowhere[1] = False, True
    return [
        Case("N=2 tokens, D=2, 2 heads of width one", (2 * draw.normal(2, 2), *draw.maps(2, 2, 1, 1), 2)),
        Case(size, call()),
        Case(f"batch ({B},), {size}", call(B)),
        Case(f"batch ({B},), {size}, the same sizes with other numbers", call(B)),
        Case(f"batch ({B},), {size}, nothing contiguous", tuple(map(columns, call(B)))),
        Case(f"batch ({A}, {B}), {size}, not contiguous", (scattered(call(A, B)[0]), *call()[1:])),
        Case(f"batch (1,), one token, D={D}, {H} heads", (2 * draw.normal(1, 1, D), *call()[1:])),
        Case(f"batch ({A}, {B}), {size}", call(A, B)),
        Case(f"batch ({B},), N={N} tokens, D={D}, one head", call(B, heads=1)),
        Case(f"batch ({B},), {size}, causal mask", (*call(B), torch.ones(N, N, dtype=torch.bool).tril())),
        Case(f"{size}, a mask ({N}, {N}) that is not causal", (*call(), draw.mask(N, N))),
        Case(f"batch ({B},), {size}, padded, row 1 all padding", call(B), {"mask": torch.arange(N) < lengths}),
        Case(f"{size}, its own mask for each head", (*call(), draw.mask(H, N, N))),
        Case(f"batch ({B},), {size}, its own mask for each text and head", (*call(B), draw.mask(B, H, N, N))),
        Case(f"batch ({B},), {size}, bfloat16", call(B, dtype=BF16)),
        Case(
            f"batch ({B},), {size}, masked, token 0 looks nowhere, float64, with gradients",
            (*call(B, dtype=F64), nowhere),
            gradient=(0, 1, 2, 3, 4),
        ),
    ]  # fmt: skip


def head_by_head(X: Tensor, memory: Tensor, weights: tuple, n_heads: int, mask: Tensor | None) -> Tensor:
    """Add up what each head contributes, with its own slices of W_q, W_k, W_v, W_o and torch's kernel."""
    wide = torch.promote_types(X.dtype, torch.float32)
    dtype, X, memory, weights = X.dtype, X.to(wide), memory.to(wide), [W.to(wide) for W in weights]
    columns = (W.chunk(n_heads, dim=1) for W in weights[:3])
    slices = zip(*columns, weights[3].chunk(n_heads, dim=0), strict=True)
    scores = (*X.shape[:-2], n_heads, X.shape[-2], memory.shape[-2])
    masks = [None] * n_heads if mask is None else torch.broadcast_to(mask, scores).unbind(-3)
    return sum(
        F.scaled_dot_product_attention(X @ q, memory @ k, memory @ v, attn_mask=seen) @ o
        for (q, k, v, o), seen in zip(slices, masks, strict=True)
    ).to(dtype)


def multi_head_reference(X, W_q, W_k, W_v, W_o, n_heads, mask=None) -> Tensor:
    """Let a text read itself, head by head."""
    return head_by_head(X, X, (W_q, W_k, W_v, W_o), n_heads, mask)


MULTI_HEAD = Exercise(
    name="attention.multi_head_attention",
    points=5, difficulty=2, minutes=20,
    against="torch's kernel, head by head with its own slices of the maps (float32 1e-5, float64 1e-9 with gradients)",
    reference=multi_head_reference,
    cases=multi_head_cases,
    kernels=("multi_head_attention",),
    owned=("torch.nn.functional.multi_head_attention_forward", "lecture_lib.attention.MultiHeadAttention"),
    mistakes=(
        ("there is one wide head. Where are the features cut into heads?",
         "W, n_heads", "W, 1"),
        ("the projected numbers are reshaped to (H, N, D_k) in their old order, which mixes tokens.",
         "split_heads(X @ W, n_heads)", "(X @ W).reshape(*X.shape[:-2], n_heads, X.shape[-2], -1)"),
        ("the heads are joined by reshaping alone, which mixes tokens. Which axes have to change places first?",
         "merge_heads(heads)", "heads.reshape(*X.shape[:-2], X.shape[-2], -1)"),
        ("each token's heads look at one another, and no token at another token. Which axis has to stand "
         "second to last when attention is called?",
         "split_heads(X @ W, n_heads)", "(X @ W).unflatten(-1, (n_heads, -1))", "merge_heads(heads)",
         "heads.flatten(-2)"),
        ("each head takes every H-th feature. Which columns of W_q belong to head 0?",
         "split_heads(X @ W, n_heads)", "(X @ W).unflatten(-1, (-1, n_heads)).movedim(-1, -3)",
         "merge_heads(heads)", "heads.movedim(-3, -1).flatten(-2)"),
        ("queries and keys are exchanged: who asks is asked. Which map makes the queries?",
         "W_q, W_k", "W_k, W_q"),
        ("the scores are divided by the square root of the width of all heads together. Over how many "
         "features does one head's dot product run?",
         ", K, V,", " / n_heads ** 0.5, K, V,"),
        ("the scores are divided by √D_k twice. Does scaled_dot_product_attention do it already?",
         ", K, V,", " / Q.shape[-1] ** 0.5, K, V,"),
        ("the mask is not handed on to the heads.",
         "V, mask", "V"),
        ("the joined heads are returned without W_o. What mixes what the heads have read?",
         " @ W_o", ""),
        ("W_o is transposed. Rows are tokens: which of its axes meets the joined heads?",
         "@ W_o", "@ W_o.mT"),
        ("the tokens themselves are added to the result. The residual path comes later, with the layer.",
         "@ W_o", "@ W_o + X"),
    ),
)  # fmt: skip


def cross_cases(seed: int) -> list[Case]:
    """Memories of every length, the empty one too, one head, views, bfloat16, gradients of texts and maps."""
    draw = Draw(seed)
    B, H, N, M, D_k, D_v = draw.sizes(6)
    D = H * D_k + 1
    size = f"N={N} tokens ask M={M}, D={D}, {H} heads, D_k={D_k}, D_v={D_v}"

    def call(batch: int, heads: int = H, dtype: torch.dtype = torch.float32) -> tuple:
        texts = (2 * draw.normal(batch, n, D, dtype=F64) for n in (N, M))
        return *(x.to(dtype) for x in texts), *draw.maps(D, heads, D_k, D_v, dtype), heads

    short = draw.ids(B, low=1, below=M)
    full = short.clone()
    short[0], full[0], full[1] = 1, 2, M
    empty = full.clone()
    empty[0] = 0
    tiny = (2 * draw.normal(1, 1, 2), 2 * draw.normal(1, 2, 2), *draw.maps(2, 2, 1, 1), 2)
    shorter = f"lengths {short.tolist()}: all shorter than M"
    return [
        Case("N=1 token asks M=2, D=2, 2 heads of width one", tiny),
        Case("the same, but the second token of the memory is padding", (*tiny, torch.tensor([1]))),
        Case(f"batch ({B},), {size}", call(B)),
        Case(f"batch ({B},), {size}, the same sizes with other numbers", call(B)),
        Case(f"batch ({B},), {size}, nothing contiguous", tuple(map(scattered, call(B)))),
        Case(f"batch ({B},), N={N} tokens ask M={M}, D={D}, one head", call(B, heads=1)),
        Case(f"batch (1,), {size}", call(1)),
        Case(f"batch ({B},), {size}, lengths {full.tolist()}", (*call(B), full)),
        Case(f"batch ({B},), {size}, {shorter}", (*call(B),), {"lengths": short}),
        Case(f"batch ({B},), {size}, lengths {empty.tolist()}: one memory empty", (*call(B), empty)),
        Case(f"batch ({B},), {size}, bfloat16, lengths {full.tolist()}", (*call(B, dtype=BF16), full)),
        Case(
            f"batch ({B},), {size}, lengths {empty.tolist()}, float64, with gradients",
            (*call(B, dtype=F64), empty),
            gradient=(0, 1, 2, 3, 4, 5),
        ),
    ]


def cross_reference(X, memory, W_q, W_k, W_v, W_o, n_heads, lengths=None) -> Tensor:
    """Let a text read another, head by head, with a mask written row by row."""
    rows = [] if lengths is None else [[m < n for m in range(memory.shape[1])] for n in lengths.tolist()]
    mask = torch.tensor(rows)[:, None, None] if rows else None
    return head_by_head(X, memory, (W_q, W_k, W_v, W_o), n_heads, mask)


CROSS = Exercise(
    name="attention.cross_attention",
    points=3, difficulty=2, minutes=15,
    against="torch's kernel, head by head with its own slices of the maps (float32 1e-5, float64 1e-9 with gradients)",
    reference=cross_reference,
    cases=cross_cases,
    kernels=("multi_head_attention",),
    owned=("torch.nn.functional.multi_head_attention_forward", "lecture_lib.attention.MultiHeadAttention"),
    mistakes=(
        ("the memory is not read at all: keys and values come from X. Who is asked?",
         "memory ", "X "),
        ("the memory asks and X answers. Which text should come out with new vectors?",
         "(X @ W_q, n_heads)\n    K, V = (split_heads(memory @ W, n_heads) for W in (W_k, W_v))",
         "(memory @ W_q, n_heads)\n    K, V = (split_heads(X @ W, n_heads) for W in (W_k, W_v))"),
        ("the keys are made with W_v and the values with W_k. Which map makes what is matched?",
         "W_k, W_v", "W_v, W_k"),
        ("padding is read like text: `lengths` is not used.",
         "padding_mask(lengths, memory.shape[-2])", "None"),
        ("one token of padding is read. Is token number `length`, counted from 0, still real?",
         "lengths,", "(lengths + 1).clamp_max(memory.shape[-2]),"),
        ("the last real token is not read. Counted from 0, which number does it have?",
         "lengths,", "(lengths - 1).clamp_min(0),"),
        ("the padding is read and the text is hidden. Does True mean hidden, or may look?",
         "padding_mask", "~padding_mask"),
        ("the real tokens are sought at the end of each row. On which side is the padding?",
         "(lengths, memory.shape[-2])", "(lengths, memory.shape[-2]).flip(-1)"),
        ("the length of the first row is used for all. Which shape must the mask have to differ from row to row?",
         "lengths,", "lengths[:1].expand_as(lengths),"),
        ("the longest length is used for all rows. Which shape must the mask have to differ from row to row?",
         "lengths,", "lengths.clamp_min(lengths.max()),"),
        ("queries are hidden instead of keys. To which text do the lengths belong?",
         "(lengths, memory.shape[-2])", "(lengths.clamp_max(X.shape[-2]), X.shape[-2]).mT"),
        ("an empty memory is read all the same. What can be read from no tokens?",
         "lengths,", "lengths.clamp_min(1),"),
        ("a causal mask is used: token i of X reads tokens 0 ... i of the memory only. Is anything in the "
         "other text still in the future?",
         "(lengths, memory.shape[-2])",
         "(lengths, memory.shape[-2]) & X.new_ones(X.shape[-2], memory.shape[-2]).tril().bool()"),
        ("the joined heads are returned without W_o. What mixes what the heads have read?",
         " @ W_o", ""),
    ),
)  # fmt: skip
