"""The softmax bottleneck: the narrowest vectors that give a table of probabilities exactly."""

import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def by_columns(P: Tensor) -> tuple[Tensor, Tensor]:
    """Take columns of the centred logarithms until all others are combinations of them; no SVD."""
    A = P.log() - P.log().mean(-1, keepdim=True)
    chosen, rest = [], A
    while rest.norm() > 1e-7 * A.norm():
        chosen.append(int(rest.norm(dim=0).argmax()))
        X = A[:, chosen]
        table = torch.linalg.lstsq(X, A).solution.mT
        rest = A - X @ table.mT
    return X, table


def planted(
    draw: Draw, N: int, V: int, D: int, biased: bool = False, weak: float = 1.0, small: float = 1.0
) -> Case:
    """Draw probabilities of N contexts that D features give, and no fewer; the last feature is `weak`.

    `biased`: one more score moves all tokens alike. `small`: factor of all scores; rounding errors then count as
    features by `matrix_rank`'s own threshold, in every draw.
    """

    def drawn() -> Tensor:
        table = draw.normal(V, D, dtype=F64)
        X = small * draw.normal(N, D, dtype=F64)
        X[:, -1] *= weak
        if biased:
            X = torch.cat([X, draw.normal(N, 1, dtype=F64)], 1)
            table = torch.cat([table, table.new_ones(V, 1)], 1)
        return torch.softmax(X @ table.mT, dim=-1)

    def well_posed(P: Tensor) -> bool:
        A = P.log() - P.log().mean(-1, keepdim=True)
        if small < 1 and torch.linalg.matrix_rank(A) == D:
            return False
        U, S, Vh = torch.linalg.svd(A, full_matrices=False)
        without = torch.softmax((U[:, : D - 1] * S[: D - 1]) @ Vh[: D - 1], dim=-1)
        least = 1e-2 * weak * S[0] < S[D - 1] and (weak == 1 or S[D - 1] < weak * S[0])
        return bool(least) and bool((without - P).abs().max() > 5e-6) and bool(P.min() > 1e-9)

    more = ", one feature that moves all scores alike" if biased else ", one weak feature" if weak < 1 else ""
    more = ", nearly equal probabilities" if small < 1 else more
    return Case(f"{N} contexts, |V|={V}{more}", (until(drawn, well_posed),), hidden=D)


def factor_cases(seed: int) -> list[Case]:
    """Few features and as many as there can be, more contexts than tokens and fewer, a feature that softmax does not see."""
    draw = Draw(seed)
    return [
        planted(draw, 3, 3, 1),
        planted(draw, 5, 4, 2),
        planted(draw, 9, 6, 3),
        planted(draw, 4, 9, 2),
        planted(draw, 8, 5, 4),
        planted(draw, 12, 7, 6),
        planted(draw, 3, 6, 3),
        planted(draw, 9, 7, 2, biased=True),
        planted(draw, 10, 8, 3, weak=1e-4),
        planted(draw, 7, 5, 2, small=1e-2),
        planted(draw, 30, 20, draw.size(4, 9)),
    ]


def exact_and_narrow(case: Case, output: object, _asked: list) -> str | None:
    """Ask for the probabilities to 1e-6, by no more features than are needed."""
    P, D = case.inputs[0], case.hidden
    if type(output) not in (tuple, list) or len(output) != 2:
        return "two tensors are asked for, X and table"
    X, table = (getattr(each, "values", None) for each in output)
    if X is None or table is None or X.ndim != 2 or X.shape[1:] != table.shape[1:]:
        return "X must be (N, D) and table (|V|, D)"
    if (len(X), len(table)) != tuple(P.shape):
        return f"X has {len(X)} rows and table {len(table)}; P is {tuple(P.shape)}"
    found = torch.softmax(torch.as_tensor(X).double() @ torch.as_tensor(table).double().mT, dim=-1)
    far = float((found - P).abs().max())
    if not far < 1e-6:
        return f"softmax(X table^T) differs from P by up to {far:.2g}"
    return None if X.shape[1] == D else f"your vectors have D = {X.shape[1]} features; D = {D} is enough"


def softmax_factors(P: Tensor) -> tuple[Tensor, Tensor]:
    """Cut the SVD of the centred logarithms; the mistakes below are changes of these lines."""
    logits = P.log()
    logits = logits - logits.mean(-1, keepdim=True)  # softmax does not see a constant added to a row
    U, S, Vh = torch.linalg.svd(logits, full_matrices=False)
    D = int((S / S[0] > 1e-7).sum())
    return U[:, :D] * S[:D], Vh[:D].mT


FACTORS = Exercise(
    name="embedding.softmax_factors",
    points=5, difficulty=3, minutes=30,
    against="probabilities that were made from vectors of known width (1e-6)",
    reference=by_columns,
    right=softmax_factors,
    cases=factor_cases,
    accept=exact_and_narrow,
    mistakes=(
        ("the logarithms are factorised as they are. Which change of the scores of a row does softmax not "
         "see?",
         "logits - logits.mean(-1, keepdim=True)", "logits"),
        ("the largest entry of each row is taken away. Softmax does not see it, but each row has it at another token: "
         "which shift of the rows leaves the smallest rank?",
         "logits.mean(-1, keepdim=True)", "logits.amax(-1, keepdim=True)"),
        ("the mean over the contexts is taken away as well. Does softmax not see that?",
         "logits - logits.mean(-1, keepdim=True)",
         "logits - logits.mean(-1, keepdim=True) - logits.mean(0, keepdim=True) + logits.mean()"),
        ("the mean is taken over the contexts, not over the tokens. Along which axis does softmax "
         "normalise?",
         "mean(-1,", "mean(0,"),
        ("the probabilities are factorised, not their logarithms. What does softmax do with its scores "
         "first?",
         "P.log()", "P"),
        ("all singular vectors are kept. Which singular values are only rounding errors?",
         "int((S / S[0] > 1e-07).sum())", "len(S)"),
        ("rounding errors are counted as features: the own threshold of `matrix_rank` is near 1e-15. Which one does the "
         "task give?",
         "int((S / S[0] > 1e-07).sum())", "int(torch.linalg.matrix_rank(logits))"),
        ("a weak feature is dropped with the rounding errors. How small may a singular value be that counts?",
         "1e-07", "0.0001"),
        ("one singular value too few is kept. How many are not zero?",
         "int((S / S[0] > 1e-07).sum())", "max(int((S / S[0] > 1e-07).sum()) - 1, 1)"),
        ("the singular values are left out. What is U Vᵀ without them?", " * S[:D]", ""),
        ("the roots of the singular values are multiplied in once. Where does the other root belong?",
         " * S[:D]", " * S[:D].sqrt()"),
        ("the singular values are multiplied in twice. Where do they belong: to X, to the table, or half "
         "to each?",
         "Vh[:D].mT", "Vh[:D].mT * S[:D]"),
        ("the table comes back with tokens as columns. What is a row of the table?", "Vh[:D].mT", "Vh[:D]"),
    ),
)  # fmt: skip
