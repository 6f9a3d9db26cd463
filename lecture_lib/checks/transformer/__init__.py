"""Exercises of chapter 4, the transformer layer: its parts, the layer in both orders, and its size."""

from lecture_lib.checks.transformer.count import LAYER_PARAMETER_COUNT
from lecture_lib.checks.transformer.feed_forward import FEED_FORWARD
from lecture_lib.checks.transformer.layer_norm import LAYER_NORM
from lecture_lib.checks.transformer.post_ln import POST_LN_LAYER
from lecture_lib.checks.transformer.pre_ln import PRE_LN_STACK

EXERCISES = (LAYER_NORM, FEED_FORWARD, POST_LN_LAYER, PRE_LN_STACK, LAYER_PARAMETER_COUNT)
