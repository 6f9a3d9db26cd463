"""Quantization: weights in 8 bits and fewer, and the models that run on them.

Read in this order: `integers` (a real as a small integer), `packing` (two codes in a byte), `float8`, then what
chooses the codes better than rounding to nearest does (`gptq`, `awq`, `rotation`), and the layer and the model built on it
(`linear`, `model`, `storage`), with torch's fast matrix products in `kernels`.
"""

from lecture_lib.quantization.awq import awq_scale
from lecture_lib.quantization.calibration import second_moments
from lecture_lib.quantization.float8 import float8_quantize
from lecture_lib.quantization.gptq import gptq_quantize, output_error
from lecture_lib.quantization.integers import (
    absmax_scale,
    affine_parameters,
    dequantize,
    noise_power,
    quantize,
    signal_to_noise,
)
from lecture_lib.quantization.linear import QuantizedLinear
from lecture_lib.quantization.model import quantize_model, stored_bytes
from lecture_lib.quantization.packing import pack, pack_int4, unpack, unpack_int4
from lecture_lib.quantization.rotation import hadamard, rotate_and_round
from lecture_lib.quantization.scheme import Scheme
from lecture_lib.quantization.storage import load_quantized, save_quantized

__all__ = [
    "QuantizedLinear",
    "Scheme",
    "absmax_scale",
    "affine_parameters",
    "awq_scale",
    "dequantize",
    "float8_quantize",
    "gptq_quantize",
    "hadamard",
    "load_quantized",
    "noise_power",
    "output_error",
    "pack",
    "pack_int4",
    "quantize",
    "quantize_model",
    "rotate_and_round",
    "save_quantized",
    "second_moments",
    "signal_to_noise",
    "stored_bytes",
    "unpack",
    "unpack_int4",
]
