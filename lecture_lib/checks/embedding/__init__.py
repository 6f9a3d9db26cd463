"""Exercises of chapter 2: the table as a matrix product, clocks added, clocks that turn, reading out by the table."""

from lecture_lib.checks.embedding.lookup import LOOKUP
from lecture_lib.checks.embedding.rotary import ROTARY
from lecture_lib.checks.embedding.sinusoidal import SINUSOIDAL
from lecture_lib.checks.embedding.tied import TIED

EXERCISES = (LOOKUP, SINUSOIDAL, ROTARY, TIED)
