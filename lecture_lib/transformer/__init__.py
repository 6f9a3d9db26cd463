"""The transformer: choices (`config`), the way in (`input`), one `layer` (Algorithm 12.3), the `stack`."""

from lecture_lib.transformer.activations import ACTIVATIONS, GATED
from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.input import InputEmbedding, length_mask
from lecture_lib.transformer.layer import (
    FeedForward,
    TransformerLayer,
    layer_norm,
    make_norm,
    rms_norm,
)
from lecture_lib.transformer.stack import Cache, TransformerStack, initialise, parameter_count, place

__all__ = [
    "ACTIVATIONS",
    "GATED",
    "Cache",
    "FeedForward",
    "InputEmbedding",
    "ModelConfig",
    "TransformerLayer",
    "TransformerStack",
    "initialise",
    "layer_norm",
    "length_mask",
    "make_norm",
    "parameter_count",
    "place",
    "rms_norm",
]
