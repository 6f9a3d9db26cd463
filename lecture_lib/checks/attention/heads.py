"""Cutting features into heads, and joining the heads again."""

import torch
from torch import Tensor

from lecture_lib import attention
from lecture_lib.checks.attention.draws import F64, normal, sizes
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def _split_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    A, B, H, N, d = sizes(draw, 5)
    D = H * d
    return [
        Case("X (2, 4), 2 heads", (normal(draw, 2, 4), 2)),
        Case(f"X ({N}, {D}), {H} heads", (normal(draw, N, D), H)),
        Case(f"X ({B}, {N}, {D}), {H} heads", (normal(draw, B, N, D), H)),
        Case(f"X ({A}, {B}, {N}, {D}), {H} heads", (normal(draw, A, B, N, D),), {"n_heads": H}),
        Case(f"X ({B}, {N}, {D}), one head", (normal(draw, B, N, D), 1)),
        Case(f"X ({B}, {N}, {d}), {d} heads of width one", (normal(draw, B, N, d), d)),
        Case(f"X (1, 1, {D}), {H} heads", (normal(draw, 1, 1, D), H)),
        Case(f"X ({B}, {N}, {D}), {H} heads, a transposed view", (normal(draw, B, D, N).mT, H)),
        Case(
            f"X ({B}, {N}, {D}), {H} heads, float64, with gradient",
            (normal(draw, B, N, D, dtype=F64), H),
            gradient=(0,),
        ),
    ]


def _split_by_hand(X: Tensor, n_heads: int) -> Tensor:
    d = X.shape[-1] // n_heads
    return torch.stack([X[..., h * d : (h + 1) * d] for h in range(n_heads)], dim=-3)


UNFLAT, SWAP = "X.unflatten(-1, (n_heads, X.shape[-1] // n_heads))", ".transpose(-3, -2)"

SPLIT = Exercise(
    name="attention.split_heads",
    points=2,
    difficulty=2,
    minutes=10,
    against="slices of the features, one head after the other",
    reference=_split_by_hand,
    cases=_split_cases,
    mistakes=(
        Mistake(
            "the numbers are put into the new shape in their old order, so a head holds features of different "
            "tokens. Which axis should be cut first, and which two change places afterwards?",
            altered(
                attention.split_heads, (UNFLAT + SWAP, "X.reshape(*X.shape[:-2], n_heads, X.shape[-2], -1)")
            ),
        ),
        Mistake(
            "the heads stand behind the tokens, (..., N, H, D_k). Which two axes have to change places?",
            altered(attention.split_heads, (SWAP, "")),
        ),
        Mistake(
            "each head takes every H-th feature. Which features does head 0 hold: the first D_k, or 0, H, 2H, ...?",
            altered(attention.split_heads, (UNFLAT + SWAP, "X.unflatten(-1, (-1, n_heads)).movedim(-1, -3)")),
        ),
        Mistake(
            "`n_heads` is taken for the width of a head. How many heads are there, and how wide is each?",
            altered(
                attention.split_heads,
                ("(n_heads, X.shape[-1] // n_heads)", "(X.shape[-1] // n_heads, n_heads)"),
            ),
        ),
        Mistake(
            "the axes 1 and 2 are exchanged, counted from the front: that fits one batch axis only. "
            "How can axes be counted so that any number may stand before them?",
            altered(attention.split_heads, (SWAP, ".transpose(1, 2)")),
        ),
        Mistake(
            "the heads are made the very first axis. Where do they belong when there is a batch?",
            altered(attention.split_heads, (SWAP, ".movedim(-2, 0)")),
        ),
        Mistake(
            "tokens and features of a head have changed places, (..., H, D_k, N). Rows are tokens.",
            altered(attention.split_heads, (SWAP, SWAP + ".mT")),
        ),
        Mistake(
            "the heads come in reverse, the last one first.",
            altered(attention.split_heads, (SWAP, SWAP + ".flip(-3)")),
        ),
    ),
)


def _merge_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    A, B, H, N, d = sizes(draw, 5)
    return [
        Case("X (2, 2, 2): 2 heads, 2 tokens, 2 features", (normal(draw, 2, 2, 2),)),
        Case(f"X ({H}, {N}, {d})", (normal(draw, H, N, d),)),
        Case(f"X ({B}, {H}, {N}, {d})", (normal(draw, B, H, N, d),)),
        Case(f"X ({A}, {B}, {H}, {N}, {d})", (normal(draw, A, B, H, N, d),)),
        Case(f"X ({B}, 1, {N}, {d}), one head", (normal(draw, B, 1, N, d),)),
        Case(f"X ({B}, {H}, {N}, 1), heads of width one", (normal(draw, B, H, N, 1),)),
        Case(f"X (1, {H}, 1, {d}), one token", (normal(draw, 1, H, 1, d),)),
        Case(f"X ({B}, {H}, {N}, {d}), a transposed view", (normal(draw, B, N, H, d).transpose(1, 2),)),
        Case(
            f"X ({B}, {H}, {N}, {d}), float64, with gradient",
            (normal(draw, B, H, N, d, dtype=F64),),
            gradient=(0,),
        ),
    ]


def _merge_by_hand(X: Tensor) -> Tensor:
    return torch.cat(X.unbind(dim=-3), dim=-1)


MERGED = "X.transpose(-3, -2).flatten(-2)"

MERGE = Exercise(
    name="attention.merge_heads",
    points=1,
    difficulty=1,
    minutes=5,
    against="torch.cat of the heads, one beside the other",
    reference=_merge_by_hand,
    cases=_merge_cases,
    mistakes=(
        Mistake(
            "the numbers are put into the new shape in their old order: a row then holds several tokens of one "
            "head. What has to happen before the last two axes become one?",
            altered(attention.merge_heads, (MERGED, "X.reshape(*X.shape[:-3], X.shape[-2], -1)")),
        ),
        Mistake(
            "the features of the heads alternate. Which stand side by side: the features of one head, or those of one number?",
            altered(attention.merge_heads, (MERGED, "X.movedim(-3, -1).flatten(-2)")),
        ),
        Mistake(
            "the heads are stacked one under the other, as if they were more tokens.",
            altered(attention.merge_heads, (MERGED, "X.flatten(-3, -2)")),
        ),
        Mistake(
            "the heads are added up. How wide must a row be that keeps all of them?",
            altered(attention.merge_heads, (MERGED, "X.sum(-3)")),
        ),
        Mistake(
            "the heads are averaged. How wide must a row be that keeps all of them?",
            altered(attention.merge_heads, (MERGED, "X.mean(-3)")),
        ),
        Mistake(
            "the axes 1 and 2 are exchanged, counted from the front: that fits one batch axis only.",
            altered(attention.merge_heads, ("transpose(-3, -2)", "transpose(1, 2)")),
        ),
        Mistake(
            "everything behind the second axis is joined: that fits one batch axis only. "
            "How many axes have to become one, counted from the back?",
            altered(attention.merge_heads, ("flatten(-2)", "flatten(2)")),
        ),
        Mistake(
            "the heads are joined in reverse, the last one first.",
            altered(attention.merge_heads, (MERGED, "X.flip(-3).transpose(-3, -2).flatten(-2)")),
        ),
    ),
)
