"""The engine: batches that change at every step against fixed ones, stored prefixes, guesses from the prompt, waste.

    python benchmarks/serving.py --save

Same tokens are demanded of both sides. Fixed batches are ours, padded: eight requests start together and the next eight when the
longest of them has ended. Greedy; random weights, d = 256, 4 layers, a vocabulary of 2,000.
"""

import random
import statistics
import time

from harness import Benchmark, median_ratio  # before torch: it sets the number of threads

# isort: split
import torch

from lecture_lib.decoder import Decoder
from lecture_lib.kv_cache import generate
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving import Engine, PromptLookup, Request, speculate
from lecture_lib.transformer import ModelConfig

GREEDY = SamplingParameters(temperature=0)
SLOTS = 8


def model() -> Decoder:
    config = ModelConfig(vocab_size=2000, d_model=256, n_heads=8, n_layers=4, context_length=1024)
    return Decoder(config, torch.Generator().manual_seed(0)).eval()


def requests() -> list[Request]:
    """32 requests: new tokens with mean 47 and longest 160, as geometric lengths are."""
    rng = random.Random(5)
    lengths = [min(160, 1 + int(rng.expovariate(1 / 47))) for _ in range(31)] + [160]
    return [Request(tuple(rng.randrange(2000) for _ in range(16)), n, GREEDY) for n in lengths]


def continuous(decoder: Decoder, asked: list[Request]) -> list[list[int]]:
    engine = Engine(decoder, n_blocks=256, block_size=16, max_running=SLOTS, budget=256)
    numbers = [engine.add(each) for each in asked]
    given = engine.run()
    return [given[number][0] for number in numbers]


def fixed(decoder: Decoder, asked: list[Request]) -> list[list[int]]:
    given = []
    for start in range(0, len(asked), SLOTS):
        batch = asked[start : start + SLOTS]
        rows = generate(
            decoder, [list(each.prompt) for each in batch], max(each.max_new_tokens for each in batch), GREEDY
        )
        given += [row[16 : 16 + each.max_new_tokens].tolist() for row, each in zip(rows, batch, strict=True)]
    return given


def first_token(decoder: Decoder, share: bool) -> float:
    """Median seconds until the first token of a request whose first 512 tokens another one has read."""
    engine = Engine(decoder, n_blocks=128, block_size=16, budget=1024, share_prefixes=share)
    common, seconds = tuple(range(512)), []
    engine.add(Request(common, 1, GREEDY))
    engine.run()
    for i in range(6):
        start = time.process_time()
        engine.add(Request((*common, 600 + i), 1, GREEDY))
        engine.run()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def main() -> None:
    """All rows."""
    bench, decoder, asked = Benchmark("serving"), model(), requests()
    tokens = sum(each.max_new_tokens for each in asked)
    row = bench.measure(
        f"32 requests, 8 at a time, {tokens} new tokens",
        {"fixed batches": lambda: fixed(decoder, asked), "engine": lambda: continuous(decoder, asked)},
        tolerance=0,
        work=tokens,
        unit="tokens/s",
    )
    bench.goal(
        "engine / fixed batches, tokens a second",
        median_ratio(row["fixed batches"], row["engine"]),
        at_least=1.6,
    )
    shorter = first_token(decoder, False) / first_token(decoder, True)
    bench.goal("first token behind a stored prefix of 512: times sooner", shorter, at_least=5)
    said = [token for _ in range(6) for token in range(100, 130)]
    looped = {
        "plain": lambda: generate(decoder, said, 128, GREEDY).tolist(),
        "prompt lookup": lambda: speculate(decoder, PromptLookup(2000), said, 128, 8, GREEDY).ids,
    }
    row = bench.measure(
        "128 tokens of a text that repeats itself", looped, tolerance=0, work=128, unit="tokens/s"
    )
    bench.goal(
        "prompt lookup / plain, tokens a second",
        median_ratio(row["plain"], row["prompt lookup"]),
        at_least=1.5,
    )
    done = speculate(decoder, PromptLookup(2000), said, 128, 8, GREEDY)
    bench.note(
        f"prompt lookup: {done.looks} looks for 128 tokens, {done.kept} of {done.guessed} guesses kept"
    )
    engine = Engine(decoder, n_blocks=512, block_size=4, max_running=SLOTS)
    for each in asked:
        engine.add(each)
    engine.run()
    bench.goal(
        "share of the taken cache that holds nothing, blocks of 4",
        statistics.mean(engine.counters.waste),
        at_most=0.04,
    )
    bench.finish()


if __name__ == "__main__":
    main()
