"""How many singular values of a mean update stand above the noise? Judged on planted ranks."""

import math

import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def visible_rank(updates: Tensor) -> int:
    r"""Count the singular values of the mean update above the edge of its noise, $σ(\sqrt{N} + \sqrt{M})$.

    Args:
        updates: (n, N, M) float64, n >= 2 independent updates of the same weight. Each is the same matrix plus normal noise
            with the same, unknown standard deviation in all entries.

    Returns:
        How many directions are seen, an int.
    """
    n, N, M = updates.shape
    variance = updates.var(0, correction=1).mean() / n  # of an entry of the mean
    edge = variance.sqrt() * (N**0.5 + M**0.5)
    return int((torch.linalg.svdvals(updates.mean(0)) > edge).sum())


def planted(updates: Tensor) -> int:
    """The rank by eigenvalues of the mean's Gram matrix; every case is drawn so that this is the planted rank, with room to both sides."""
    D = updates.sum(0) / len(updates)
    scatter = ((updates - D) ** 2).sum() / (updates.numel() - D.numel()) / len(updates)
    squares = torch.linalg.eigvalsh(D.T @ D)
    return sum(s > scatter.item() * (D.shape[0] ** 0.5 + D.shape[1] ** 0.5) ** 2 for s in squares.tolist())


def rank_cases(seed: int) -> list[Case]:
    """Planted ranks 0 to 4; two and many updates; tall and wide; a strong direction beside weak ones; little and much noise."""
    draw = Draw(seed)

    def case(
        what: str, n: int, N: int, M: int, strengths: tuple[float, ...], sigma: float, most: float = math.inf
    ) -> Case:
        """Strengths in units of the edge; the weakest is seen at `most` so far, so that a larger edge loses it."""
        edge = sigma / n**0.5 * (N**0.5 + M**0.5)
        for _ in range(1000):
            U, V = (torch.linalg.qr(draw.normal(k, len(strengths), dtype=F64))[0] for k in (N, M))
            D = (U * torch.tensor(strengths, dtype=F64) * edge) @ V.T
            noise = sigma * draw.normal(n, N, M, dtype=F64)
            s = torch.linalg.svdvals(D + noise.mean(0)) / edge
            s = torch.cat([s, s.new_zeros(1)])
            k = len(strengths)
            if s[k] < 0.97 and (k == 0 or 1.03 < s[k - 1] < most) and planted(D + noise) == k:
                return Case(what, (D + noise,), hidden=k)
        raise RuntimeError("no such case")

    sigma = 0.5 + draw.random.random()
    return [
        case("noise alone, 4 updates of 24 x 20", 4, 24, 20, (), sigma),
        case("rank 1, 4 updates of 24 x 20", 4, 24, 20, (1.5,), sigma),
        case("rank 3, 8 updates of 30 x 30", 8, 30, 30, (3.0, 2.0, 0.85), sigma, 1.25),
        case("rank 2, two updates of 26 x 22", 2, 26, 22, (1.3, 0.95), sigma, 1.35),
        case("rank 2, tall", 5, 80, 6, (2.0, 0.7), sigma, 1.12),
        case("rank 2, wide", 5, 6, 80, (2.0, 0.7), sigma, 1.12),
        case("one of the directions a hundred times as strong", 6, 20, 25, (130.0, 1.4, 1.3), sigma),
        case("rank 4, little noise", 3, 20, 18, (2.0, 1.8, 1.5, 1.3), 1e-3 * sigma),
        case("rank 1, much noise", 10, 18, 28, (0.85,), 1e3 * sigma, 1.2),
    ]


EDGE = "N ** 0.5 + M ** 0.5"
RANK = Exercise(
    name="lora.visible_rank",
    points=3, difficulty=2, minutes=20,
    against="ranks that were planted, with 3 % of room on both sides of the edge",
    reference=planted,
    right=visible_rank,
    cases=rank_cases,
    mistakes=(
        ("the noise of one update is used for their mean. How much smaller is the noise of a mean of n?", ".mean() / n", ".mean()"),
        ("the noise of the mean is divided by n, not its variance. Which of the two falls like 1/n?",
         "variance.sqrt()", "variance.sqrt() / n ** 0.5"),
        ("the scatter is divided by n and not by n - 1. What does this do for two updates?", "correction=1", "correction=0"),
        ("standard deviations are averaged, not variances. Which of the two may be averaged?",
         "updates.var(0, correction=1).mean() / n", "updates.std(0, correction=1).mean() ** 2 / n"),
        ("the variance takes the place of the standard deviation. In which unit is a singular value?", "variance.sqrt()", "variance"),
        ("the place of the transition, σ(NM)^(1/4), is taken for the edge. Up to where do the singular values of noise alone reach?",
         EDGE, "(N * M) ** 0.25"),
        ("the sum of the roots is squared, as for eigenvalues. What is compared with it?", EDGE, f"({EDGE}) ** 2"),
        ("the edge is σ√(N + M). Which two roots are added?", EDGE, "(N + M) ** 0.5"),
        ("the edge counts one side of the matrix only.", EDGE, "2 * min(N, M) ** 0.5"),
        ("the edge counts the longer side twice. Which two roots are added?", EDGE, "2 * max(N, M) ** 0.5"),
        ("the variance is divided by n - 1 a second time, and not by n. How many updates does the mean have?", ".mean() / n", ".mean() / (n - 1)"),
        ("the edge is the norm of all the noise, σ√(NM). Over how many singular values is this spread?", EDGE, "(N * M) ** 0.5"),
        ("the spread of all entries of the mean is taken for noise. What does a strong direction do to it?",
         "updates.var(0, correction=1).mean() / n", "updates.mean(0).var()"),
        ("every singular value is counted that is not 0. What does noise alone give?", "> edge", "> 1e-9 * edge"),
        ("squares of singular values are compared with the edge.", "torch.linalg.svdvals(updates.mean(0)) > edge", "torch.linalg.svdvals(updates.mean(0)) ** 2 > edge"),
        ("the first update alone is looked at. What is the mean for?", "updates.mean(0)) >", "updates[0]) >"),
        ("the sum of the updates is looked at, with the noise of their mean.", "updates.mean(0)) >", "updates.sum(0)) >"),
    ),
)  # fmt: skip
