"""Generation: one token after another (`loop`), as text (`text`), and from a source text (`source`)."""

from lecture_lib.generation.loop import generate, stream
from lecture_lib.generation.reread import Reader, Reread
from lecture_lib.generation.source import Conditioned, translate
from lecture_lib.generation.text import Decodes, Stop, decode_stream

__all__ = [
    "Conditioned",
    "Decodes",
    "Reader",
    "Reread",
    "Stop",
    "decode_stream",
    "generate",
    "stream",
    "translate",
]
