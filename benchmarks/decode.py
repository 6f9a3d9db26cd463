"""What cached decoding costs, beside transformers, the linear layers alone, and reading the weights.

Greedy, random weights, a prompt of one token, so that decoding alone is timed. transformers runs the
same weights (written by save_pretrained, read by from_pretrained) and must give the same tokens. `laid out`
is the same model after `lay_out_for_decoding`. Linear layers: every weight once a token, nothing between.
Sum: the same bytes, added up.
With a GPU: a Llama of 1.2 billion parameters in bfloat16, 1024 tokens of context, batch 1.
"""

import copy
import logging
import tempfile
from collections.abc import Callable
from functools import partial

from harness import Benchmark, Timing, median_ratio  # before torch: it sets the number of threads

# isort: split
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib import kv_cache
from lecture_lib.decoder import Decoder
from lecture_lib.kv_cache import Runner, lay_out_for_decoding
from lecture_lib.pretrained import save_pretrained
from lecture_lib.quantization import quantize_model
from lecture_lib.roofline import measure_bandwidth, measure_matmul, step_cost
from lecture_lib.sampling import SamplingParameters
from lecture_lib.transformer import ModelConfig

GREEDY = SamplingParameters(temperature=0)
GPT = {"norm_first": True, "activation": "gelu_tanh", "positions": "learned"}
LLAMA = {"norm_first": True, "norm": "rms", "activation": "swiglu", "positions": "rotary"}
LLAMA |= {"qkv_bias": False, "out_bias": False, "mlp_bias": False}
SMALL = ModelConfig(vocab_size=2048, d_model=128, n_heads=4, n_layers=4, context_length=256, **GPT)
GPT2_SMALL = ModelConfig(vocab_size=50257, d_model=768, n_heads=12, n_layers=12, context_length=1024, **GPT)
LLAMA_SMALL = ModelConfig(
    vocab_size=50257, d_model=768, n_heads=12, n_layers=12, context_length=1024, d_ff=2048, **LLAMA
)
LLAMA_1B = ModelConfig(
    vocab_size=128_256,
    d_model=2048,
    n_heads=32,
    n_kv_heads=8,
    n_layers=16,
    context_length=2048,
    d_ff=8192,
    **LLAMA,
)


def make(config: ModelConfig) -> Decoder:
    return Decoder(config, generator=torch.Generator().manual_seed(0)).eval()


def in_transformers(model: Decoder) -> nn.Module:
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, None, folder)
        return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()


def theirs(model: nn.Module, ids: Tensor, n: int, cache: str | None = None) -> Callable[[], Tensor]:
    options = {"max_new_tokens": n, "min_new_tokens": n, "do_sample": False, "pad_token_id": 0}
    mask = torch.ones_like(ids)
    return lambda: model.generate(ids, attention_mask=mask, cache_implementation=cache, **options)


def ours(model: Decoder | Runner, ids: Tensor, n: int) -> Callable[[], Tensor]:
    return lambda: kv_cache.generate(model, ids, n, GREEDY)


