"""Exercises of chapter 1, tokenization, in the order of its notebook."""

from lecture_lib.exercises.tokenization.encode import ENCODE
from lecture_lib.exercises.tokenization.judge import IMPOSSIBLE
from lecture_lib.exercises.tokenization.learn import LEARN
from lecture_lib.exercises.tokenization.merge import MERGE
from lecture_lib.exercises.tokenization.text import DECODE, FERTILITY
from lecture_lib.exercises.tokenization.word_piece import LONGEST_MATCH

EXERCISES = (MERGE, LEARN, ENCODE, DECODE, LONGEST_MATCH, FERTILITY, IMPOSSIBLE)
BY_HAND = {"who_pays": 3}
