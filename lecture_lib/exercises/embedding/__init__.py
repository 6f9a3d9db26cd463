"""Exercises of chapter 2: the table as a matrix product, clocks added, clocks that turn, reading out by the table."""

from lecture_lib.exercises.embedding.guess import TABLE_SHARE
from lecture_lib.exercises.embedding.positions import ROTARY, SINUSOIDAL
from lecture_lib.exercises.embedding.table import LOOKUP, TIED

EXERCISES = (LOOKUP, SINUSOIDAL, ROTARY, TIED, TABLE_SHARE)
BY_HAND = {"relative_positions": 3}
