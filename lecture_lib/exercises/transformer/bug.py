"""A bug to find: chapter 3's attention with one line that is wrong."""

from lecture_lib.checks.kinds import find_the_bug
from lecture_lib.exercises.attention import SCALED_DOT_PRODUCT

# Symptom: with a causal mask, what the first token reads changes when the last word is exchanged.
MASKED_ATTENTION = find_the_bug(
    SCALED_DOT_PRODUCT,
    "transformer.masked_attention",
    hint="hidden scores are set to 0",
    imports="from lecture_lib.attention import check_attention, softmax",
    points=2,
    difficulty=1,
    minutes=10,
)
