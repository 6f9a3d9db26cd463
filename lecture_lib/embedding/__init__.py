"""Embedding: from ids to vectors that know what they are (`tokens`) and where they stand (`positions`)."""

from lecture_lib.embedding.positions import (
    apply_rotary,
    rotary_frequencies,
    rotary_tables,
    rotate,
    sinusoidal_positions,
)
from lecture_lib.embedding.rotary_scaling import RotaryScaling
from lecture_lib.embedding.tokens import TokenEmbedding, check_ids, one_hot_lookup, tied_logits

__all__ = [
    "RotaryScaling",
    "TokenEmbedding",
    "apply_rotary",
    "check_ids",
    "one_hot_lookup",
    "rotary_frequencies",
    "rotary_tables",
    "rotate",
    "sinusoidal_positions",
    "tied_logits",
]
