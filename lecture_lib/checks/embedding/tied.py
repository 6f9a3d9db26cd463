"""Reading out by the table, held against one dot product after another."""

import torch
from torch import Tensor

from lecture_lib import embedding
from lecture_lib.checks.embedding.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def dot_by_dot(X: Tensor, table: Tensor) -> Tensor:
    """Take the dot product with each token's vector in turn."""
    if X.shape[-1] != table.shape[-1]:
        raise ValueError("outputs and table must share d_model")
    return torch.stack([(X * vector).sum(-1) for vector in table], dim=-1)


def logits_cases(seed: int) -> list[Case]:
    """Outputs of every shape, a square table, and one that does not fit though a product exists."""
    draw = Draw(seed)
    V, D, N = draw.size(6, 9), draw.size(3, 5), draw.size(3, 4)
    double = (draw.normal(N, D, dtype=torch.float64), draw.normal(V, D, dtype=torch.float64))
    return [
        Case("X (2, 2), a table of 3 tokens", (draw.normal(2, 2), draw.normal(3, 2))),
        Case(f"X ({N}, {D}), |V|={V}", (draw.normal(N, D), draw.normal(V, D))),
        Case(f"X (2, {N}, {D}), |V|={V}", (draw.normal(2, N, D), draw.normal(V, D))),
        Case(f"X (2, 3, {N}, {D}), |V|={V}", (draw.normal(2, 3, N, D), draw.normal(V, D))),
        Case(f"one vector X ({D},)", (draw.normal(D), draw.normal(V, D))),
        Case(f"X (1, 1, {D}), |V|={V}", (draw.normal(1, 1, D), draw.normal(V, D))),
        Case(
            f"X (2, {N}, {D}), |V|={V}, both transposed views",
            (draw.normal(2, D, N).mT, draw.normal(D, V).mT),
        ),
        Case("a square table, |V| = D = 4", (draw.normal(3, 4), draw.normal(4, 4))),
        Case("float64, with gradients of both", double, gradient=(0, 1)),
        Case(
            f"X ({N}, {V}) with a table ({V}, {D}): the widths differ", (draw.normal(N, V), draw.normal(V, D))
        ),
    ]


_tied = embedding.tied_logits
TIED = Exercise(
    name="embedding.tied_logits",
    points=2,
    difficulty=1,
    minutes=5,
    against="one dot product after another (float32 1e-5, float64 1e-9 with gradients)",
    reference=dot_by_dot,
    cases=logits_cases,
    mistakes=(
        Mistake(
            "the table is not transposed. What should stand at [n, t]: the dot product of which two vectors?",
            altered(_tied, ("X @ table.mT", "X @ table")),
        ),
        Mistake(
            "the scores are already turned into probabilities. Logits come before the softmax.",
            altered(_tied, ("X @ table.mT", "torch.softmax(X @ table.mT, dim=-1)")),
        ),
        Mistake(
            "the scores are divided by √D. That belongs to attention; what does the task ask for?",
            altered(_tied, ("X @ table.mT", "X @ table.mT / X.shape[-1] ** 0.5")),
        ),
        Mistake(
            "the vectors are normalised first: a cosine. May long vectors not count more?",
            altered(_tied, ("X @ table.mT", "F.normalize(X, dim=-1) @ F.normalize(table, dim=-1).mT")),
        ),
        Mistake(
            "outputs and table of different width are multiplied all the same. Which two widths must agree?",
            lambda X, table: X @ (table.mT if X.shape[-1] == table.shape[-1] else table),
        ),
        Mistake(
            "the table gets no gradient from here. It is the same table that embeds the tokens: should it not learn from both ends?",
            altered(_tied, ("X @ table.mT", "X @ table.detach().mT")),
        ),
        Mistake(
            "only the last token's logits are returned. Which tokens does training need?",
            altered(_tied, ("X @ table.mT", "(X @ table.mT)[..., -1:, :]")),
        ),
    ),
)
