"""Exercises of the capstone, the whole course as one program, in the order of its notebook."""

from lecture_lib.exercises.capstone.guess import FEWER
from lecture_lib.exercises.capstone.judge import NOT_ROUNDING
from lecture_lib.exercises.capstone.loop import LOOP
from lecture_lib.exercises.capstone.network import GATED
from lecture_lib.exercises.capstone.norm import RMS_NORM

EXERCISES = (RMS_NORM, GATED, LOOP, FEWER, NOT_ROUNDING)
BY_HAND = {"where_they_part": 3}
