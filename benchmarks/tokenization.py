"""Byte-pair training against `tokenizers`, encoding against `tiktoken`: real text, the same merges and ids.

    python benchmarks/tokenization.py --save

Text: 5 MB of English from the Python installation (documentation and docstrings, lecture_lib.corpora). Training
is compared at 8,000 and 30,000 tokens, on 0.6 MB of it, and on distinct random words; both sides read the same texts
and must end with the same merges. Encoding: warm, every side has seen the text before, as in a training run with
several epochs; new, four fifths seen and one fifth not; cold, nothing seen before by a tokenizer fresh from its file.
Then one word of a million letters against `tokenizers`.
"""

import json
import random
import string
import time
from copy import copy

import tiktoken
import tokenizers
from harness import Benchmark, median_ratio  # first: it sets the thread counts
from tokenizers import models, pre_tokenizers, trainers

from lecture_lib.corpora.english import english_paragraphs
from lecture_lib.tokenization import GPT2_PATTERN, BytePairTokenizer, unspell
from lecture_lib.tokenization.chunks import count_words
from lecture_lib.tokenization.descriptions import BYTE_LEVEL
from lecture_lib.tokenization.pipeline import build_splitter

MEGABYTES = 5.0
PARAGRAPHS_PER_TEXT = 50


def read_corpus() -> list[str]:
    """Texts of some kilobytes, MEGABYTES in all: paragraphs joined by line breaks, as in a book."""
    paragraphs = english_paragraphs(min_bytes=int(MEGABYTES * 1e6))
    groups = range(0, len(paragraphs), PARAGRAPHS_PER_TEXT)
    return ["\n".join(paragraphs[start : start + PARAGRAPHS_PER_TEXT]) for start in groups]


def train_library(texts: list[str], vocab_size: int) -> list[list[str]]:
    """Train with `tokenizers`; returns its merges."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())["model"]["merges"]


def phases(texts: list[str], vocab_size: int) -> str:
    """Where our seconds of training go, as a sentence."""
    start = time.process_time()
    words = count_words(texts, build_splitter(BYTE_LEVEL))
    counted = time.process_time()
    BytePairTokenizer.train(texts, vocab_size)
    done = time.process_time()
    counting, training = counted - start, done - counted
    share = f"cutting {len(words)} different words out of the text takes {counting:.2f} s"
    return f"own, {vocab_size} tokens: {share} of {training:.2f} s, {vocab_size - 256} merges the rest"


def compare_training(bench: Benchmark, name: str, texts: list[str], vocab_size: int, at_most: float) -> None:
    """One row: the same training on both sides."""
    timings = bench.measure(
        f"training, {name}",
        {
            "tokenizers": lambda: train_library(texts, vocab_size),
            "own": lambda: BytePairTokenizer.train(texts, vocab_size).model["merges"],
        },
        work=megabytes_of(texts),
        unit="MB/s",
        warmup=0,
    )
    ratio = median_ratio(timings["own"], timings["tokenizers"])
    bench.note(phases(texts, vocab_size))
    bench.goal(f"training time, own / tokenizers, {name}", ratio, at_most=at_most)


def megabytes_of(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def random_words(count: int = 60_000) -> list[str]:
    """One text of words of eight random letters, nearly all different."""
    draw = random.Random(0)
    return [" ".join("".join(draw.choices(string.ascii_lowercase, k=8)) for _ in range(count))]


def memory_of(tokenizer: BytePairTokenizer) -> dict[str, dict]:
    """A copy of the pieces of text that a tokenizer remembers."""
    return {name: copy(getattr(tokenizer, name)) for name in ("_cache", "_after_space")}


def main() -> None:
    bench = Benchmark("tokenization")
    texts = read_corpus()
    bench.note(f"{megabytes_of(texts):.2f} MB of English in {len(texts)} texts")
    for vocab_size in (8_000, 30_000):
        compare_training(bench, f"{vocab_size} tokens", texts, vocab_size, at_most=1.0)
    compare_training(bench, "8000 tokens, 0.6 MB", texts[: len(texts) * 6 // 50], 8_000, at_most=1.2)
    compare_training(bench, "8000 tokens, distinct random words", random_words(), 8_000, at_most=1.2)

    seen, new = texts[: len(texts) * 4 // 5], texts[len(texts) * 4 // 5 :]
    own = BytePairTokenizer.train(seen, 30_000)
    ranks = {unspell(token): i for token, i in own.vocabulary.items()}
    other = tiktoken.Encoding("own", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
    own.encode("tables are built on first use")
    fresh = memory_of(own)
    for text in seen * 3:
        own.encode(text)
    warm = memory_of(own)

    def encode(texts: list[str], memories: list[dict[str, dict]]) -> list[list[int]]:
        vars(own).update(memories.pop())
        return [own.encode(text) for text in texts]

    for name, these, memory, goal in (
        ("warm", seen, warm, 1.0),
        ("new", new, warm, 0.5),
        ("cold", new, fresh, 0.33),
    ):
        memories = [{key: copy(cache) for key, cache in memory.items()} for _ in range(bench.rounds + 1)]
        timings = bench.measure(
            f"encoding, {name}",
            {
                "tiktoken": lambda these=these: [other.encode_ordinary(text) for text in these],
                "own": lambda these=these, memories=memories: encode(these, memories),
            },
            work=megabytes_of(these),
            unit="MB/s",
        )
        ratio = median_ratio(timings["tiktoken"], timings["own"])
        bench.goal(f"encoding speed, {name}, own / tiktoken", ratio, at_least=goal)

    word = "".join("".join(filter(str.isalpha, text)) for text in texts)[:1_000_000]
    library = tokenizers.Tokenizer.from_str(json.dumps(own.description))
    timings = bench.measure(
        "encoding, one word of a million letters",
        {"tokenizers": lambda: library.encode(word).ids, "own": lambda: own.encode(word)},
        work=1.0,
        unit="MB/s",
    )
    ratio = median_ratio(timings["own"], timings["tokenizers"])
    bench.goal("time for a word of a million letters, own / tokenizers", ratio, at_most=2.0)
    bench.finish()


if __name__ == "__main__":
    main()
