"""Curl: the part of a table of wins that no score can hold, and tables that cannot be a line."""

from itertools import combinations

import numpy as np

from lecture_lib.arena import SCALE, curl_share, fit_bradley_terry, laplacian, log_odds
from lecture_lib.checks.chance import until
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import impossible
from lecture_lib.exercises.arena.votes import tournament


def onto_cycles(wins: np.ndarray) -> tuple[float, float, int]:
    """χ² as the part of the log-odds that runs round cycles, which no difference of scores does, in the metric of the weights."""
    pairs = [(i, j) for i, j in combinations(range(len(wins)), 2) if wins[i, j] + wins[j, i]]
    y = np.array([np.log((wins[i, j] + 0.5) / (wins[j, i] + 0.5)) for i, j in pairs])
    variance = np.array([1 / (wins[i, j] + 0.5) + 1 / (wins[j, i] + 0.5) for i, j in pairs])
    differences = np.array([np.eye(len(wins))[i] - np.eye(len(wins))[j] for i, j in pairs])
    axes, sizes, _ = np.linalg.svd(differences)
    cycles = axes[:, (sizes > 1e-9).sum() :].T  # all that is orthogonal to differences of scores
    along = cycles @ y
    chi2 = float(along @ np.linalg.solve((cycles * variance) @ cycles.T, along))
    return chi2 / float(y @ (y / variance)), chi2, len(cycles)


def curl_cases(seed: int) -> list[Case]:
    """Rock, paper, scissors; two models; a ladder; many models; uneven numbers of battles; pairs that never met; a ring; two groups."""
    draw = np.random.default_rng(seed)
    n = int(draw.integers(20, 90))
    rock = np.array([[0, n, 9], [9, 0, n], [n, 9, 0]])
    uneven = draw.integers(1, 400, (5, 5)) * (1 - np.eye(5, dtype=int))
    uneven[0, 3], uneven[3, 0] = 3, 1
    missing = tournament(np.linspace(1, -1, 6), 40, draw, cycle=0.5)
    i, j = draw.choice(6, 2, replace=False)
    missing[i, j] = missing[j, i] = 0
    groups = np.zeros((7, 7), dtype=int)
    groups[:4, :4], groups[4:, 4:] = tournament(draw.normal(size=4), 30, draw), rock
    ring, shuffled = np.zeros((4, 4), dtype=int), draw.permutation(7)
    ring[range(4), [1, 2, 3, 0]], ring[[1, 2, 3, 0], range(4)] = draw.integers(1, 50, (2, 4))
    return [
        Case(f"rock, paper, scissors: {n} to 9 each", (rock,)),
        Case("two models", (np.array([[0, 3 + n], [2, 0]]),)),
        Case("six models, 200 battles a pair", (tournament(draw.normal(size=6), 200, draw),)),
        Case("six models with a cycle", (tournament(np.linspace(1, -1, 6), 200, draw, cycle=0.6),)),
        Case("five models, some met 400 times, some 4 times", (uneven,)),
        Case("six models, one pair never met", (missing,)),
        Case("four models in a ring, two pairs never met", (ring,)),
        Case("two groups that never met", (groups[np.ix_(shuffled, shuffled)],)),
        Case("some never lost to some", (tournament(np.linspace(3, -3, 5), 12, draw),)),
    ]


def from_votes(wins: np.ndarray) -> tuple[float, float, int]:
    """Take the scores of Bradley-Terry for θ."""
    (Y, weights), theta = log_odds(wins), fit_bradley_terry(wins) / SCALE
    chi2 = (weights * (Y - np.subtract.outer(theta, theta)) ** 2).sum() / 2
    freedom = np.count_nonzero(weights) // 2 - np.linalg.matrix_rank(laplacian(weights), hermitian=True)
    return float(chi2 / (weights * Y**2).sum() * 2), float(chi2), int(freedom)


