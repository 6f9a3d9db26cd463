"""The transformer: choices (`config`), the `door` and the way in (`input`), one `layer` (Algorithm 12.3), the `stack`."""

from lecture_lib.transformer.activations import ACTIVATIONS, GATED
from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.door import length_mask, make_context, rotary
from lecture_lib.transformer.input import InputEmbedding
from lecture_lib.transformer.layer import (
    FeedForward,
    TransformerLayer,
    layer_norm,
    make_norm,
    rms_norm,
)
from lecture_lib.transformer.stack import TransformerStack, initialise, parameter_count

__all__ = [
    "ACTIVATIONS",
    "GATED",
    "FeedForward",
    "InputEmbedding",
    "ModelConfig",
    "TransformerLayer",
    "TransformerStack",
    "initialise",
    "layer_norm",
    "length_mask",
    "make_context",
    "make_norm",
    "parameter_count",
    "rms_norm",
    "rotary",
]
