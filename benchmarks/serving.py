"""The engine: batches that change at every step against fixed ones and transformers' own, stored prefixes, guesses, waste, a server.

    python benchmarks/serving.py --save

Same tokens are demanded of both sides. Fixed batches are ours, padded: eight requests start together and the next eight when the
longest of them has ended. transformers batches continuously by `init_continuous_batching`, which is what its `generate_batch`
runs, with a length for each request and the same weights, budget and number of texts; its set-up is not timed. The server
answers on loopback to clients in a process of their own, whose work is theirs. Greedy; random weights, d = 256, 4
layers, a vocabulary of 2,000.
"""

import asyncio
import multiprocessing
import random
import socket
import statistics
import tempfile
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from harness import Benchmark, median_ratio  # before torch: it sets the number of threads

# isort: split
import httpx
import torch
import transformers
import uvicorn

from lecture_lib import zoo
from lecture_lib.decoder import Decoder
from lecture_lib.kv_cache import generate
from lecture_lib.pretrained import save_pretrained
from lecture_lib.sampling import SamplingParameters
from lecture_lib.serving import Engine, PromptLookup, Request, speculate
from lecture_lib.serving.server import create_app
from lecture_lib.transformer import ModelConfig

GREEDY = SamplingParameters(temperature=0)
SLOTS = 8
CLIENTS = (1, 8, 32)
LLAMA = {"norm_first": True, "norm": "rms", "activation": "swiglu", "positions": "rotary", "tied_head": False}
LLAMA |= {"qkv_bias": False, "out_bias": False, "mlp_bias": False}


def model(**family: object) -> Decoder:
    sizes = dict(vocab_size=2000, d_model=256, n_heads=8, n_layers=4, context_length=1024)
    config = ModelConfig(**sizes, **family)
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


@contextmanager
def beside(decoder: Decoder):
    """Continuous batching of transformers with the same weights, ready to run."""
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(decoder, None, folder)
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    chosen = transformers.GenerationConfig(
        do_sample=False, eos_token_id=-1, pad_token_id=0, max_new_tokens=160
    )
    sizes = transformers.ContinuousBatchingConfig(
        num_blocks=32, max_batch_tokens=256, max_requests_per_batch=SLOTS
    )
    with theirs.continuous_batching_context_manager(chosen, continuous_batching_config=sizes) as manager:
        yield manager


def batched(manager: object, asked: list[Request]) -> list[list[int]]:
    names = [manager.add_request(list(each.prompt), max_new_tokens=each.max_new_tokens) for each in asked]
    done = {}
    while len(done) < len(asked):
        result = manager.get_result(timeout=60)
        if result.is_finished():
            done[result.request_id] = result.generated_tokens
    return [done[name] for name in names]


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


@contextmanager
def listening(decoder: Decoder, running: int):
    """A server in a thread; the address of its completions."""
    engine = Engine(
        decoder, n_blocks=512, block_size=16, max_running=running, budget=256, share_prefixes=False
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(create_app(engine, zoo.load("gpt")[1], "model"), port=port, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}/v1/completions"
    server.should_exit = True
    thread.join(20)


def ask_all(url: str, asked: list[Request], clients: int) -> tuple[int, list[float]]:
    """So many clients, each asking again once it has its answer: number of tokens, and the seconds of each answer."""
    waiting, seconds, tokens = list(asked), [], []

    async def client(session: httpx.AsyncClient) -> None:
        while waiting:
            each = waiting.pop()
            body = {"model": "model", "prompt": list(each.prompt), "max_tokens": each.max_new_tokens}
            start = time.perf_counter()
            told = await session.post(url, json=body | {"temperature": 0})
            seconds.append(time.perf_counter() - start)
            tokens.append(told.json()["usage"]["completion_tokens"])

    async def everybody() -> None:
        async with httpx.AsyncClient(
            timeout=600, verify=False
        ) as session:  # plain http: no certificates to read
            await asyncio.gather(*[client(session) for _ in range(clients)])

    asyncio.run(everybody())
    return sum(tokens), seconds


def served(bench: Benchmark, decoder: Decoder, asked: list[Request], outside: Executor) -> None:
    """The server's tokens a second against the engine's, with as many texts at once as there are clients."""
    everything = asked
    for clients in CLIENTS:
        asked = everything[: max(8, clients)]
        tokens = sum(each.max_new_tokens for each in asked)
        waits: list[float] = []

        def through(url: str, asked: list = asked, clients: int = clients, waits: list = waits) -> int:
            n, seconds = outside.submit(ask_all, url, asked, clients).result()
            waits.extend(seconds)
            return n

        def directly(asked: list = asked, clients: int = clients) -> int:
            engine = Engine(
                decoder, n_blocks=512, block_size=16, max_running=clients, budget=256, share_prefixes=False
            )
            for each in asked:
                engine.add(each)
            return sum(len(each[0]) for each in engine.run().values())

        with listening(decoder, clients) as url:
            row = bench.measure(
                f"the server, {clients} clients, {len(asked)} requests",
                {"engine": directly, "server": lambda url=url, through=through: through(url)},
                tolerance=0,
                work=tokens,
                unit="tokens/s",
            )
        ratio, waits = median_ratio(row["engine"], row["server"]), sorted(waits)
        middle, late = (waits[int(share * (len(waits) - 1))] for share in (0.5, 0.95))
        bench.note(
            f"{clients} clients: an answer takes {middle:.2f} s (median), {late:.2f} s (95 %), of wall time"
        )
        if clients == 32:
            bench.goal("server / engine, tokens a second, 32 clients", ratio, at_least=0.9)


def main() -> None:
    """All rows."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
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
    llama = model(**LLAMA)
    with beside(llama) as manager:
        row = bench.measure(
            f"continuous batching, 32 requests, 8 at a time, {tokens} new tokens",
            {"transformers": lambda: batched(manager, asked), "engine": lambda: continuous(llama, asked)},
            tolerance=0,
            work=tokens,
            unit="tokens/s",
        )
    bench.goal(
        "engine / transformers' continuous batching, tokens a second",
        median_ratio(row["transformers"], row["engine"]),
        at_least=1.0,
    )
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as outside:
        served(bench, decoder, asked, outside)
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
