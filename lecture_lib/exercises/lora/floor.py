"""The least quadratic loss that an update of rank r can have, and the update that has it."""

import numpy as np
import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def lowest_loss(D: Tensor, C: Tensor, r: int) -> tuple[float, Tensor]:
    r"""Least loss $\frac12 \mathrm{tr}\,(D - E)^T C\,(D - E)$ of all updates E of rank r, and an update that has it.

    Args:
        D: (N, M) float64, the update that would have no loss.
        C: (N, N) mean of the outer products of the inputs, positive definite.
        r: rank, 0 to min(N, M).

    Returns:
        The least loss as a float, and (N, M) the update.
    """
    values, vectors = torch.linalg.eigh(C)
    root = (vectors * values.sqrt()) @ vectors.T  # C^(1/2)
    U, s, V = torch.linalg.svd(root @ D, full_matrices=False)
    E = torch.linalg.solve(root, (U[:, :r] * s[:r]) @ V[:r])
    return s[r:].square().sum().item() / 2, E


def by_outputs(D: Tensor, C: Tensor, r: int) -> tuple[float, Tensor]:
    """Regression of reduced rank in NumPy: keep the r output directions in which the outputs vary most."""
    target, moment = D.numpy(), C.numpy()
    values, directions = np.linalg.eigh(target.T @ moment @ target)  # (M), ascending
    kept = directions[:, len(values) - r :]
    rest = np.clip(values[: len(values) - r], 0, None).sum() / 2
    return float(rest), torch.from_numpy(target @ kept @ kept.T)


def floor_cases(seed: int) -> list[Case]:
    """Inputs of equal size, of unlike size, that go together; ranks from 0 to full; tall and wide."""
    draw = Draw(seed)

    def case(what: str, N: int, M: int, r: int, unlike: bool = True, together: bool = True) -> Case:
        X = draw.normal(4 * N, N, dtype=F64)
        X = X + 1.5 * draw.normal(4 * N, 1, dtype=F64) if together else X
        if unlike:
            X = X * torch.tensor([draw.random.choice((0.3, 1.0, 3.0)) for _ in range(N)], dtype=F64)
        C = X.T @ X / len(X) if unlike or together else torch.eye(N, dtype=F64)
        return Case(f"{N} x {M}, rank {r}, {what}", (draw.normal(N, M, dtype=F64), C, r))

    return [
        case("inputs of variance 1 that do not go together", 4, 3, 1, unlike=False, together=False),
        case("inputs of unlike size", 5, 4, 1, together=False),
        case("inputs that go together", 5, 6, 2, unlike=False),
        case("both", 6, 5, 3),
        case("both, tall", 9, 3, 2),
        case("both, wide", 3, 8, 1),
        case("no update at all", 4, 5, 0),
        case("full rank: no loss", 5, 4, 4),
    ]


def _truncated_first(D: Tensor, C: Tensor, r: int) -> tuple[float, Tensor]:
    U, s, V = torch.linalg.svd(D, full_matrices=False)
    E = (U[:, :r] * s[:r]) @ V[:r]
    return ((D - E).T @ C @ (D - E)).trace().item() / 2, E


FLOOR = Exercise(
    name="lora.lowest_loss",
    points=4, difficulty=3, minutes=30,
    against="regression of reduced rank: the eigenvectors of the outputs' covariance",
    reference=by_outputs,
    right=lowest_loss,
    cases=floor_cases,
    tolerance=1e-7,
    mistakes=(
        ("D itself is truncated, as if all inputs were alike: the loss of this update is not the least. Which matrix's distance is the loss?",
         lambda D, C, r: _truncated_first(D, C, r)),
        ("the squares of D's own singular values are added. What do inputs of unlike size do to the loss?",
         lambda D, C, r: (torch.linalg.svdvals(D)[r:].square().sum().item() / 2, lowest_loss(D, C, r)[1])),
        ("C takes the place of its root. How often does C stand in the loss?",
         "root = vectors * values.sqrt() @ vectors.T", "root = C"),
        ("C is split by Cholesky, C = L Lᵀ, and the wrong one of the two factors multiplies D. Which one gives tr DᵀCD = ‖…D‖²?",
         "root = vectors * values.sqrt() @ vectors.T", "root = torch.linalg.cholesky(C)"),
        ("only the diagonal of C is used. What do inputs that go together do?",
         "root = vectors * values.sqrt() @ vectors.T", "root = torch.diag(C.diagonal().sqrt())"),
        ("the root of C is taken entry by entry. Is its square C?", "root = vectors * values.sqrt() @ vectors.T", "root = C.sqrt()"),
        ("what is lost is returned, not what is kept.", "return (s[r:]", "E = D - E\n    return (s[r:]"),
        ("the factor 1/2 is missing.", "s[r:].square().sum().item() / 2", "s[r:].square().sum().item()"),
        ("singular values are added, not their squares.", "s[r:].square().sum()", "s[r:].sum()"),
        ("the singular values that are kept are added. Which ones are lost?", "s[r:].square()", "s[:r].square()"),
        ("the update is left in the coordinates in which inputs are alike. How does one come back?",
         "torch.linalg.solve(root, U[:, :r] * s[:r] @ V[:r])", "U[:, :r] * s[:r] @ V[:r]"),
        ("the way back multiplies once more.", "torch.linalg.solve(root, U[:, :r] * s[:r] @ V[:r])", "root @ (U[:, :r] * s[:r] @ V[:r])"),
        ("the update has one rank too many.", "E = torch.linalg.solve(root, U[:, :r] * s[:r] @ V[:r])\n    return (s[r:].square().sum().item() / 2, E)", "k = min(r + 1, len(s))\n    E = torch.linalg.solve(root, U[:, :k] * s[:k] @ V[:k])\n    return (s[r:].square().sum().item() / 2, E)"),
    ),
)  # fmt: skip
