"""Exercises of chapter 6, the decoder, in the order of its notebook."""

from lecture_lib.exercises.decoder.adamw import ADAMW
from lecture_lib.exercises.decoder.beliefs import BELIEF, FLOOR
from lecture_lib.exercises.decoder.guess import UNTRAINED
from lecture_lib.exercises.decoder.judge import LEAKING
from lecture_lib.exercises.decoder.loss import LOSS
from lecture_lib.exercises.decoder.text import TEXT

EXERCISES = (TEXT, LOSS, ADAMW, BELIEF, FLOOR, UNTRAINED, LEAKING)
BY_HAND = {"below_the_floor": 3}
