"""Tokens per word: practice without points."""

import random
import re
from collections.abc import Callable
from functools import cache

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.corpora.samples import SAMPLES
from lecture_lib.tokenization import BytePairTokenizer, WordPieceTokenizer


@cache
def tokenizer(kind: str, vocab_size: int) -> object:
    """A tokenizer that a case names."""
    texts = list(SAMPLES.values())
    return (BytePairTokenizer if kind == "byte pairs" else WordPieceTokenizer).train(texts, vocab_size)


def with_tokenizer(answer: Callable, kind: str, vocab_size: int, text: str) -> object:
    """Hand over the tokenizer that a case names."""
    return answer(tokenizer(kind, vocab_size), text)


def counted(tokenizer: object, text: str) -> float:
    """Tokens by the file of the tokenizer read by `tokenizers`; words by a regular expression."""
    import json

    import tokenizers

    library = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.description))
    words = sum(1 for _ in re.finditer(r"\S+", text))
    if not words:
        raise ValueError("no word")
    return len(library.encode(text, add_special_tokens=False).ids) / words


def fertility_cases(seed: int) -> list[Case]:
    """White space of every kind, words that come back, several languages, unknown words, two kinds of tokenizer, no words."""
    draw = random.Random(seed)
    english, other = SAMPLES["english"], SAMPLES[draw.choice(["german", "french", "russian", "hindi"])]
    start = draw.randrange(20)
    words = english.split()[start : start + draw.randrange(9, 14)]
    number = draw.randrange(10, 99)
    byte_pairs, pieces = ("byte pairs", 500), ("word pieces", 700)
    return [
        Case("one word", ("byte pairs", 256, draw.choice(["river", "bridge", "boats"]))),
        Case("a sentence", (*byte_pairs, " ".join(words))),
        Case("several spaces and lines", (*byte_pairs, "  ".join(words[:4]) + "\n\n\t" + words[4] + " \n")),
        Case("a word that comes back", (*byte_pairs, "the boat, the boat and the other boat")),
        Case("signs and numbers", (*byte_pairs, f"don't pay {number}.50 (or so) -- e.g. {number}%!")),
        Case("capital letters", (*byte_pairs, english.upper())),
        Case("another language", (*byte_pairs, other)),
        Case("a space that is not the common one", (*byte_pairs, "a\u00a0river\u3000fell")),
        Case("a tokenizer that puts [CLS] and [SEP] around", (*pieces, " ".join(words[::-1]))),
        Case("the same for one word", (*pieces, words[0])),
        Case("words that become [UNK]", (*pieces, f"the {'☃' * draw.randrange(1, 4)} river ☂ {words[1]}")),
        Case("no word: ValueError", (*byte_pairs, " \n")),
        Case("nothing: ValueError", (*pieces, "")),
    ]


FERTILITY = Exercise(
    name="tokenization.fertility",
    points=0, difficulty=1, minutes=8,
    against="the tokenizers library, and a count of words by a regular expression",
    reference=counted,
    cases=fertility_cases,
    use=with_tokenizer,
    mistakes=(
        ("the tokens around the text are counted, too. Which argument of `encode` leaves them out?",
         ", add_special_tokens=False", ""),
        ("the ratio is upside down: words per token. Which of the two numbers is larger?",
         "(tokenizer.encode(text, add_special_tokens=False)) / len(words)",
         "(words) / len(tokenizer.encode(text, add_special_tokens=False))"),
        ("words are what lies between single spaces. How many words are between two spaces, or in two lines?",
         "(words)", "(text.split(' '))"),
        ("every word is encoded by itself, without the space before it. Is ` river` the same token as `river`?",
         "len(tokenizer.encode(text, add_special_tokens=False))",
         "sum((len(tokenizer.encode(word, add_special_tokens=False)) for word in words))"),
        ("a token that comes back is counted once. Is it the tokens or the kinds of tokens that cost?",
         "tokenizer.encode(text, add_special_tokens=False)",
         "set(tokenizer.encode(text, add_special_tokens=False))"),
        ("a word that comes back is counted once. Which words does the text hold?",
         "(words)", "(set(words))"),
        ("tokens are divided by characters. What is one word?",
         "(words)", "(text)"),
        ("the result is rounded down. Which kind of division is asked for?",
         "len(tokenizer.encode(text, add_special_tokens=False)) / len(words)",
         "float(len(tokenizer.encode(text, add_special_tokens=False)) // len(words))"),
        ("punctuation marks end words: don't is two of them. What separates words here?",
         "text.split()", "__import__('re').findall('\\\\w+', text)"),
        ("a text without words raises a ZeroDivisionError. Which error does the task ask for?",
         "not words", "False"),
    ),
)  # fmt: skip
