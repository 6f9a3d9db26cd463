"""Real checkpoints: Hugging Face folders, read (`load_pretrained`) and written (`save_pretrained`)."""

from lecture_lib.pretrained.checkpoint import load_pretrained, save_pretrained
from lecture_lib.pretrained.generation import GenerationSettings
from lecture_lib.pretrained.tokenizer import PretrainedTokenizer

__all__ = ["GenerationSettings", "PretrainedTokenizer", "load_pretrained", "save_pretrained"]
