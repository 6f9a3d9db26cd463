"""Learn merges: the training of byte-pair encoding."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise

import tokenizers
from tokenizers import models, trainers

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered
from lecture_lib.tokenization import learn_merges, pair_counts

Words = Mapping[tuple[int, ...], int]


def _library_merges(words: Words, n_merges: int, first_new_id: int = 256) -> list[tuple[int, int]]:
    """BpeTrainer of `tokenizers`; each id is written as one character, so ids are its ids too."""
    characters = [chr(0x4E00 + i) for i in range(first_new_id)]
    tokenizer = tokenizers.Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=first_new_id + n_merges, initial_alphabet=characters, show_progress=False
    )
    corpus = ("".join(characters[i] for i in word) for word, count in words.items() for _ in range(count))
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return [(model["vocab"][left], model["vocab"][right]) for left, right in model["merges"]]


def _drawn_words(draw: random.Random, alphabet: int, length: int, count: int, most: int) -> dict:
    lengths = [draw.randrange(1, length) for _ in range(count)]
    return {tuple(draw.randrange(alphabet) for _ in range(n)): draw.randrange(1, most) for n in lengths}


def _learn_cases(seed: int) -> list[Case]:
    draw = random.Random(seed)
    low, lower, widest = draw.randrange(3, 6), draw.randrange(1, 3), draw.randrange(6, 9)
    rare_often = {(1, 2, 1, 2, 1, 2): 1, (3, 4): 5, (5, 3, 4): 2, (0, 1): 2}
    ties = {(4, 5): 2, (2, 3): 2, (0, 1): 2, (1, 0): 2, (3, 2): 2}
    late = {(7, 6): 3, (1, 7): 3, (1, 2): 3, (0, 9): 3}
    first = 256 + draw.randrange(1, 50)
    return [
        Case(
            "low, lower, widest, 3 merges",
            ({(0, 1, 2): low, (0, 1, 2, 3, 4): lower, (2, 5, 6, 3, 7, 8): widest}, 3, 9),
        ),
        Case(
            "a pair three times in a rare word, another in common words", (rare_often, 3), {"first_new_id": 6}
        ),
        Case("five pairs equally often", (ties, 5, 6)),
        Case("pairs equally often, the later ones lower", (late, 3, 10)),
        Case("words that end where others begin", ({(0, 1): 3, (1, 2): 3, (2, 0): 3, (3, 3): 2}, 4, 4)),
        Case("a run: neighbours overlap", ({(5, 5, 5): 2, (1, 2): 3, (0, 3): 3}, 2, 6)),
        Case("pairs that occur once", ({(0, 1, 2): 1, (3, 2): 1}, 3, 4)),
        Case("more merges asked for than there are", ({(0, 1, 2): 2, (1,): 4}, 10, 3)),
        Case("words of one id only", ({(0,): 3, (2,): 1}, 4, 3)),
        Case("no words", ({}, 3)),
        Case("no merges", ({(0, 1): 2}, 0)),
        Case("first_new_id left out", ({(250, 251, 7): 9, (9, 250, 251, 7): draw.randrange(2, 6)}, 3)),
        Case("drawn words, 14 merges", (_drawn_words(draw, 7, 7, 25, 12), 14, 7)),
        Case("drawn words, ids from another number on", (_drawn_words(draw, 20, 6, 30, 4), 9, first)),
    ]


def _counts_at_start(words: Words, n_merges: int, first_new_id: int = 256) -> list[tuple[int, int]]:
    counts = pair_counts(words)
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[:n_merges]


def _one_long_word(words: Words, n_merges: int, first_new_id: int = 256) -> list[tuple[int, int]]:
    text = tuple(i for word, count in words.items() for _ in range(count) for i in word)
    return learn_merges({text: 1}, n_merges, first_new_id)


def _without_overlap(words: Words) -> dict[tuple[int, int], int]:
    counts: Counter = Counter()
    for word, frequency in words.items():
        taken = -1
        for i, pair in enumerate(pairwise(word)):
            if pair[0] == pair[1] and taken == i:
                continue
            taken = i + 1
            counts[pair] += frequency
    return dict(counts)


def _count_with(counts: Callable) -> Callable:
    """The training loop with another way to count."""
    mistaken = altered(learn_merges, ("pair_counts(words)", "count(words)"))
    mistaken.__globals__["count"] = counts
    return mistaken


BEST = "min(counts, key=lambda pair: (-counts[pair], pair))"
LEARN = Exercise(
    name="tokenization.learn_merges",
    points=4,
    difficulty=2,
    minutes=20,
    against="BpeTrainer of the tokenizers library",
    reference=_library_merges,
    cases=_learn_cases,
    kernels=("train_from_iterator", "train"),
    owned=(
        "lecture_lib.tokenization.learn_merges_incrementally",
        "lecture_lib.tokenization.BytePairTokenizer",
    ),
    mistakes=(
        Mistake(
            "a word counts once, however frequent it is. What does the number beside a word say?",
            _count_with(lambda words: pair_counts(dict.fromkeys(words, 1))),
        ),
        Mistake(
            "of equally frequent pairs the one met first wins. Which rule does the task give for ties?",
            altered(learn_merges, (BEST, "max(counts, key=counts.get)")),
        ),
        Mistake(
            "of equally frequent pairs the highest wins. Which way does the task order ties?",
            altered(learn_merges, (BEST, "max(counts, key=lambda pair: (counts[pair], pair))")),
        ),
        Mistake(
            "of equally frequent pairs the one that is met last wins. Which rule does the task give for ties?",
            altered(learn_merges, (BEST, "max(reversed(counts), key=counts.get)")),
        ),
        Mistake(
            "the pairs are counted once, before the first merge. Which pairs exist only after it?",
            _counts_at_start,
        ),
        Mistake(
            "pairs run across the ends of words. May the last id of a word pair with the first of the next?",
            _one_long_word,
        ),
        Mistake(
            "every merge gets the same new id. What is the id of the second merge?",
            altered(learn_merges, ("first_new_id + len(merges)", "first_new_id")),
        ),
        Mistake(
            "the new ids are counted from 256, whatever `first_new_id` says. Which argument tells where they begin?",
            altered(learn_merges, ("first_new_id + len(merges)", "256 + len(merges)")),
        ),
        Mistake(
            "the new ids begin one too late. How many merges are there when the first id is given?",
            altered(learn_merges, ("first_new_id + len(merges)", "first_new_id + len(merges) + 1")),
        ),
        Mistake(
            "the merges are found but never applied to the words. What do the words look like in the next round?",
            altered(learn_merges, ("tuple(merge(word, best, new_id)): n", "word: n")),
        ),
        Mistake(
            "pairs that occur only once are never merged. Does the task set a least frequency?",
            altered(
                learn_merges,
                (
                    "        merges.append",
                    "        if counts[best] < 2:\n            break\n        merges.append",
                ),
            ),
        ),
        Mistake(
            "overlapping neighbours are counted once: three equal ids in a row are two pairs. Which count do you take?",
            _count_with(_without_overlap),
        ),
        Mistake(
            "training breaks down when no pair is left. What should come back then?",
            altered(learn_merges, ("(counts := pair_counts(words))", "[counts := pair_counts(words)]")),
        ),
        Mistake(
            "one merge too many is learned. When does the loop stop?",
            altered(learn_merges, ("len(merges) < n_merges", "len(merges) <= n_merges")),
        ),
        Mistake(
            "the rarest pair is merged. Which end of the order is the most frequent?",
            altered(learn_merges, ("-counts[pair]", "counts[pair]")),
        ),
    ),
)
