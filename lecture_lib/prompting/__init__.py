"""Prompting: a task is put into words, the answer is read out of words, and answers are put to the vote and scored.

In the order in which it is read: ``prompts`` writes zero-, one- and few-shot prompts with or without steps, ``puzzles`` has
the lecture's own, ``answers`` finds the number that was meant, ``votes`` lets samples agree, ``scores`` says how sure a share is,
``descent`` has linear attention whose weights make it a step of gradient descent.
"""

from lecture_lib.prompting.answers import extract_answer
from lecture_lib.prompting.descent import (
    descent_predictions,
    gradient_step_weights,
    largest_stable_rate,
    linear_attention,
    linear_attention_predictions,
)
from lecture_lib.prompting.prompts import STEP_BY_STEP, build_messages, build_prompt
from lecture_lib.prompting.puzzles import TRANSLATIONS, Puzzle, lecture_puzzles, puzzle_variants
from lecture_lib.prompting.scores import Score, exact_match, wilson_interval
from lecture_lib.prompting.votes import majority_vote

__all__ = [
    "STEP_BY_STEP",
    "TRANSLATIONS",
    "Puzzle",
    "Score",
    "build_messages",
    "build_prompt",
    "descent_predictions",
    "exact_match",
    "extract_answer",
    "gradient_step_weights",
    "largest_stable_rate",
    "lecture_puzzles",
    "linear_attention",
    "linear_attention_predictions",
    "majority_vote",
    "puzzle_variants",
    "wilson_interval",
]
