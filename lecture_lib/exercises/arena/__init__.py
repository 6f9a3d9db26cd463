"""Exercises of chapter 11, the arena, in the order of its notebook."""

from lecture_lib.exercises.arena.cycles import CURL, NOT_A_LINE
from lecture_lib.exercises.arena.errors import SANDWICH, VOTES
from lecture_lib.exercises.arena.fit import FIT
from lecture_lib.exercises.arena.online import ELO
from lecture_lib.exercises.arena.places import MENDED_RANKS
from lecture_lib.exercises.arena.style import STYLE

EXERCISES = (FIT, ELO, SANDWICH, VOTES, MENDED_RANKS, STYLE, CURL, NOT_A_LINE)
BY_HAND = {"what_a_rank_says": 3}
