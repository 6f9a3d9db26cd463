"""Cutting features into heads, and joining the heads again."""

import torch
from torch import Tensor

from lecture_lib.checks.draws import BF16, F64, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def split_cases(seed: int) -> list[Case]:
    """Any number of leading axes, one head and heads of width one, views, and a width that does not divide."""
    draw = Draw(seed)
    A, B, H, N, d = draw.sizes(5)
    D = H * d
    return [
        Case("X (2, 4), 2 heads", (draw.normal(2, 4), 2)),
        Case(f"X ({N}, {D}), {H} heads", (draw.normal(N, D), H)),
        Case(f"X ({B}, {N}, {D}), {H} heads", (draw.normal(B, N, D), H)),
        Case(f"X ({A}, {B}, {N}, {D}), {H} heads", (draw.normal(A, B, N, D),), {"n_heads": H}),
        Case(f"X ({B}, {N}, {D}), one head", (draw.normal(B, N, D), 1)),
        Case(f"X ({B}, {N}, {d}), {d} heads of width one", (draw.normal(B, N, d), d)),
        Case(f"X (1, 1, {D}), {H} heads", (draw.normal(1, 1, D), H)),
        Case(f"X ({B}, {N}, {D}), {H} heads, a transposed view", (draw.normal(B, D, N).mT, H)),
        Case(f"X ({A}, {B}, {N}, {D}), {H} heads, not contiguous", (scattered(draw.normal(A, B, N, D)), H)),
        Case(f"X ({B}, {N}, {D}), {H} heads, bfloat16", (draw.normal(B, N, D, dtype=BF16), H)),
        Case(f"X ({N}, {D}) of whole numbers, int64", (draw.ids(N, D, below=99), H)),
        Case(
            f"X ({B}, {N}, {D}), {H} heads, float64, with gradient",
            (draw.normal(B, N, D, dtype=F64), H),
            gradient=(0,),
        ),
        Case(f"X ({N}, {3 * d + 1}), 3 heads: the width does not divide", (draw.normal(N, 3 * d + 1), 3)),
    ]


def split_by_hand(X: Tensor, n_heads: int) -> Tensor:
    """Take slices of the features, one head after the other. Any error does for a width that does not divide."""
    d = X.shape[-1] // n_heads
    if d * n_heads != X.shape[-1]:
        raise Exception("the width does not divide")
    return torch.stack([X[..., h * d : (h + 1) * d] for h in range(n_heads)], dim=-3)


SPLIT = Exercise(
    name="attention.split_heads",
    points=0, difficulty=1, minutes=10,  # one line
    against="slices of the features, one head after the other",
    reference=split_by_hand,
    cases=split_cases,
    mistakes=(
        ("the numbers are put into the new shape in their old order, so a head holds features of different "
         "tokens. Which axis should be cut first, and which two change places afterwards?",
         "unflatten(-1, (n_heads, X.shape[-1] // n_heads)).transpose(-3, -2)",
         "reshape(*X.shape[:-2], n_heads, X.shape[-2], -1)"),
        ("the heads stand behind the tokens, (..., N, H, D_k). Which two axes have to change places?",
         ".transpose(-3, -2)", ""),
        ("each head takes every H-th feature. Which features does head 0 hold: the first D_k, or 0, H, 2H, ...?",
         "(-1, (n_heads, X.shape[-1] // n_heads)).transpose(-3, -2)", "(-1, (-1, n_heads)).movedim(-1, -3)"),
        ("`n_heads` is taken for the width of a head. How many heads are there, and how wide is each?",
         "n_heads, X.shape[-1] //", "X.shape[-1] // n_heads,"),
        ("the axes 1 and 2 are exchanged, counted from the front: that fits one batch axis only. How can axes "
         "be counted so that any number may stand before them?",
         "-3, -", "1, "),
        ("the heads are made the very first axis. Where do they belong when there is a batch?",
         "transpose(-3, -2)", "movedim(-2, 0)"),
        ("tokens and features of a head have changed places, (..., H, D_k, N). Rows are tokens.",
         "(-3, -2)", "(-3, -2).mT"),
        ("the heads come in reverse, the last one first.",
         "(-3, -2)", "(-3, -2).flip(-3)"),
    ),
)  # fmt: skip


def merge_cases(seed: int) -> list[Case]:
    """Any number of leading axes, one head, heads of width one, one token, views."""
    draw = Draw(seed)
    A, B, H, N, d = draw.sizes(5)
    return [
        Case("X (2, 2, 2): 2 heads, 2 tokens, 2 features", (draw.normal(2, 2, 2),)),
        Case(f"X ({H}, {N}, {d})", (draw.normal(H, N, d),)),
        Case(f"X ({B}, {H}, {N}, {d})", (draw.normal(B, H, N, d),)),
        Case(f"X ({A}, {B}, {H}, {N}, {d})", (draw.normal(A, B, H, N, d),)),
        Case(f"X ({B}, 1, {N}, {d}), one head", (draw.normal(B, 1, N, d),)),
        Case(f"X ({B}, {H}, {N}, 1), heads of width one", (draw.normal(B, H, N, 1),)),
        Case(f"X (1, {H}, 1, {d}), one token", (draw.normal(1, H, 1, d),)),
        Case(f"X ({B}, {H}, {N}, {d}), a transposed view", (draw.normal(B, N, H, d).transpose(1, 2),)),
        Case(f"X ({B}, {H}, {N}, {d}), not contiguous", (scattered(draw.normal(B, H, N, d)),)),
        Case(f"X ({H}, {N}, {d}), bfloat16", (draw.normal(H, N, d, dtype=BF16),)),
        Case(f"X ({H}, {N}, {d}) of whole numbers, int64", (draw.ids(H, N, d, below=99),)),
        Case(f"X ({B}, {H}, {N}, {d}), float64, with gradient", (draw.normal(B, H, N, d, dtype=F64),), gradient=(0,)),
    ]  # fmt: skip


def merge_by_hand(X: Tensor) -> Tensor:
    """Put the heads side by side."""
    return torch.cat(X.unbind(dim=-3), dim=-1)


MERGE = Exercise(
    name="attention.merge_heads",
    points=0, difficulty=1, minutes=5,  # one line
    against="torch.cat of the heads, one beside the other",
    reference=merge_by_hand,
    cases=merge_cases,
    mistakes=(
        ("the numbers are put into the new shape in their old order: a row then holds several tokens of one "
         "head. What has to happen before the last two axes become one?",
         "transpose(-3, -2).flatten(-2)", "reshape(*X.shape[:-3], X.shape[-2], -1)"),
        ("the features of the heads alternate. Which stand side by side: the features of one head, or those "
         "of one number?",
         "transpose(-3, -2)", "movedim(-3, -1)"),
        ("the heads are stacked one under the other, as if they were more tokens.",
         "transpose(-3, -2).flatten(-2)", "flatten(-3, -2)"),
        ("the heads are added up. How wide must a row be that keeps all of them?",
         "transpose(-3, -2).flatten(-2)", "sum(-3)"),
        ("the heads are averaged. How wide must a row be that keeps all of them?",
         "transpose(-3, -2).flatten(-2)", "mean(-3)"),
        ("the axes 1 and 2 are exchanged, counted from the front: that fits one batch axis only.",
         "-3, -", "1, "),
        ("everything behind the second axis is joined: that fits one batch axis only. How many axes have to "
         "become one, counted from the back?",
         "(-2)", "(2)"),
        ("the heads are joined in reverse, the last one first.",
         "transpose", "flip(-3).transpose"),
    ),
)  # fmt: skip
