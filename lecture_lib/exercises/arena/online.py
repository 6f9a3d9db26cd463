"""Elo, one battle after the other."""

import numpy as np

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.exercises.arena.votes import battles


def in_natural_units(a, b, points, n_models, k=4.0, start=1000.0) -> np.ndarray:
    """The same game with log-odds in place of points, and tanh in place of powers of ten."""
    unit = 400 / np.log(10)
    theta = np.zeros(n_models)
    for i, j, s in zip(a, b, points, strict=True):
        surprise = s - 0.5 - 0.5 * np.tanh((theta[i] - theta[j]) / 2)
        theta[[i, j]] += np.array([surprise, -surprise]) * k / unit
    return start + unit * theta


def elo_cases(seed: int) -> list[Case]:
    """By hand, ties, other stakes and starts, orders that matter, someone who never plays, no battle."""
    draw = np.random.default_rng(seed)
    a, b, s = battles(draw, 5, 60, ties=0.3)
    first = int(draw.integers(2))
    by_hand = (np.array([first, first]), np.array([1 - first] * 2), np.array([1.0, 0.5]))
    start, again = int(draw.integers(-50, 50)), np.repeat([[1 - first], [first]], 9, axis=1)
    return [
        Case("a win, then a tie, k = 32: by hand", (*by_hand, 2), {"k": 32.0}),
        Case("65 battles of five models", (a, b, s, 5)),
        Case("the same, backwards", (a[::-1].copy(), b[::-1].copy(), s[::-1].copy(), 5)),
        Case("the same, k = 100", (a, b, s, 5, 100.0)),
        Case(f"the same, everyone starts at {start}, a whole number", (a, b, s, 5), {"start": start, "k": 16}),
        Case("the same player wins nine times, k = 500", (*again, np.ones(9), 2, 500.0)),
        Case("ties alone, between unequal models", (a, b, np.where(np.arange(65) < 20, s, 0.5), 5, 64.0)),
        Case("seven models, two of which never play", (a, b, s, 7, 20.0)),
        Case("no battle", (a[:0], b[:0], s[:0], 3)),
    ]  # fmt: skip


def with_new_scores(a, b, points, n_models, k=4.0, start=1000.0) -> np.ndarray:
    """Let b's loss be reckoned from a's new score."""
    scores = np.full(n_models, float(start))
    for i, j, taken in zip(a, b, points, strict=True):
        scores[i] += k * (taken - 1 / (1 + 10 ** ((scores[j] - scores[i]) / 400)))
        scores[j] -= k * (taken - 1 / (1 + 10 ** ((scores[j] - scores[i]) / 400)))
    return scores


def all_at_once(a, b, points, n_models, k=4.0, start=1000.0) -> np.ndarray:
    """Reckon every battle from the scores at the start."""
    gain = k * (points - 0.5)
    return start + np.bincount(a, gain, n_models) - np.bincount(b, gain, n_models)


def in_whole_numbers(a, b, points, n_models, k=4.0, start=1000.0) -> np.ndarray:
    """Let the scores have the number type of the start."""
    scores = np.full(n_models, start)
    for i, j, taken in zip(a, b, points, strict=True):
        gain = k * (taken - 1 / (1 + 10 ** ((scores[j] - scores[i]) / 400)))
        scores[i] += gain
        scores[j] -= gain
    return scores


ELO = Exercise(
    name="arena.elo",
    points=2, difficulty=1, minutes=10,
    against="the same game in natural log-odds",
    reference=in_natural_units,
    cases=elo_cases,
    mistakes=(
        ("b's score is changed with the new score of a. From which scores is a battle expected?", with_new_scores),
        ("all battles are reckoned from the scores at the start. Which scores hold before the second battle?",
         all_at_once),
        ("only a's score changes. Where do the points come from?",
         "scores[j] -= k * (taken - expected)", "pass"),
        ("the expectation is that of b. Who should be expected to win if s_a is larger?",
         "scores[j] - scores[i]", "scores[i] - scores[j]"),
        ("the power is divided by 400, not the difference. Which of the two does Python reckon first, ** or /?",
         "10 ** ((scores[j] - scores[i]) / 400)", "10 ** (scores[j] - scores[i]) / 400"),
        ("b's points are compared with what a was expected to take. How many points was b expected to take?",
         "scores[j] -= k * (taken - expected)", "scores[j] += k * (1 - taken - expected)"),
        ("a tie changes nothing. Has a weak model not gained by a tie against a strong one?",
         "expected = 1", "if taken == 0.5:\n            continue\n        expected = 1"),
        ("the odds are powers of e, not of 10. Which odds are 400 points?",
         "10 ** (", "2.718281828459045 ** ("),
        ("a tie counts as a loss of a. What does a take from a tie?",
         "taken - expected)\n        scores[j]", "(taken == 1) - expected)\n        scores[j]",
         "k * (taken - expected)", "k * ((taken == 1) - expected)"),
        ("`k` is not used, always 4. Where does the stake go?",
         "scores[i] += k *", "scores[i] += 4.0 *", "scores[j] -= k *", "scores[j] -= 4.0 *"),
        ("everyone starts at 1000. Which argument says where they start?",
         "float(start)", "1000.0"),
        ("the scores are whole numbers if `start` is one. Which number type has `np.full(3, 1000)`?", in_whole_numbers),
        ("the battles are played from the last to the first. Which order was given?",
         "zip(a.tolist(), b.tolist(), points.tolist(), strict=True)",
         "zip(a.tolist()[::-1], b.tolist()[::-1], points.tolist()[::-1], strict=True)"),
    ),
)  # fmt: skip
