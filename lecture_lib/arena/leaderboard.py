"""The table: models in order, scores, intervals, votes and ranks; and the lecture's, as it stood on a day in March 2025."""

from dataclasses import dataclass

import numpy as np

from lecture_lib.arena.battles import Battles
from lecture_lib.arena.fit import fit_bradley_terry, refuse_degenerate
from lecture_lib.arena.intervals import fisher_covariance, sandwich_covariance, score_interval
from lecture_lib.arena.ranks import rank_upper_bound
from lecture_lib.fields import choice

LECTURE_DATE = "2025-03-10"
LECTURE_ROWS = """
 1  2 Grok-3-Preview-02-24                1407 7  7  7580
 1  1 GPT-4.5-Preview                     1404 7  9  6024
 3  6 Gemini-2.0-Flash-Thinking-Exp-01-21 1384 5  5 19837
 3  3 Gemini-2.0-Pro-Exp-02-05            1380 4  4 17695
 3  2 ChatGPT-4o-latest-2025-01-29        1375 4  5 19587
 6  4 DeepSeek-R1                         1361 5  6 10474
 6 10 Gemini-2.0-Flash-001                1355 4  5 15416
 6  3 o1-2024-12-17                       1353 4  4 22010
 9 10 Gemma-3-27B-it                      1339 9 11  3870
 9 10 Qwen2.5-Max                         1338 5  5 14258
 9  7 o1-preview                          1335 4  4 33195
 9 10 o3-mini-high                        1328 6  5 11409
13 12 DeepSeek-V3                         1319 4  4 23079
"""  # rank, rank with style control, model, score, 95 % interval up and down, votes


@dataclass(frozen=True)
class Leaderboard:
    """Rows from the best score down; every column is (M,)."""

    models: tuple[str, ...]
    scores: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    votes: np.ndarray
    ranks: np.ndarray

    def __str__(self) -> str:
        width = max(len("model"), *map(len, self.models))
        rows = zip(self.ranks, self.models, self.scores, self.lower, self.upper, self.votes, strict=True)
        lines = [f"{'rank':>4}  {'model':{width}}  score   95 % interval   votes"]
        lines += [
            f"{rank:4d}  {name:{width}} {score:6.0f} {low:8.0f}{high:7.0f} {n:8.0f}"
            for rank, name, score, low, high, n in rows
        ]
        return "\n".join(lines)


def leaderboard(
    battles: Battles,
    anchor: str | None = None,
    at: float = 1000.0,
    interval: str = "sandwich",
    level: float = 0.95,
) -> Leaderboard:
    """Fit the scores of battles and put the models in order.

    Args:
        battles: the votes; models without a battle are left out.
        anchor: name of the model whose score is `at`; None: the mean score is.
        at: in points.
        interval: sandwich, or fisher, which takes every vote for a win or a loss.
        level: how often an interval should hold the truth.

    Raises:
        ValueError: an unknown name, or votes that fix no finite scores, with the models concerned.
    """
    choice("interval", interval, ("sandwich", "fisher"))
    place = None if anchor is None else battles.place(anchor)
    if place is None or battles.votes[place]:
        idle = [name for name, n in zip(battles.models, battles.votes, strict=True) if not n]
        battles = battles.without(*idle) if idle else battles
        place = None if anchor is None else battles.place(anchor)
    refuse_degenerate(battles.wins, battles.models)
    scores = fit_bradley_terry(battles.wins, place, at)
    if interval == "fisher":
        covariance = fisher_covariance(battles.wins, scores)
    else:
        squares = None if battles.weight is None else battles.counted(battles.weight**2)
        covariance = sandwich_covariance(battles.counts, scores, squares)
    lower, upper = score_interval(scores, covariance, level, place)
    order = np.argsort(-scores, kind="stable")
    models = tuple(battles.models[i] for i in order)
    columns = (scores, lower, upper, battles.votes, rank_upper_bound(lower, upper))
    return Leaderboard(models, *(column[order] for column in columns))


def lecture_leaderboard() -> Leaderboard:
    """The 13 rows that the lecture shows, of 2025-03-10 (212 models and 2,768,389 votes in all), with the printed ranks."""
    rows = [line.split() for line in LECTURE_ROWS.strip().splitlines()]
    rank, _, score, up, down, votes = (np.array([int(row[k]) for row in rows]) for k in (0, 1, 3, 4, 5, 6))
    return Leaderboard(tuple(row[2] for row in rows), score, score - down, score + up, votes, rank)
