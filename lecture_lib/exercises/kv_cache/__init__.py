"""Exercises of chapter 13, the key-value cache and the roofline, in the order of its notebook."""

from lecture_lib.exercises.kv_cache.budget import BUDGET
from lecture_lib.exercises.kv_cache.chunks import CHUNKS
from lecture_lib.exercises.kv_cache.datasheet import EXPLAIN
from lecture_lib.exercises.kv_cache.guess import RIDGE
from lecture_lib.exercises.kv_cache.layer import LAYER
from lecture_lib.exercises.kv_cache.speed import SPEED

EXERCISES = (BUDGET, LAYER, CHUNKS, RIDGE, SPEED, EXPLAIN)
BY_HAND = {"which_test_decides": 3}
