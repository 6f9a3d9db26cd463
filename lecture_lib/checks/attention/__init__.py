"""Exercises of chapter 3, attention, in the order of its notebook."""

from lecture_lib.checks.attention.cross import CROSS
from lecture_lib.checks.attention.dot_product import SCALED_DOT_PRODUCT
from lecture_lib.checks.attention.heads import MERGE, SPLIT
from lecture_lib.checks.attention.multi_head import MULTI_HEAD
from lecture_lib.checks.attention.softmax import SOFTMAX

EXERCISES = (SOFTMAX, SCALED_DOT_PRODUCT, SPLIT, MERGE, MULTI_HEAD, CROSS)
