"""Learn merges: the training of byte-pair encoding."""

import json
import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

from lecture_lib.checks.chance import until
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import altered
from lecture_lib.tokenization import learn_merges, pair_counts

Words = Mapping[tuple[int, ...], int]


def library_merges(words: Words, n_merges: int, first_new_id: int = 256) -> list[tuple[int, int]]:
    """BpeTrainer of `tokenizers`; each id is written as one character, so ids are its ids too."""
    import tokenizers

    characters = [chr(0x4E00 + i) for i in range(first_new_id)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=first_new_id + n_merges, initial_alphabet=characters, show_progress=False
    )
    corpus = ("".join(characters[i] for i in word) for word, count in words.items() for _ in range(count))
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return [(model["vocab"][left], model["vocab"][right]) for left, right in model["merges"]]


def drawn_words(draw: random.Random, alphabet: int, length: int, count: int, most: int) -> dict:
    """Draw words with their counts."""
    lengths = [draw.randrange(1, length) for _ in range(count)]
    return {tuple(draw.randrange(alphabet) for _ in range(n)): draw.randrange(1, most) for n in lengths}


def merges_again(words: Words, n_merges: int, first_new_id: int) -> bool:
    """Whether one merge uses what an earlier one has made, so that counting once at the start is not enough."""
    return any(max(pair) >= first_new_id for pair in learn_merges(words, n_merges, first_new_id))


def learn_cases(seed: int) -> list[Case]:
    """Ties in every order, runs, ends of words, counts above 1000, too many merges or none, drawn words."""
    draw = random.Random(seed)
    low, lower, widest = draw.randrange(3, 6), draw.randrange(1, 3), draw.randrange(6, 9)
    rare_often = {(1, 2, 1, 2, 1, 2): 1, (3, 4): 5, (5, 3, 4): 2, (0, 1): 2}
    ties = {(4, 5): 2, (2, 3): 2, (0, 1): 2, (1, 0): 2, (3, 2): 2}
    late = {(7, 6): 3, (1, 7): 3, (1, 2): 3, (0, 9): 3}
    first = 256 + draw.randrange(1, 50)
    often = {(0, 1, 2): 1000 + draw.randrange(300), (1, 2): 999, (2, 0): 1305 + draw.randrange(99), (0, 2): 3}
    words = until(lambda: drawn_words(draw, 7, 7, 25, 12), lambda words: merges_again(words, 14, 7))
    many = until(lambda: drawn_words(draw, 20, 6, 30, 4), lambda words: merges_again(words, 9, first))
    twice = {(0, 1, 2, 0, 1): 3, (2, 0, 1): 2, (3, 2): 4}
    lowest = {(0, 1, 2, 0, 1, 2, 3): low, (0, 1): lower}
    return [
        Case("two words, 2 merges", ({(1, 2, 3): 5, (1, 2): 1}, 2, 4)),
        Case(
            "low, lower, widest, 3 merges",
            ({(0, 1, 2): low, (0, 1, 2, 3, 4): lower, (2, 5, 6, 3, 7, 8): widest}, 3, 9),
        ),
        Case("a pair three times in a rare word, another in common words", (rare_often, 3), {"first_new_id": 6}),
        Case("a pair at two places of one word", (twice, 3, 4)),
        Case("a pair of new ids", (lowest, 4, 4)),
        Case("five pairs equally often", (ties, 5, 6)),
        Case("pairs equally often, the later ones lower", (late, 3, 10)),
        Case("words that end where others begin", ({(0, 1): 3, (1, 2): 3, (2, 0): 3, (3, 3): 2}, 4, 4)),
        Case("a run: neighbours overlap", ({(5, 5, 5): 2, (1, 2): 3, (0, 3): 3}, 2, 6)),
        Case("a run of five", ({(1, 1, 1, 1, 1): 2, (0, 2): 3}, 3, 3)),
        Case("pairs that occur once", ({(0, 1, 2): 1, (3, 2): 1}, 3, 4)),
        Case("counts above 1000", (often, 3, 3)),
        Case("more merges asked for than there are", ({(0, 1, 2): 2, (1,): 4}, 10, 3)),
        Case("words of one id only", ({(0,): 3, (2,): 1}, 4, 3)),
        Case("no words", ({}, 3)),
        Case("no merges", ({(0, 1): 2}, 0)),
        Case("first_new_id left out", ({(250, 251, 7): 9, (9, 250, 251, 7): draw.randrange(2, 6)}, 3)),
        Case("drawn words, 14 merges", (words, 14, 7)),
        Case("drawn words, ids from another number on", (many, 9, first)),
    ]  # fmt: skip


