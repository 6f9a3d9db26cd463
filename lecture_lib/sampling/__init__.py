"""Sampling: shape the logits (`filters`), rule tokens out (`constraints`), draw one (`sampler`), or search (`beam`).

What temperature means for a token and for a whole text is in `boltzmann`.
"""

from lecture_lib.sampling.beam import Hypothesis, beam_search
from lecture_lib.sampling.boltzmann import heat_capacity, lookahead_probs, text_log_probs
from lecture_lib.sampling.constraints import constrain
from lecture_lib.sampling.filters import apply_temperature, min_p, repetition_penalty, top_k, top_p
from lecture_lib.sampling.sampler import SamplingParameters, draw, greedy, process_logits, sample

__all__ = [
    "Hypothesis",
    "SamplingParameters",
    "apply_temperature",
    "beam_search",
    "constrain",
    "draw",
    "greedy",
    "heat_capacity",
    "lookahead_probs",
    "min_p",
    "process_logits",
    "repetition_penalty",
    "sample",
    "text_log_probs",
    "top_k",
    "top_p",
]
