"""The encoder-decoder: the model (`model`), where it looks in the source (`maps`), how good a translation is (`scores`)."""

from lecture_lib.encoder_decoder.maps import alignment, cross_attention_weights, forced_translation
from lecture_lib.encoder_decoder.model import EncoderDecoder
from lecture_lib.encoder_decoder.scores import bleu

__all__ = ["EncoderDecoder", "alignment", "bleu", "cross_attention_weights", "forced_translation"]
