"""Exercises of chapter 2: the table at both ends, positions and how they move, the narrowest vectors."""

from lecture_lib.exercises.embedding.bottleneck import FACTORS
from lecture_lib.exercises.embedding.guess import TABLE_SHARE
from lecture_lib.exercises.embedding.positions import SINUSOIDAL
from lecture_lib.exercises.embedding.shift import SHIFT
from lecture_lib.exercises.embedding.table import LOOKUP, TIED_GRADIENT
from lecture_lib.exercises.embedding.tied import TIED

EXERCISES = (LOOKUP, TIED_GRADIENT, TABLE_SHARE, SINUSOIDAL, SHIFT, FACTORS)
PRACTICE = (TIED,)  # checked, but asked in no notebook
BY_HAND = {"unseen_token": 3}