CURL = Exercise(
    name="arena.curl_share",
    points=4, difficulty=3, minutes=30,
    against="a projection of the log-odds onto all cycles (1e-7)",
    reference=onto_cycles,
    cases=curl_cases,
    tolerance=1e-7,
    mistakes=(
        ("all pairs count alike. What should a pair of 400 battles weigh beside one of 4?",
         "np.linalg.pinv(L, 1e-12, hermitian=True) @ (weights * Y).sum(1)", "Y.mean(1)"),
        ("the scores of maximum likelihood are taken, which leave more than need be. Which θ makes χ² as small as possible?",
         from_votes),
        ("the squares that are left are not weighted. In which unit is χ² about one for each degree of freedom?",
         "weights * (Y - np.subtract.outer(theta, theta)) ** 2",
         "(weights > 0) * (Y - np.subtract.outer(theta, theta)) ** 2"),
        ("every pair is counted twice. How often does a pair stand in the table?",
         "left.sum() / 2", "left.sum()"),
        ("the share is that of what scores explain. Which part is the curl?",
         "float(chi2 / total)", "float(1 - chi2 / total)"),
        ("the share is that of sizes, not of squares. Which lengths add up in a right triangle?",
         "float(chi2 / total)", "float((chi2 / total) ** 0.5)"),
        ("the degrees of freedom are the number of pairs. How many of them do the scores use up?",
         " - np.linalg.matrix_rank(L, hermitian=True)", ""),
        ("one degree of freedom too few is left: the M scores are counted as M. Which change of all of them alters nothing?",
         "np.linalg.matrix_rank(L, hermitian=True)", "len(wins)"),
        ("all pairs are counted, also those that never met. What do they say?",
         "np.count_nonzero(weights) // 2", "len(wins) * (len(wins) - 1) // 2"),
        ("groups that never met are taken for one. How many scores may be shifted without a change?",
         "np.linalg.matrix_rank(L, hermitian=True)", "(len(wins) - 1)"),
        ("the scores are added where their difference belongs. What is left of a perfect ladder?",
         "Y - np.subtract.outer(theta, theta)", "Y + np.subtract.outer(theta, theta)"),
        ("nothing is taken away: all of it is called curl. What can scores explain?",
         "(Y - np.subtract.outer(theta, theta))", "Y"),
    ),
)  # fmt: skip


def distance(table: np.ndarray) -> float:
    """How many standard deviations χ² lies above its degrees of freedom."""
    _, chi2, freedom = curl_share(table)
    return (chi2 - freedom) / (2 * freedom) ** 0.5


def between(
    draw: np.random.Generator, M: int, n: int, low: float, high: float, cycle: float = 0.0
) -> np.ndarray:
    """A table of n battles a pair whose χ² is so many standard deviations above its degrees of freedom."""
    tables = lambda: tournament(0.4 * draw.normal(size=M), n, draw, cycle)  # noqa: E731
    return until(tables, lambda table: low < distance(table) < high)


def five_tables(seed: int, each: int) -> tuple[str, list, int]:
    """Four tables that chance gives, and one with a cycle that chance does not: small share, few models, or many."""
    draw, place, kind = np.random.default_rng([seed, each]), (seed + 3 * each) % 5, each % 3
    M, n, cycle = ((6, 4000, 0.085), (4, 900, 0.16), (14, 150, 0.46))[kind]
    many = ((14, 40), (20, 40))[each % 2]
    # in most rounds another table has more battles than the one that is no line
    sizes = (
        ((4, 30), (8, 4000), (3, 25), (14, 40)),
        (many, (4, 30), (5, 60), (3, 25)),
        ((3, 40), (3, 400), (5, 2000), (3, 90)),
    )[kind]
    # near the upper end: 171 degrees of freedom, χ² is 33 above them by chance; or one of them, χ² may be 3.5
    lows = ((-2, -2, -2, -2), (1.8, -2, -2, -2), (1.6, -2, -2, -2))[kind]
    highest = 7.9 if kind == 1 else 9.5
    order = range(4) if kind == 1 else draw.permutation(4)  # who takes the first below 5 % takes the 171
    tables = [between(draw, *sizes[k], lows[k], 2) for k in order]
    tables.insert(place, between(draw, M, n, 7, highest, cycle))
    return "five tables of wins", tables, place


def not_a_line(tables: list) -> int:
    """Find the table whose χ² lies furthest above its degrees of freedom, in standard deviations."""
    far = []
    for wins in tables:
        share, chi2, freedom = curl_share(wins)
        far.append((chi2 - freedom) / (2 * freedom) ** 0.5)
    return far.index(max(far))


NOT_A_LINE = impossible(
    "arena.not_a_line",
    five_tables,
    not_a_line,
    against="how the tables were drawn",
    points=2, difficulty=2, minutes=12,
    mistakes=(
        ("the share of curl decides. How large is the share by chance, if there are few votes?",
         "(chi2 - freedom) / (2 * freedom) ** 0.5", "share"),
        ("χ² decides, however many degrees of freedom there are. How large is it by chance for twelve models?",
         "(chi2 - freedom) / (2 * freedom) ** 0.5", "chi2"),
        ("χ² for each degree of freedom decides. How far does this ratio scatter if there is one degree, how far if "
         "there are 78?",
         "(chi2 - freedom) / (2 * freedom) ** 0.5", "chi2 / freedom"),
        ("χ² less its degrees of freedom decides. How far does χ² scatter if there is one degree, how far if there are 171?",
         "(chi2 - freedom) / (2 * freedom) ** 0.5", "chi2 - freedom"),
        ("χ² over the root of its degrees of freedom decides. Where does χ² lie by chance, before one asks how far it scatters?",
         "(chi2 - freedom) / (2 * freedom) ** 0.5", "chi2 / freedom ** 0.5"),
        ("the table with the least curl is named. Which one is not allowed?",
         "max(far)", "min(far)"),
        ("the tables are counted from 1. Which number has the first?",
         "return far.index(max(far))", "return far.index(max(far)) + 1"),
    ),
)  # fmt: skip