def counts_at_start(words: Words, n_merges: int, first_new_id: int = 256) -> list[tuple[int, int]]:
    """Count the pairs once."""
    counts = pair_counts(words)
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[:n_merges]


def one_long_word(words: Words, n_merges: int, first_new_id: int = 256) -> list[tuple[int, int]]:
    """Join all words."""
    text = tuple(i for word, count in words.items() for _ in range(count) for i in word)
    return learn_merges({text: 1}, n_merges, first_new_id)


def without_overlap(words: Words) -> dict[tuple[int, int], int]:
    """Count three equal ids in a row as one pair."""
    counts: Counter = Counter()
    for word, frequency in words.items():
        taken = -1
        for i, pair in enumerate(pairwise(word)):
            if pair[0] == pair[1] and taken == i:
                continue
            taken = i + 1
            counts[pair] += frequency
    return dict(counts)


def counts_overlaps_once(words: Words, n_merges: int, first_new_id: int = 256) -> list[tuple[int, int]]:
    """Train with that count."""
    mistaken = altered(learn_merges, ("pair_counts(words)", "count(words)"))
    mistaken.__globals__["count"] = without_overlap
    return mistaken(words, n_merges, first_new_id)


LEARN = Exercise(
    name="tokenization.learn_merges",
    points=4, difficulty=2, minutes=20,
    against="BpeTrainer of the tokenizers library",
    reference=library_merges,
    cases=learn_cases,
    entry="merge",
    owned=("lecture_lib.tokenization.learn_merges_incrementally", "lecture_lib.tokenization.BytePairTokenizer"),
    mistakes=(
        ("a word counts once, however frequent it is. What does the number beside a word say?",
         "pair_counts(words)", "pair_counts(dict.fromkeys(words, 1))"),
        ("of equally frequent pairs the one met first wins. Which rule does the task give for ties?",
         "min(counts, key=lambda pair: (-counts[pair], pair))", "max(counts, key=counts.get)"),
        ("of equally frequent pairs the highest wins. Which way does the task order ties?",
         "min(counts, key=lambda pair: (-counts[pair], pair))",
         "max(counts, key=lambda pair: (counts[pair], pair))"),
        ("of equally frequent pairs the one that is met last wins. Which rule does the task give for ties?",
         "min(counts, key=lambda pair: (-counts[pair], pair))", "max(reversed(counts), key=counts.get)"),
        ("the pairs are counted once, before the first merge. Which pairs exist only after it?",
         counts_at_start),
        ("pairs run across the ends of words. May the last id of a word pair with the first of the next?",
         one_long_word),
        ("every merge gets the same new id. What is the id of the second merge?",
         " + len(merges)", ""),
        ("the new ids are counted from 256, whatever `first_new_id` says. Which argument tells where they begin?",
         "first_new_id ", "256 "),
        ("the new ids begin one too late. How many merges are there when the first id is given?",
         "+ len(merges)", "+ len(merges) + 1"),
        ("the merges are found but never applied to the words. What do the words look like in the next round?",
         "tuple(merge(word, best, new_id))", "word"),
        ("pairs that occur only once are never merged. Does the task set a least frequency?",
         "{tuple(merge(word, best, new_id)): n for word, n in words.items()}",
         "{tuple(merge(word, best, new_id)): n for word, n in words.items()}\n        if counts[best] < 2:\n            break"),
        ("overlapping neighbours are counted once: three equal ids in a row are two pairs. Which count do you "
         "take?",
         counts_overlaps_once),
        ("training breaks down when no pair is left. What should come back then?",
         "(counts := pair_counts(words))", "[(counts := pair_counts(words))]"),
        ("one merge too many is learned. When does the loop stop?",
         " n_merges ", "= n_merges "),
        ("the rarest pair is merged. Which end of the order is the most frequent?",
         "-counts", "counts"),
    ),
)  # fmt: skip
