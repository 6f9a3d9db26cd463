"""The errors of scores: the sandwich, and how many votes a difference of 20 points takes."""

import numpy as np

from lecture_lib.arena import votes_to_tell_apart
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import predict
from lecture_lib.exercises.arena.votes import counts


def vote_by_vote(counts: np.ndarray, scores: np.ndarray, squares: np.ndarray | None = None) -> np.ndarray:
    """H⁺ (Σ g gᵀ) H⁺ in natural units, with the gradient g of every kind of vote."""
    unit = 400 / np.log(10)
    n = len(scores)
    H, S = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            p = 1 / (1 + np.exp((scores[j] - scores[i]) / unit))
            d = np.eye(n)[i] - np.eye(n)[j]
            for k in range(3):
                H += counts[i, j, k] * p * (1 - p) * np.outer(d, d)
                S += (counts if squares is None else squares)[i, j, k] * (k / 2 - p) ** 2 * np.outer(d, d)
    return unit**2 * np.linalg.pinv(H, 1e-10, hermitian=True) @ S @ np.linalg.pinv(H, 1e-10, hermitian=True)


def sandwich_cases(seed: int) -> list[Case]:
    """Two models by hand, many ties and none, one order alone, pairs that never met, weights, scores far apart."""
    draw = np.random.default_rng(seed)
    n, ties = (int(x) for x in draw.integers(5, 30, 2))
    two = np.zeros((2, 2, 3))
    two[0, 1] = (n, ties, n)
    four, five = counts(draw, 4, 200, ties=0.6), counts(draw, 5, 300, ties=0.0)
    five[..., 1] = 0
    ordered = np.triu(np.ones((5, 5)))[..., None] * counts(draw, 5, 300)
    ring = np.zeros((4, 4, 3))
    ring[range(4), [1, 2, 3, 0]] = draw.integers(1, 20, (4, 3))
    weighted = counts(draw, 4, 150) * draw.uniform(0.5, 2, (4, 4, 3))
    return [
        Case(f"two equal models, {n} wins each and {ties} ties: by hand", (two, np.array([1000.0, 1000.0]))),
        Case("four models, six ties in ten votes", (four, 1000 + 100 * draw.normal(size=4))),
        Case("five models, no ties", (five, 1000 + 200 * draw.normal(size=5))),
        Case("five models, the first of a pair is always called a", (ordered, 150 * draw.normal(size=5))),
        Case("four models in a ring", (ring, 1000 + 100 * draw.normal(size=4))),
        Case("four models, scores far apart", (four, np.array([0.0, 400.0, 900.0, -300.0])[draw.permutation(4)])),
        Case("votes with weights", (weighted, 90 * draw.normal(size=4), weighted * draw.uniform(0.5, 2, (4, 4, 3)))),
    ]  # fmt: skip


SANDWICH = Exercise(
    name="arena.sandwich_covariance",
    points=4, difficulty=3, minutes=25,
    against="sums over single votes, with NumPy's pseudo-inverse (1e-8)",
    reference=vote_by_vote,
    cases=sandwich_cases,
    tolerance=1e-8,
    owned=("lecture_lib.arena.leaderboard",),
    mistakes=(
        ("every vote is taken for a win or a loss: that is Fisher's covariance. What is the square of the residual of a tie?",
         "bread @ laplacian(seen + seen.T) @ bread", "bread"),
        ("one slice of bread is missing. How many inverses stand in the formula?",
         "bread @ laplacian(seen + seen.T) @ bread", "bread @ laplacian(seen + seen.T)"),
        ("the residuals are not squared. What is summed in S?",
         "residuals ** 2", "np.abs(residuals)"),
        ("a tie counts as a win of the first. How many points is k = 1?",
         "[0, 0.5, 1]", "[0, 1, 1]"),
        ("the half points are taken for points. How many points are two halves?",
         "[0, 0.5, 1]", "[0, 1, 2]"),
        ("the expected points are those of the other side. Who is i in p[i, j]?",
         "p[..., None]", "p.T[..., None]"),
        ("the residuals of a cell are added before they are squared, so that wins and losses cancel. What is summed in S?",
         "* residuals ** 2).sum(-1)", "* residuals).sum(-1) ** 2"),
        ("votes in which i was called b are taken as if i had been called a: a loss of i counts as a win. Who took the k "
         "half points in counts[j, i, k]?",
         "seen = ((counts if squares is None else squares) * residuals ** 2).sum(-1)",
         "both = counts if squares is None else squares\n    both = both + both.transpose(1, 0, 2)\n"
         "    seen = np.triu((both * residuals ** 2).sum(-1))"),
        ("the squared weights stand in L, too. What is N_ij, and which sum alone takes `squares`?",
         "met = counts.sum(-1)", "met = (counts if squares is None else squares).sum(-1)"),
        ("votes count for the first model only. Does b learn nothing from a battle?",
         "laplacian(seen + seen.T)", "laplacian(seen)"),
        ("the information of a pair is counted in one order only. How often did i and j meet?",
         "(met + met.T)", "met"),
        ("the result is in log-odds². Which unit has a variance of scores?",
         "SCALE ** 2 * bread", "bread"),
        ("the result is multiplied by SCALE once. Which unit has a variance of scores?",
         "SCALE ** 2", "SCALE"),
        ("the squared weights are not used. Which weight has a squared residual?",
         "(counts if squares is None else squares)", "counts"),
        ("the information of a vote is taken as 1/4, whoever meets. What is p (1 - p) for a clear favourite?",
         "(met + met.T) * p * (1 - p)", "(met + met.T) / 4"),
    ),
)  # fmt: skip

VOTES = predict(
    "arena.votes_for_20_points",
    lambda: votes_to_tell_apart(20),
    factor=1.25,
    against="the normal approximation, which the exact binomial law confirms within 2 %",
    points=1, difficulty=1, minutes=8,
    misses=(
        ("only every second attempt has to succeed. What does 80 % of the attempts ask for, beside 95 % of the intervals?",
         votes_to_tell_apart(20, power=0.5)),
        ("the difference is taken as 10 points, or the standard deviation of a vote as 1. "
         "How do the votes grow when the difference is halved, and what is √(p (1 - p)) at p = 1/2?",
         4 * votes_to_tell_apart(20)),
        ("a difference of 20 points is taken for odds of 20 to 400, p = .55. What does 1 / (1 + 10^(-20/400)) give?",
         784),
        ("the votes are taken to grow as one over the difference, not as its square.", 145),
        ("24 % of ties are counted, as in the experiment below. What is the variance of a vote without ties?",
         votes_to_tell_apart(20, ties=0.24)),
    ),
)  # fmt: skip
