"""Exercises of chapter 5, the encoder: masking, its loss, the two heads, and what an ideal model would say of hidden spins."""

from lecture_lib.exercises.encoder.heads import ALIGN_LABELS, TEXT_PROBABILITY
from lecture_lib.exercises.encoder.loss import MASKED_LOSS
from lecture_lib.exercises.encoder.masking import MASK_TOKENS
from lecture_lib.exercises.encoder.spins import CHAIN_FLOOR, MASKED_POSTERIOR

EXERCISES = (MASK_TOKENS, MASKED_LOSS, TEXT_PROBABILITY, ALIGN_LABELS, CHAIN_FLOOR, MASKED_POSTERIOR)
BY_HAND = {"what_a_mask_asks": 3}
