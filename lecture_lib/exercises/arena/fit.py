"""Bradley-Terry scores of a table of wins."""

import numpy as np

from lecture_lib.arena import SCALE
from lecture_lib.checks.compare import difference
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.plain import Array
from lecture_lib.exercises.arena.votes import wins

UNEVEN = np.array([[0, 900, 40, 9], [3, 0, 2000, 3000], [0, 25, 0, 700], [0, 2, 11, 0]])


def by_mm(wins, anchor=None, at=1000.0, start=None) -> np.ndarray:
    """Hunter's MM algorithm, after a search for someone who is not reached."""
    wins = np.asarray(wins, dtype=float)
    for table in (wins, wins.T):
        reached = {0}
        for _ in table:
            reached |= {int(j) for i in reached for j in np.flatnonzero(table[i])}
        if len(reached) < len(wins):
            raise ValueError("the likelihood has no maximum")
    met, strength = wins + wins.T, np.ones(len(wins))
    for _ in range(20_000):
        before = strength
        strength = wins.sum(1) / (met / np.add.outer(strength, strength)).sum(1)
        strength = strength / np.exp(np.log(strength).mean())
        if np.abs(strength / before - 1).max() < 1e-14:
            break
    scores = 400 * np.log10(strength)
    return scores - (scores.mean() if anchor is None else scores[anchor]) + at


def fit_cases(seed: int) -> list[Case]:
    """Two and many models, ties, weights, whole numbers, anchors, uneven odds, pairs that never met, no maximum."""
    draw = np.random.default_rng(seed)
    won, lost = (int(n) for n in draw.integers(2, 40, 2))
    lost += won == lost
    two = np.array([[0, won], [lost, 0]])
    chain = np.array([[0, won, 0], [lost, 0, 7], [0, 3, 0]])
    six, seven = wins(draw, 6, 300), wins(draw, 7, 900, spread=1.5)
    one = int(draw.integers(1, 6))
    never, apart = wins(draw, 4, 80), np.zeros((5, 5))
    never[:, 2] = 0
    apart[:3, :3], apart[3:, 3:] = wins(draw, 3, 40), wins(draw, 2, 20)
    above = apart.copy()
    above[0, 4] = 2  # everyone has won and lost, and all are joined
    mixed = draw.permutation(5)
    order = draw.permutation(4)
    uneven = UNEVEN[np.ix_(order, order)]
    return [
        Case(f"two models, {won} wins to {lost}: by hand", (two,)),
        Case("three models in a chain, the ends never met", (chain,)),
        Case("six models, ties as half a win", (six,)),
        Case(f"the same, model {one} anchored at 1114", (six, one, 1114.0)),
        Case("the same, model 0 anchored at -250, by name", (six,), {"anchor": 0, "at": -250.0}),
        Case("the same, mean 0", (six,), {"at": 0.0}),
        Case("seven models, every vote with a weight", (seven * 0.37,)),
        Case("four models, odds up to 1500 to 1", (uneven,)),
        Case("the same, started far away", (uneven,), {"start": np.array([0.0, 4e3, -3e3, 1e3])[order]}),
        Case("a model that never lost: ValueError", (never,)),
        Case("a model that never won: ValueError", (never.T.copy(),)),
        Case("two groups that never met: ValueError", (apart,)),
        Case("two groups, one never lost to the other: ValueError", (above[np.ix_(mixed, mixed)],)),
    ]


def of_win_rates(wins, anchor=None, at=1000.0, start=None) -> np.ndarray:
    """Give the log-odds of each model's share of points, whoever it met."""
    rate = wins.sum(1) / (wins + wins.T).sum(1)
    scores = SCALE * np.log(rate / (1 - rate))
    return scores + at - (scores.mean() if anchor is None else scores[anchor])


def of_log_odds(wins, anchor=None, at=1000.0, start=None) -> np.ndarray:
    """Give the mean of the log-odds against each of the others."""
    scores = SCALE * (np.log((wins + 0.5) / (wins.T + 0.5))).mean(1)
    return scores + at - (scores.mean() if anchor is None else scores[anchor])


def accept_points(case: Case, output: object, _asked: list) -> str | None:
    """Within 0.0001 points of the maximum, however small a score is."""
    expected = FIT.call(by_mm, case)
    wrong = difference(output, expected, FIT.tolerance)
    numbers = [each.values for each in (output, expected) if type(each) is Array and each.dtype == "float64"]
    if len(numbers) < 2 or numbers[0].shape != numbers[1].shape or output.kind != expected.kind:
        return wrong
    return None if np.abs(numbers[0] - numbers[1]).max() <= 1e-4 else wrong


FIT = Exercise(
    name="arena.fit_bradley_terry",
    points=4, difficulty=2, minutes=25,
    against="Hunter's MM algorithm, another way to the same maximum (1e-4 points)",
    reference=by_mm,
    cases=fit_cases,
    accept=accept_points,
    tolerance=1e-7,
    owned=("lecture_lib.arena.leaderboard", "lecture_lib.arena.fit_style", "lecture_lib.arena.bootstrap"),
    mistakes=(
        ("the scores are natural log-odds. How many points are a factor e in the odds?",
         "return scores + at", "scores = scores / SCALE\n    return scores + at"),
        ("400 points are a factor e in the odds. Which factor should 400 points be?",
         "return scores + at", "scores = scores * math.log(10)\n    return scores + at"),
        ("only one step is taken. When has Newton's method arrived?",
         "range(200)", "range(1)"),
        ("each model's share of points is turned into a score, whoever it met. Is a win against the last worth "
         "as much as one against the first?", of_win_rates),
        ("the log-odds of all pairs are averaged, however often they met. What should a pair of 1000 battles "
         "count, what one of 2?", of_log_odds),
        ("half a win is added to every pair, which draws the scores together. Which votes were cast?",
         "    refuse_degenerate(wins)\n", "    refuse_degenerate(wins)\n    wins = wins + 0.5 * (1 - np.eye(len(wins)))\n"),
        ("those who lose get the high scores. Is row i of `wins` what i took or what i gave away?",
         "np.asarray(wins, dtype=float)", "np.asarray(wins, dtype=float).T"),
        ("the anchor is not used. Which score should be `at` if there is one?",
         "(scores.mean() if anchor is None else scores[anchor])", "scores.mean()"),
        ("model 0 is taken for no anchor at all. What is the truth value of 0?",
         "if anchor is None else", "if not anchor else"),
        ("`at` is not used. Where should the mean, or the anchor, lie?",
         "scores + at", "scores + 1000"),
        ("Newton's full steps are taken and overshoot where the odds are uneven. By what may a step be shortened?",
         "(math.log1p(spread) / spread if spread else 1)", "1"),
        ("the battles that were lost are not counted in what was expected. How often did i and j meet?",
         "wins + wins.T", "wins"),
        ("votes without a maximum get scores all the same. Who has to be refused, and by which function?",
         "    refuse_degenerate(wins)\n", "", "range(200)", "range(30)"),
        ("the curvature is taken as n, not n p (1 - p), so that the steps are too short and the last one comes too "
         "early. What is the derivative of p?",
         "met * p * (1 - p)", "met", "range(200)", "range(8)"),
    ),
)  # fmt: skip