def products(model: Decoder, n: int, rows: int = 1) -> Callable[[], None]:
    """The linear layers alone, n times."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    widths, dtype = {layer.in_features for layer in layers}, layers[0].weight.dtype
    x = {width: torch.randn(rows, width, dtype=dtype) for width in widths}

    @torch.inference_mode()
    def call() -> None:
        for _ in range(n):
            for layer in layers:
                F.linear(x[layer.in_features], layer.weight, layer.bias)

    return call


def reading(model: Decoder, n: int) -> Callable[[], None]:
    """The sum of the same weights, n times."""
    weights = [m.weight.detach() for m in model.modules() if isinstance(m, nn.Linear)]
    return lambda: [weight.sum() for _ in range(n) for weight in weights]


def prompt(config: ModelConfig, batch: int = 1, n: int = 1) -> Tensor:
    return torch.randint(config.vocab_size, (batch, n), generator=torch.Generator().manual_seed(1))


def arithmetic(bench: Benchmark, own: Timing, linear: Timing, n: int) -> None:
    """What a missed goal is made of."""
    each, alone = 1e3 * own.process / n, 1e3 * linear.process / n
    bench.note(f"{each:.3f} ms a step: {alone:.3f} in the linear layers, {each - alone:.3f} for all else")


def small(bench: Benchmark) -> None:
    n, model, ids = 128, make(SMALL), prompt(SMALL)
    other, laid_out = in_transformers(model), lay_out_for_decoding(copy.deepcopy(model))
    sides = {
        "transformers": theirs(other, ids, n),
        "transformers, static cache": theirs(other, ids, n, "static"),
        "own": ours(model, ids, n),
        "own, laid out": ours(laid_out, ids, n),
    }
    same = list(sides)
    sides |= {"linear layers, laid out": products(laid_out, n), "sum": reading(model, n)}
    time = bench.measure(
        f"d=128, 4 layers, float32, batch 1, 1 + {n} tokens", sides, same=same, work=n, unit="tokens/s"
    )
    ratio = median_ratio(time["transformers"], time["own, laid out"])
    if not bench.goal("d=128, 4 layers: own / transformers, tokens/s", ratio, at_least=5.0):
        arithmetic(bench, time["own, laid out"], time["linear layers, laid out"], n)


def gpt2_small(bench: Benchmark) -> None:
    n, model, ids = 33, make(GPT2_SMALL), prompt(GPT2_SMALL)
    other, laid_out = in_transformers(model), lay_out_for_decoding(copy.deepcopy(model))
    half = copy.deepcopy(model).bfloat16()
    sides = {
        "transformers": theirs(other, ids, n),
        "transformers, static cache": theirs(other, ids, n, "static"),
        "own": ours(model, ids, n),
        "own, laid out": ours(laid_out, ids, n),
    }
    same = list(sides)
    sides |= {
        "linear layers": products(model, n),
        "linear layers, laid out": products(laid_out, n),
        "sum": reading(model, n),
        "transformers, bfloat16": theirs(copy.deepcopy(other).bfloat16(), ids, n),
        "own, bfloat16": ours(half, ids, n),
    }
    for name, bits, group in (("own, INT8", 8, None), ("own, INT4", 4, 32)):
        quantized = quantize_model(copy.deepcopy(half), bits, group, include_tied=True, progress=False)
        sides[name] = ours(quantized, ids, n)
    time = bench.measure(
        f"GPT-2-small, batch 1, 1 + {n} tokens", sides, same=same, work=n, unit="tokens/s", rounds=5
    )
    own, ratio = time["own, laid out"], lambda a, b: median_ratio(time[a], time[b])
    goals = [
        bench.goal(
            "GPT-2-small: own / transformers, tokens/s", ratio("transformers", "own, laid out"), at_least=1.5
        ),
        bench.goal("GPT-2-small: share of the read bandwidth", ratio("sum", "own, laid out"), at_least=0.55),
        bench.goal(
            "GPT-2-small: INT8 / bfloat16, tokens/s", ratio("own, bfloat16", "own, INT8"), at_least=1.9
        ),
        bench.goal("GPT-2-small: INT4 / float32, tokens/s", ratio("own", "own, INT4"), at_least=5.0),
    ]
    if not all(goals):
        arithmetic(bench, own, time["linear layers, laid out"], n)
    bench.note(
        f"against the same layout INT4 / float32 is {ratio('own, laid out', 'own, INT4'):.2f}; "
        f"GPT-2 of transformers stores "
        f"its layers (in, out) too, all but the head: linear layers, (out, in) / laid out "
        f"{ratio('linear layers', 'linear layers, laid out'):.2f}"
    )
    cost, bandwidth, rate = step_cost(laid_out, 20), measure_bandwidth(), measure_matmul()
    predicted, measured = cost.tokens_per_second(bandwidth, rate), n / own.wall
    bench.note(
        f"roofline, wall time: {cost.bytes / 1e6:.0f} MB and {cost.flops / 1e6:.0f} MFLOP a token, "
        f"{bandwidth / 1e9:.1f} GB/s, "
        f"{rate / 1e9:.0f} GFLOP/s: at best {predicted:.1f} tokens/s, measured {measured:.1f}"
    )


def llama_small(bench: Benchmark) -> None:
    n, model, ids = 17, make(LLAMA_SMALL), prompt(LLAMA_SMALL)
    other, laid_out = in_transformers(model), lay_out_for_decoding(model)
    sides = {"transformers": theirs(other, ids, n), "own, laid out": ours(laid_out, ids, n)}
    row = f"Llama of that size, float32, batch 1, 1 + {n} tokens"
    time = bench.measure(row, sides, work=n, unit="tokens/s", rounds=5)
    ratio = median_ratio(time["transformers"], time["own, laid out"])
    bench.note(f"own / transformers {ratio:.2f} where it stores (out, in)")


def batches(bench: Benchmark) -> None:
    n, model = 9, make(GPT2_SMALL).bfloat16()
    sides = {f"batch {b}": ours(model, prompt(GPT2_SMALL, b), n) for b in (1, 8, 32)}
    sides["linear layers, batch 32"] = products(model, n, 32)
    time = bench.measure(f"GPT-2-small, bfloat16, 1 + {n} tokens a row", sides, tolerance=None, rounds=5)
    for b in (1, 8, 32):
        bench.note(f"batch {b}: {b * n / time[f'batch {b}'].process:.1f} tokens/s")
    ratio = 32 * median_ratio(time["batch 1"], time["batch 32"])
    if not bench.goal("GPT-2-small, bfloat16: batch 32 / batch 1, tokens/s", ratio, at_least=16.0):
        bench.note(f"a step of 32 rows takes {32 / ratio:.2f} times that of one row; its goal is 2")
        arithmetic(bench, time["batch 32"], time["linear layers, batch 32"], n)


def on_a_gpu(bench: Benchmark) -> None:
    n, context, ids = 128, 1024, prompt(LLAMA_1B, 1, 1024).cuda()
    with torch.device("cuda"):
        model = Decoder(LLAMA_1B).eval().bfloat16()
    other = in_transformers(model).cuda()
    runners = {
        "eager": Runner(model, max_length=context + n, fixed=False),
        "graph": Runner(model, max_length=context + n),
    }
    for name, bits, group in (("INT8, graph", 8, None), ("INT4, graph", 4, 32)):
        quantized = quantize_model(copy.deepcopy(model), bits, group, include_tied=True, progress=False)
        runners[name] = Runner(quantized, max_length=context + n)
    gpu = {"clock": "wall", "synchronize": torch.cuda.synchronize, "tolerance": None}
    sides = {"transformers": theirs(other, ids, n)}
    sides |= {f"own, {name}": ours(runner, ids, n) for name, runner in runners.items()}
    whole = bench.measure(
        f"Llama of 1.2 B, bfloat16, {context} + {n} tokens", sides, work=n, unit="tokens/s", **gpu
    )
    block = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    sides = {"copy of 1 GiB": lambda: block.clone()}
    sides |= {f"own, {name}": partial(steps_alone, runner, context, n) for name, runner in runners.items()}
    time = bench.measure(f"the same, {n} steps without the prompt", sides, work=n, unit="tokens/s", **gpu)
    bandwidth, cost = 2 * block.nbytes / time["copy of 1 GiB"].wall, step_cost(model, context + n // 2)
    share = cost.utilisation(n / time["own, graph"].wall, bandwidth)
    ratio = partial(median_ratio, clock="wall")
    bench.note(f"{cost.bytes / 1e9:.2f} GB a token, copy {bandwidth / 1e9:.0f} GB/s")
    bench.goal("GPU: share of the copy bandwidth", share, at_least=0.8)
    bench.goal(
        "GPU: own graph / transformers eager", ratio(whole["transformers"], whole["own, graph"]), at_least=4.0
    )
    bench.goal("GPU: INT8 / bfloat16", ratio(time["own, graph"], time["own, INT8, graph"]), at_least=1.5)
    bench.goal("GPU: INT4 / bfloat16", ratio(time["own, graph"], time["own, INT4, graph"]), at_least=1.9)


def steps_alone(runner: Runner, context: int, n: int) -> Tensor:
    """n steps from a context of whatever numbers: the time does not depend on them."""
    runner.cache.lengths = [context]
    runner.cache.clock.fill_(context)
    tokens = torch.zeros(1, dtype=torch.long, device=runner.cache.device)
    for _ in range(n):
        tokens = runner.step(tokens).argmax(-1)
    return tokens


def main() -> None:
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    bench = Benchmark("decode")
    for rows in (small, gpt2_small, llama_small, batches):
        rows(bench)
    if torch.cuda.is_available():
        on_a_gpu(bench)
    bench.finish()


if __name__ == "__main__":
    main()
