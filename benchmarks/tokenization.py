"""Byte-pair training against `tokenizers`, encoding against `tiktoken`: real text, the same merges and ids.

    python benchmarks/tokenization.py --save

Text: 5 MB of English from the Python installation (documentation and docstrings, lecture_lib.corpora). Training
is compared at 8,000 and 30,000 tokens; both sides read the same texts and must end with the same merges.
Encoding: warm, every side has seen the text before, as in a training run with several epochs; then new text,
four fifths seen and one fifth not.
"""

import json
import time

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


def main() -> None:
    bench = Benchmark("tokenization")
    texts = read_corpus()
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    bench.note(f"{megabytes:.2f} MB of English in {len(texts)} texts")
    for vocab_size in (8_000, 30_000):
        timings = bench.measure(
            f"training, {vocab_size} tokens",
            {
                "tokenizers": lambda size=vocab_size: train_library(texts, size),
                "own": lambda size=vocab_size: BytePairTokenizer.train(texts, size).model["merges"],
            },
            work=megabytes,
            unit="MB/s",
            warmup=0,
        )
        ratio = median_ratio(timings["own"], timings["tokenizers"])
        bench.note(phases(texts, vocab_size))
        bench.goal(f"training time, own / tokenizers, {vocab_size} tokens", ratio, at_most=1.0)

    seen, new = texts[: len(texts) * 4 // 5], texts[len(texts) * 4 // 5 :]
    own = BytePairTokenizer.train(seen, 30_000)
    ranks = {unspell(token): i for token, i in own.vocabulary.items()}
    other = tiktoken.Encoding("own", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
    size = sum(len(text.encode()) for text in seen) / 1e6
    timings = bench.measure(
        "encoding, warm",
        {
            "tiktoken": lambda: [other.encode_ordinary(text) for text in seen],
            "own": lambda: [own.encode(text) for text in seen],
        },
        work=size,
        unit="MB/s",
    )
    bench.goal(
        "encoding speed, warm, own / tiktoken",
        median_ratio(timings["tiktoken"], timings["own"]),
        at_least=1.0,
    )

    def first_visit() -> list[list[int]]:
        """Encode the new texts with a tokenizer that has seen only the others."""
        fresh.clear(), spaced.clear()
        fresh.update(warm), spaced.update(warm_spaced)
        return [own.encode(text) for text in new]

    fresh, warm = own._chunks, dict(own._chunks)
    spaced, warm_spaced = own._after_space, dict(own._after_space)
    bench.measure(
        "encoding, new text (own: the words of the seen text are known)",
        {"tiktoken": lambda: [other.encode_ordinary(text) for text in new], "own": first_visit},
        work=megabytes - size,
        unit="MB/s",
    )
    bench.finish()


if __name__ == "__main__":
    main()
