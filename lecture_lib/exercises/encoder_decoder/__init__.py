"""Exercises of chapter 8, the encoder-decoder, in the order of its notebook."""

from lecture_lib.exercises.encoder_decoder.forcing import MENDED_LOSS
from lecture_lib.exercises.encoder_decoder.guess import ROOM
from lecture_lib.exercises.encoder_decoder.head import SWAPPING_HEAD
from lecture_lib.exercises.encoder_decoder.layer import DECODER_LAYER
from lecture_lib.exercises.encoder_decoder.pairs import ALIGNMENT
from lecture_lib.exercises.encoder_decoder.score import BLEU
from lecture_lib.exercises.encoder_decoder.writing import WRITER

EXERCISES = (DECODER_LAYER, MENDED_LOSS, WRITER, BLEU, SWAPPING_HEAD, ALIGNMENT, ROOM)
BY_HAND = {"exposure": 3}
