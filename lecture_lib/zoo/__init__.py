"""The zoo: small models that were trained for this course and come with it, as checkpoints in Hugging Face's format.

`model, tokenizer = load("course_base")` needs no network; `names()` lists them, `card(name)` says how a model was
trained, what was measured over the seeds, and what it cannot do. `python -m lecture_lib.zoo train NAME` trains one anew.

A model is added by a recipe, in a module of `recipes`::

    RECIPES = (
        Recipe(
            "beliefs",
            summary="a decoder that reads a hidden Markov source of three states",
            cannot="It knows one source, and texts of 11 tokens.",
            make=make,  # (seed, train) -> (model, tokenizer); calls train(model, batches, TrainingConfig(...)) once or more
            measure=measure,  # (model, tokenizer) -> {"loss": 0.7993, ...}, on data that was not trained on
            bands={"loss": (0.7985, 0.8000)},  # what every seed keeps, and the shipped file
        ),
    )

and `python -m lecture_lib.zoo train beliefs --seeds 0 1 2 --out lecture_lib/zoo/models` (which is `make zoo`) writes
its folder: weights in half precision, tokenizer, card.
"""

from lecture_lib.zoo.recipe import Recipe
from lecture_lib.zoo.store import card, folder, load, names

__all__ = ["Recipe", "card", "folder", "load", "names"]
