"""Exercises of chapter 1, tokenization, in the order of its notebook."""

from lecture_lib.exercises.tokenization.encode import ENCODE
from lecture_lib.exercises.tokenization.fertility import FERTILITY
from lecture_lib.exercises.tokenization.judge import IMPOSSIBLE
from lecture_lib.exercises.tokenization.learn import LEARN
from lecture_lib.exercises.tokenization.merge import MERGE
from lecture_lib.exercises.tokenization.text import DECODE
from lecture_lib.exercises.tokenization.unigram import BEST_CUT
from lecture_lib.exercises.tokenization.word_piece import LONGEST_MATCH

EXERCISES = (MERGE, LEARN, IMPOSSIBLE, ENCODE, DECODE, LONGEST_MATCH, BEST_CUT)
PRACTICE = (FERTILITY,)  # checked, but asked in no notebook
BY_HAND = {"who_pays": 3}
