"""The transformer: its choices (`config`), one layer (`layer`, Algorithm 12.3) and a stack of them (`stack`)."""

from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.layer import ACTIVATIONS, FeedForward, TransformerLayer, layer_norm, rms_norm
from lecture_lib.transformer.stack import InputEmbedding, TransformerStack, initialise, parameter_count

__all__ = [
    "ACTIVATIONS",
    "FeedForward",
    "InputEmbedding",
    "ModelConfig",
    "TransformerLayer",
    "TransformerStack",
    "initialise",
    "layer_norm",
    "parameter_count",
    "rms_norm",
]
