"""Sampling: shape the logits (`filters`), draw a token from them (`sampler`), or search for the best text (`beam`)."""

from lecture_lib.sampling.beam import Hypothesis, beam_search
from lecture_lib.sampling.filters import apply_temperature, min_p, repetition_penalty, top_k, top_p
from lecture_lib.sampling.sampler import SamplingParameters, draw, greedy, process_logits, sample

__all__ = [
    "Hypothesis",
    "SamplingParameters",
    "apply_temperature",
    "beam_search",
    "draw",
    "greedy",
    "min_p",
    "process_logits",
    "repetition_penalty",
    "sample",
    "top_k",
    "top_p",
]
