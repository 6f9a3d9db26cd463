"""Exercises of chapter 1, tokenization, in the order of its notebook."""

from lecture_lib.checks.tokenization.decode import DECODE
from lecture_lib.checks.tokenization.encode import ENCODE
from lecture_lib.checks.tokenization.fertility import FERTILITY
from lecture_lib.checks.tokenization.learn import LEARN
from lecture_lib.checks.tokenization.longest_match import LONGEST_MATCH
from lecture_lib.checks.tokenization.merge import MERGE

EXERCISES = (MERGE, LEARN, ENCODE, DECODE, LONGEST_MATCH, FERTILITY)
