"""The capstone: what a reader wrote in all chapters becomes one program that runs a real model.

`collect` finds the answers in the notebooks, runs them and checks each again; the library's functions stand in for those that
are missing. `assemble` makes a decoder of them, which reads the weights of GPT-2's and Llama's kind.
"""

from lecture_lib.capstone.answers import Answer, Answers
from lecture_lib.capstone.collect import collect
from lecture_lib.capstone.program import Parts, Program, assemble

__all__ = ["Answer", "Answers", "Parts", "Program", "assemble", "collect"]
