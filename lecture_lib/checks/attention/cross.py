"""Cross-attention: one text reads another, which may be padded."""

from collections.abc import Callable

import torch
from torch import Tensor

from lecture_lib import attention
from lecture_lib.checks.attention.draws import F64, maps, normal, sizes, views
from lecture_lib.checks.attention.multi_head import head_by_head
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def _cross_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    B, H, N, M, D_k, D_v = sizes(draw, 6)
    D = H * D_k + 1
    size = f"N={N} tokens ask M={M}, D={D}, {H} heads, D_k={D_k}, D_v={D_v}"

    def call(batch: int, heads: int = H, dtype: torch.dtype = torch.float32) -> tuple:
        texts = 2 * normal(draw, batch, N, D, dtype=dtype), 2 * normal(draw, batch, M, D, dtype=dtype)
        return *texts, *maps(draw, D, heads, D_k, D_v, dtype), heads

    short = torch.randint(1, M, (B,), generator=draw)
    full = short.clone()
    short[0], full[0], full[1] = 1, 2, M
    empty = full.clone()
    empty[0] = 0
    tiny = (2 * normal(draw, 1, 1, 2), 2 * normal(draw, 1, 2, 2), *maps(draw, 2, 2, 1, 1), 2)
    return [
        Case("N=1 token asks M=2, D=2, 2 heads of width one", tiny),
        Case(f"batch ({B},), {size}", call(B)),
        Case(f"batch ({B},), {size}, everything a transposed view", views(call(B))),
        Case(f"batch ({B},), N={N} tokens ask M={M}, D={D}, one head", call(B, heads=1)),
        Case(f"batch (1,), {size}", call(1)),
        Case(f"batch ({B},), {size}, lengths {full.tolist()}", (*call(B), full)),
        Case(
            f"batch ({B},), {size}, lengths {short.tolist()}: all shorter than M", call(B), {"lengths": short}
        ),
        Case(f"batch ({B},), {size}, lengths {empty.tolist()}: one memory empty", (*call(B), empty)),
        Case(
            f"batch ({B},), {size}, lengths {empty.tolist()}, float64, with gradients",
            (*call(B, dtype=F64), empty),
            gradient=(0, 1, 2, 3, 4, 5),
        ),
    ]


def _reference(
    X: Tensor,
    memory: Tensor,
    W_q: Tensor,
    W_k: Tensor,
    W_v: Tensor,
    W_o: Tensor,
    n_heads: int,
    lengths: Tensor | None = None,
) -> Tensor:
    rows = [] if lengths is None else [[m < n for m in range(memory.shape[1])] for n in lengths.tolist()]
    mask = torch.tensor(rows)[:, None, None] if rows else None
    return head_by_head(X, memory, (W_q, W_k, W_v, W_o), n_heads, mask)


def _wrong(*changes: tuple[str, str]) -> Callable:
    return altered(attention.cross_attention, *changes)


MEMORY, MASK = "memory @ W,", "padding_mask(lengths, memory.shape[-2])"

CROSS = Exercise(
    name="attention.cross_attention",
    points=3,
    difficulty=2,
    minutes=15,
    against="torch's kernel, head by head with its own slices of the maps (float32 1e-5, float64 1e-9 with gradients)",
    reference=_reference,
    cases=_cross_cases,
    kernels=("_native_multi_head_attention",),
    owned=("torch.nn.functional.multi_head_attention_forward", "lecture_lib.attention.MultiHeadAttention"),
    mistakes=(
        Mistake(
            "the memory is not read at all: keys and values come from X. Who is asked?",
            _wrong((MEMORY, "X @ W,")),
        ),
        Mistake(
            "the memory asks and X answers. Which text should come out with new vectors?",
            _wrong(("X @ W_q", "memory @ W_q"), (MEMORY, "X @ W,")),
        ),
        Mistake(
            "the keys are made with W_v and the values with W_k. Which map makes what is matched?",
            _wrong(("(W_k, W_v)", "(W_v, W_k)")),
        ),
        Mistake(
            "padding is read like text: `lengths` is not used.",
            _wrong((MASK, "None")),
        ),
        Mistake(
            "one token of padding is read. Is token number `length`, counted from 0, still real?",
            _wrong((MASK, "padding_mask((lengths + 1).clamp_max(memory.shape[-2]), memory.shape[-2])")),
        ),
        Mistake(
            "the last real token is not read. Counted from 0, which number does it have?",
            _wrong((MASK, "padding_mask((lengths - 1).clamp_min(0), memory.shape[-2])")),
        ),
        Mistake(
            "the padding is read and the text is hidden. Does True mean hidden, or may look?",
            _wrong((MASK, "~" + MASK)),
        ),
        Mistake(
            "the real tokens are sought at the end of each row. On which side is the padding?",
            _wrong((MASK, MASK + ".flip(-1)")),
        ),
        Mistake(
            "the length of the first row is used for all. Which shape must the mask have to differ from row to row?",
            _wrong((MASK, "padding_mask(lengths[:1].expand_as(lengths), memory.shape[-2])")),
        ),
        Mistake(
            "the longest length is used for all rows. Which shape must the mask have to differ from row to row?",
            _wrong((MASK, "padding_mask(lengths.clamp_min(lengths.max()), memory.shape[-2])")),
        ),
        Mistake(
            "queries are hidden instead of keys. To which text do the lengths belong?",
            _wrong((MASK, "padding_mask(lengths.clamp_max(X.shape[-2]), X.shape[-2]).mT")),
        ),
        Mistake(
            "an empty memory is read all the same. What can be read from no tokens?",
            _wrong((MASK, "padding_mask(lengths.clamp_min(1), memory.shape[-2])")),
        ),
        Mistake(
            "a causal mask is used: token i of X reads tokens 0 ... i of the memory only. "
            "Is anything in the other text still in the future?",
            _wrong((MASK, MASK + " & X.new_ones(X.shape[-2], memory.shape[-2]).tril().bool()")),
        ),
        Mistake(
            "the joined heads are returned without W_o. What mixes what the heads have read?",
            _wrong((" @ W_o", "")),
        ),
    ),
)
