"""Exercises of chapter 14, serving, in the order of its notebook."""

from lecture_lib.exercises.serving.blocks import BLOCKS
from lecture_lib.exercises.serving.guess import RATIO
from lecture_lib.exercises.serving.guesses import GUESSES
from lecture_lib.exercises.serving.judge import LOST
from lecture_lib.exercises.serving.paged import PAGED
from lecture_lib.exercises.serving.prefixes import MENDED_HASHES
from lecture_lib.exercises.serving.step import STEP
from lecture_lib.exercises.serving.worth import WORTH

EXERCISES = (BLOCKS, PAGED, MENDED_HASHES, STEP, RATIO, LOST, GUESSES, WORTH)
BY_HAND = {"which_number_is_wrong": 3}
