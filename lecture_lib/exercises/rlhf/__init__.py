"""Exercises of chapter 10, learning from preferences, in the order of its notebook."""

from lecture_lib.exercises.rlhf.best import BEST_OF_N
from lecture_lib.exercises.rlhf.credit import MENDED
from lecture_lib.exercises.rlhf.frontier import ABOVE
from lecture_lib.exercises.rlhf.losses import DPO_LOSS, PPO_LOSS
from lecture_lib.exercises.rlhf.masks import ANSWERS

EXERCISES = (ANSWERS, MENDED, PPO_LOSS, DPO_LOSS, BEST_OF_N, ABOVE)
BY_HAND = {"price_of_a_nat": 3}
