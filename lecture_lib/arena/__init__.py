"""The arena: from votes on pairs of answers to a table of scores, and how sure each place in it is.

In the order in which it is read: ``battles`` and ``reader`` hold the votes, ``fit`` finds the scores (Bradley-Terry by
maximum likelihood), ``elo`` finds them one vote at a time, ``intervals`` says how far they can be trusted, ``ranks`` what
follows for the order, ``style`` takes out what is not substance, ``cycles`` finds what no score can hold, ``leaderboard``
puts it together and has the lecture's table.
"""

from lecture_lib.arena.battles import Battles, draw_battles
from lecture_lib.arena.cycles import curl_share, log_odds
from lecture_lib.arena.elo import elo
from lecture_lib.arena.fit import (
    SCALE,
    expected_points,
    fit_bradley_terry,
    laplacian,
    pseudo_inverse,
    refuse_degenerate,
    win_probability,
)
from lecture_lib.arena.intervals import (
    bootstrap,
    fisher_covariance,
    sandwich_covariance,
    score_interval,
    votes_to_tell_apart,
)
from lecture_lib.arena.leaderboard import Leaderboard, leaderboard, lecture_leaderboard
from lecture_lib.arena.ranks import rank_distribution, rank_upper_bound
from lecture_lib.arena.reader import read_battles
from lecture_lib.arena.style import fit_style, style_derivatives, style_difference

__all__ = [
    "SCALE",
    "Battles",
    "Leaderboard",
    "bootstrap",
    "curl_share",
    "draw_battles",
    "elo",
    "expected_points",
    "fisher_covariance",
    "fit_bradley_terry",
    "fit_style",
    "laplacian",
    "leaderboard",
    "lecture_leaderboard",
    "log_odds",
    "pseudo_inverse",
    "rank_distribution",
    "rank_upper_bound",
    "read_battles",
    "refuse_degenerate",
    "sandwich_covariance",
    "score_interval",
    "style_derivatives",
    "style_difference",
    "votes_to_tell_apart",
    "win_probability",
]
