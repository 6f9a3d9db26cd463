"""Exercises of chapter 4, the transformer layer: its parts, the layer in both orders, its size, two heads by hand."""

from lecture_lib.exercises.transformer.bug import MASKED_ATTENTION
from lecture_lib.exercises.transformer.count import LAYER_PARAMETER_COUNT
from lecture_lib.exercises.transformer.kinds import DAYS, INDUCTION, MENDED
from lecture_lib.exercises.transformer.layers import POST_LN_LAYER, PRE_LN_STACK
from lecture_lib.exercises.transformer.sublayers import FEED_FORWARD, LAYER_NORM

EXERCISES = (
    *(MASKED_ATTENTION, LAYER_NORM, FEED_FORWARD, POST_LN_LAYER, PRE_LN_STACK),
    *(MENDED, LAYER_PARAMETER_COUNT, DAYS, INDUCTION),
)
BY_HAND = {"norm_and_gradient": 3}
