"""Exercises of chapter 15, prompting, in the order of its notebook."""

from lecture_lib.exercises.prompting.descent import GRADIENT_STEP
from lecture_lib.exercises.prompting.extraction import EXTRACTION
from lecture_lib.exercises.prompting.guess import LARGEST_RATE
from lecture_lib.exercises.prompting.judge import NO_DESCENT
from lecture_lib.exercises.prompting.prompt import PROMPT
from lecture_lib.exercises.prompting.score import SCORE
from lecture_lib.exercises.prompting.vote import MENDED_VOTE

EXERCISES = (PROMPT, EXTRACTION, MENDED_VOTE, SCORE, GRADIENT_STEP, LARGEST_RATE, NO_DESCENT)
BY_HAND = {"steps_or_tokens": 3}
