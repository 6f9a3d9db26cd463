"""A small vLLM: many requests at once on one paged cache, each with exactly the tokens that it would get alone.

``blocks`` gives memory in pieces and knows which piece holds what; ``paged`` lets a model read through block tables;
``request`` is what is asked and how far it is; ``scheduler`` says who computes what in a step; ``engine`` does it;
``speculative`` guesses several tokens of one text before the model looks at them.

Source: Kwon et al. (2023); Yu et al. (2022) for batches that change at every step.
"""

from lecture_lib.serving.blocks import BlockPool, OutOfBlocks, prefix_hashes
from lecture_lib.serving.engine import Engine, QueueFull
from lecture_lib.serving.guide import Guide
from lecture_lib.serving.paged import PagedCache
from lecture_lib.serving.request import Candidate, Output, Request, Text
from lecture_lib.serving.scheduler import Scheduler, Work
from lecture_lib.serving.speculative import (
    Draft,
    Guesses,
    PromptLookup,
    Speculation,
    expected_tokens,
    residual,
    settle,
    speculate,
)

__all__ = [
    "BlockPool",
    "Candidate",
    "Draft",
    "Engine",
    "Guesses",
    "Guide",
    "OutOfBlocks",
    "Output",
    "PagedCache",
    "PromptLookup",
    "QueueFull",
    "Request",
    "Scheduler",
    "Speculation",
    "Text",
    "Work",
    "expected_tokens",
    "prefix_hashes",
    "residual",
    "settle",
    "speculate",
]
