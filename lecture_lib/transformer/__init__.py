"""The transformer: choices (`config`), the `door`, the `layer` (Algorithm 12.3), its `norms`, a fresh `start`."""

from lecture_lib.transformer.activations import ACTIVATIONS, GATED
from lecture_lib.transformer.config import ModelConfig
from lecture_lib.transformer.door import depends_on_length, length_mask, make_context, rotary
from lecture_lib.transformer.layer import FeedForward, InputEmbedding, TransformerLayer, TransformerStack
from lecture_lib.transformer.norms import layer_norm, make_norm, rms_norm
from lecture_lib.transformer.start import initialise, parameter_count

__all__ = [
    "ACTIVATIONS",
    "GATED",
    "FeedForward",
    "InputEmbedding",
    "ModelConfig",
    "TransformerLayer",
    "TransformerStack",
    "depends_on_length",
    "initialise",
    "layer_norm",
    "length_mask",
    "make_context",
    "make_norm",
    "parameter_count",
    "rms_norm",
    "rotary",
]
