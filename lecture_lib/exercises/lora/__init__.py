"""Exercises of chapter 9, fine-tuning and LoRA, in the order of its notebook."""

from lecture_lib.exercises.lora.floor import FLOOR
from lecture_lib.exercises.lora.guess import BESIDE_THE_WEIGHTS
from lecture_lib.exercises.lora.heads import HEAD
from lecture_lib.exercises.lora.judge import BELOW_THE_FLOOR
from lecture_lib.exercises.lora.layer import LAYER
from lecture_lib.exercises.lora.memory import MENDED_MEMORY
from lecture_lib.exercises.lora.names import ADAPT
from lecture_lib.exercises.lora.ranks import RANK

EXERCISES = (HEAD, LAYER, ADAPT, BESIDE_THE_WEIGHTS, MENDED_MEMORY, RANK, FLOOR, BELOW_THE_FLOOR)
BY_HAND = {"which_rank": 3}
