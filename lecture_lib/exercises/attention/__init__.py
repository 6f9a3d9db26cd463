"""Exercises of chapter 3, attention, in the order of its notebook."""

from lecture_lib.exercises.attention.by_hand import PREVIOUS_TOKEN
from lecture_lib.exercises.attention.guess import KEYS
from lecture_lib.exercises.attention.heads import MERGE, SPLIT
from lecture_lib.exercises.attention.many_heads import CROSS, MULTI_HEAD
from lecture_lib.exercises.attention.one_head import SCALED_DOT_PRODUCT, SOFTMAX
from lecture_lib.exercises.embedding.positions import ROTARY

EXERCISES = (SOFTMAX, SCALED_DOT_PRODUCT, ROTARY, SPLIT, MERGE, MULTI_HEAD, CROSS, PREVIOUS_TOKEN, KEYS)
BY_HAND = {"why_the_square_root": 3}
