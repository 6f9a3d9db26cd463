"""Exercises of chapter 7, sampling: the knobs of the playground one by one and together, and temperature for whole texts."""

from lecture_lib.exercises.sampling.energy import HEAT_CAPACITY
from lecture_lib.exercises.sampling.filters import K_BEST, NUCLEUS
from lecture_lib.exercises.sampling.guess import CLEAN_SHARE
from lecture_lib.exercises.sampling.lookahead import LOOKAHEAD
from lecture_lib.exercises.sampling.pipeline import PLAYGROUND

EXERCISES = (HEAT_CAPACITY, CLEAN_SHARE, K_BEST, NUCLEUS, PLAYGROUND, LOOKAHEAD)
BY_HAND = {"two_temperatures": 3}
