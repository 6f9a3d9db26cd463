"""Exercises of chapter 12, quantization, in the order of its notebook."""

from lecture_lib.exercises.quantization.affine import MENDED_AFFINE
from lecture_lib.exercises.quantization.columns import GPTQ
from lecture_lib.exercises.quantization.guess import NOISE
from lecture_lib.exercises.quantization.int4 import INT4
from lecture_lib.exercises.quantization.judge import BEYOND_SHANNON
from lecture_lib.exercises.quantization.product import PRODUCT
from lecture_lib.exercises.quantization.rotation import ROTATION

EXERCISES = (NOISE, MENDED_AFFINE, INT4, PRODUCT, GPTQ, ROTATION, BEYOND_SHANNON)
BY_HAND = {"four_bits_or_half_the_weights": 3}
