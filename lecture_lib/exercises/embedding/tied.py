"""Scoring every token with the table that embedded it: practice without points, beside the gradient of the tied table."""

import torch
from torch import Tensor

from lecture_lib.checks.draws import BF16, F64, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def dot_by_dot(X: Tensor, table: Tensor) -> Tensor:
    """Take the dot product with each token's vector in turn, in 32 bits at least."""
    if X.shape[-1] != table.shape[-1]:
        raise ValueError("outputs and table must share d_model")
    wide = torch.promote_types(X.dtype, torch.float32)
    return torch.stack([(X.to(wide) * vector.to(wide)).sum(-1) for vector in table], dim=-1).to(X.dtype)


def logits_cases(seed: int) -> list[Case]:
    """Outputs of every shape, a square table, and one that does not fit though a product exists."""
    draw = Draw(seed)
    N, V, D = draw.sizes(3)
    return [
        Case("X (2, 2), a table of 3 tokens", (draw.normal(2, 2), draw.normal(3, 2))),
        Case(f"X ({N}, {D}), |V|={V}", (draw.normal(N, D), draw.normal(V, D))),
        Case(f"X (2, {N}, {D}), |V|={V}", (draw.normal(2, N, D), draw.normal(V, D))),
        Case(f"X (2, {N}, {D}), |V|={V}, other numbers", (draw.normal(2, N, D), draw.normal(V, D))),
        Case(f"X (2, 3, {N}, {D}), |V|={V}", (draw.normal(2, 3, N, D), draw.normal(V, D))),
        Case(f"one vector X ({D},)", (draw.normal(D), draw.normal(V, D))),
        Case(f"X (1, 1, {D}), |V|={V}", (draw.normal(1, 1, D), draw.normal(V, D))),
        Case(f"X (2, {N}, {D}), |V|={V}, both transposed views", (draw.normal(2, D, N).mT, draw.normal(D, V).mT)),
        Case(f"X (2, 3, {N}, {D}), not contiguous", (scattered(draw.normal(2, 3, N, D)), draw.normal(V, D))),
        Case("a square table, |V| = D = 4", (draw.normal(3, 4), draw.normal(4, 4))),
        Case(f"X (2, {N}, {D}) in bfloat16", (draw.normal(2, N, D, dtype=BF16), draw.normal(V, D, dtype=BF16))),
        Case(
            "float64, with gradients of both",
            (draw.normal(N, D, dtype=F64), draw.normal(V, D, dtype=F64)),
            gradient=(0, 1),
        ),
        Case(f"X ({N}, {V}) with a table ({V}, {D}): the widths differ", (draw.normal(N, V), draw.normal(V, D))),
    ]  # fmt: skip


def multiplied_all_the_same(X: Tensor, table: Tensor) -> Tensor:
    """Multiply whatever can be multiplied."""
    return X @ (table.mT if X.shape[-1] == table.shape[-1] else table)


TIED = Exercise(
    name="embedding.tied_logits",
    points=0, difficulty=1, minutes=5,
    against="one dot product after another (float32 1e-5, float64 1e-9 with gradients)",
    reference=dot_by_dot,
    cases=logits_cases,
    mistakes=(
        ("the table is not transposed. What should stand at [n, t]: the dot product of which two vectors?",
         "table.mT", "table"),
        ("the scores are already turned into probabilities. Logits come before the softmax.",
         "X @ table.mT", "torch.softmax(X @ table.mT, dim=-1)"),
        ("the scores are divided by √D. That belongs to attention; what does the task ask for?",
         "table.mT", "table.mT / X.shape[-1] ** 0.5"),
        ("the vectors are normalised first: a cosine. May long vectors not count more?",
         "X @ table", "F.normalize(X, dim=-1) @ F.normalize(table, dim=-1)"),
        ("outputs and table of different width are multiplied all the same. Which two widths must agree?",
         multiplied_all_the_same),
        ("the table gets no gradient from here. It is the same table that embeds the tokens: should it not "
         "learn from both ends?",
         "table.mT", "table.detach().mT"),
        ("only the last token's logits are returned. Which tokens does training need?",
         "X @ table.mT", "(X @ table.mT)[..., -1:, :]"),
    ),
)  # fmt: skip
