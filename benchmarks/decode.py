"""What cached decoding costs, beside transformers, the linear layers alone, and reading the weights.

Greedy, random weights, a prompt of one token, so that decoding alone is timed. transformers runs the
same weights (written by save_pretrained, read by from_pretrained) and must give the same tokens. `laid out`
is the same model after `lay_out_for_decoding`; a recorded step is the same forward, replayed. As it comes:
`generate(model)`, not for the first time. Linear layers: every weight once a token, nothing between. Sum: the same
bytes, added up. Two libraries made for speed join in where they are installed (pip install ctranslate2
onnxruntime-genai onnx-ir).
With a GPU: a Llama of 1.2 billion parameters in bfloat16, 1024 tokens of context, batch 1.
"""

import copy
import dataclasses
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial

from harness import Benchmark, Timing, median_ratio  # before torch: it sets the number of threads

# isort: split
import torch
import transformers
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from torch.nn import functional as F

from lecture_lib import kv_cache
from lecture_lib.decoder import Decoder
from lecture_lib.kv_cache import Cached, lay_out_for_decoding
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


def ours(model: Decoder | Cached, ids: Tensor, n: int) -> Callable[[], Tensor]:
    return lambda: kv_cache.generate(model, ids, n, GREEDY)


def eager(model: Decoder, ids: Tensor, n: int) -> Callable[[], Tensor]:
    return ours(Cached(model, max_length=ids.shape[1] + n, recorded=False), ids, n)


def recorded(model: Decoder, ids: Tensor, n: int) -> Callable[[], Tensor]:
    return ours(Cached(model, max_length=ids.shape[1] + n, recorded=True), ids, n)


def in_folder(model: Decoder, folder: str) -> None:
    """Write a model as the converters of other libraries read it, each token a word."""
    words = {f"t{i}": i for i in range(model.config.vocab_size)}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="t0")),
        unk_token="t0",
        bos_token="t0",
        eos_token="t0",
    )
    save_pretrained(model, None, folder)
    tokenizer.save_pretrained(folder)


def by_ctranslate2(model: Decoder, ids: Tensor, n: int) -> dict[str, Callable[[], Tensor]]:
    """CTranslate2 with the same weights, if it is there."""
    try:
        import ctranslate2
        from ctranslate2.converters import TransformersConverter
    except ImportError:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        in_folder(model, folder)
        TransformersConverter(folder).convert(f"{folder}/converted")
        generator = ctranslate2.Generator(
            f"{folder}/converted", device="cpu", inter_threads=1, intra_threads=1
        )
    start = [[f"t{i}" for i in row] for row in ids.tolist()]
    options = {
        "max_length": n,
        "min_length": n,
        "sampling_topk": 1,
        "end_token": [],
        "include_prompt_in_result": True,
    }

    def call() -> Tensor:
        return torch.tensor([text.sequences_ids[0] for text in generator.generate_batch(start, **options)])

    return {"CTranslate2": call}


def by_onnxruntime(model: Decoder, ids: Tensor, n: int, precision: str) -> dict[str, Callable[[], Tensor]]:
    """onnxruntime-genai with the same weights, if it is there; `precision` "fp32" or "int4"."""
    try:
        import onnxruntime_genai
    except ImportError:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        in_folder(model, folder)
        order = [
            sys.executable,
            "-m",
            "onnxruntime_genai.models.builder",
            "-i",
            folder,
            "-o",
            f"{folder}/onnx",
        ]
        order += ["-p", precision, "-e", "cpu", "-c", f"{folder}/cache"]
        subprocess.run(order, cwd=folder, check=True, capture_output=True)  # elsewhere its modules are hidden
        config = onnxruntime_genai.Config(f"{folder}/onnx")
        options = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        theirs = onnxruntime_genai.Model(config)
    length = ids.shape[1] + n

    def call() -> Tensor:
        parameters = onnxruntime_genai.GeneratorParams(theirs)
        parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = onnxruntime_genai.Generator(theirs, parameters)
        generator.append_tokens(ids.tolist()[0])
        while not generator.is_done():
            generator.generate_next_token()
        return torch.tensor([list(generator.get_sequence(0))])

    return {f"onnxruntime-genai, {precision}": call}


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
        "own, eager": eager(laid_out, ids, n),
        "own, recorded": recorded(laid_out, ids, n),
        "own, as it comes": ours(model, ids, n),
        **by_ctranslate2(model, ids, n),
    }
    same = list(sides)
    sides |= {"linear layers, laid out": products(laid_out, n), "sum": reading(model, n)}
    time = bench.measure(
        f"d=128, 4 layers, float32, batch 1, 1 + {n} tokens", sides, same=same, work=n, unit="tokens/s"
    )
    for name, least in (("own, eager", 5.0), ("own, recorded", 6.0)):
        ratio = median_ratio(time["transformers"], time[name])
        if not bench.goal(f"d=128, 4 layers: {name} / transformers, tokens/s", ratio, at_least=least):
            arithmetic(bench, time[name], time["linear layers, laid out"], n)
    alone = median_ratio(time["transformers"], time["linear layers, laid out"])
    bench.note(f"the linear layers alone would be {alone:.2f} times as fast as transformers")


def gpt2_small(bench: Benchmark) -> None:
    n, model, ids = 33, make(GPT2_SMALL), prompt(GPT2_SMALL)
    other, laid_out = in_transformers(model), lay_out_for_decoding(copy.deepcopy(model))
    sides = {
        "transformers": theirs(other, ids, n),
        "transformers, static cache": theirs(other, ids, n, "static"),
        "own, eager": eager(laid_out, ids, n),
        "own, recorded": recorded(laid_out, ids, n),
        "own, as it comes": ours(model, ids, n),
        **by_ctranslate2(model, ids, n),
    }
    same = list(sides)
    sides |= {
        "linear layers": products(model, n),
        "linear layers, laid out": products(laid_out, n),
        "sum": reading(model, n),
    }
    row = f"GPT-2-small, float32, batch 1, 1 + {n} tokens"
    time = bench.measure(row, sides, same=same, work=n, unit="tokens/s", rounds=5)
    own, ratio = time["own, recorded"], lambda a, b: median_ratio(time[a], time[b])
    goals = [
        bench.goal(
            "GPT-2-small: own / transformers, tokens/s", ratio("transformers", "own, recorded"), at_least=1.3
        ),
        bench.goal("GPT-2-small: share of the read bandwidth", ratio("sum", "own, recorded"), at_least=0.62),
    ]
    if not all(goals):
        arithmetic(bench, own, time["linear layers, laid out"], n)
    bench.note(
        "GPT-2 of transformers stores its layers (in, out) too, all but the head: linear layers, "
        f"(out, in) / laid out {ratio('linear layers', 'linear layers, laid out'):.2f}"
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
    other, laid_out = in_transformers(model), lay_out_for_decoding(copy.deepcopy(model))
    int4 = quantize_model(copy.deepcopy(model).bfloat16(), 4, 32, include_tied=True, progress=False)
    sides = {
        "transformers": theirs(other, ids, n),
        "own, recorded": recorded(laid_out, ids, n),
        **by_onnxruntime(model, ids, n, "fp32"),
    }
    same = list(sides)
    sides |= {"own, INT4": recorded(int4, ids, n), **by_onnxruntime(model, ids, n, "int4")}
    row = f"Llama of that size, float32, batch 1, 1 + {n} tokens"
    time = bench.measure(row, sides, same=same, work=n, unit="tokens/s", rounds=5)
    ratio = median_ratio(time["transformers"], time["own, recorded"])
    bench.goal("Llama of that size: own / transformers, tokens/s", ratio, at_least=1.4)


def forms(bench: Benchmark) -> None:
    """Weights in other forms, each against what it must beat: no flattering divisor."""
    n, model, ids = 17, make(GPT2_SMALL), prompt(GPT2_SMALL)
    half = copy.deepcopy(model).bfloat16()
    packed, laid_out = lay_out_for_decoding(copy.deepcopy(half)), lay_out_for_decoding(copy.deepcopy(model))
    int8 = quantize_model(copy.deepcopy(half), 8, include_tied=True, progress=False, activations=8)
    int4 = quantize_model(copy.deepcopy(half), 4, 32, include_tied=True, progress=False)
    sides = {
        "float32, laid out": recorded(laid_out, ids, n),
        "bfloat16": recorded(half, ids, n),
        "bfloat16, packed": recorded(packed, ids, n),
        "INT8 weights and activations": recorded(int8, ids, n),
        "INT4 weights": recorded(int4, ids, n),
        "bfloat16, packed, batch 32": recorded(packed, prompt(GPT2_SMALL, 32), n),
        "INT8, batch 32": recorded(int8, prompt(GPT2_SMALL, 32), n),
    }
    row = f"GPT-2-small in other forms, 1 + {n} tokens"
    time = bench.measure(row, sides, tolerance=None, work=n, unit="tokens/s a row", rounds=5)
    ratio = lambda a, b: median_ratio(time[a], time[b])  # noqa: E731
    bench.goal("bfloat16 packed / plain", ratio("bfloat16", "bfloat16, packed"), at_least=1.45)
    bench.goal(
        "INT8 weights and activations / packed bfloat16",
        ratio("bfloat16, packed", "INT8 weights and activations"),
        at_least=1.7,
    )
    bench.goal("INT4 / laid-out float32", ratio("float32, laid out", "INT4 weights"), at_least=4.0)
    best = max(32 * ratio("bfloat16", f"{name}, batch 32") for name in ("bfloat16, packed", "INT8"))
    bench.goal("batch 32, packed or INT8 / batch 1, plain bfloat16, tokens/s", best, at_least=20.0)


def prefill(bench: Benchmark) -> None:
    """Reading a prompt: no token is written."""
    config = dataclasses.replace(GPT2_SMALL, n_layers=4, d_ff=None, vocab_size=2048, context_length=4096)
    model = make(config)
    other, laid_out = in_transformers(model), lay_out_for_decoding(copy.deepcopy(model))
    for n in (512, 2048, 4096):
        ids = prompt(config, 1, n)
        rows, mask = ids.tolist(), torch.ones_like(ids)

        @torch.inference_mode()
        def read_theirs(ids: Tensor = ids, mask: Tensor = mask) -> Tensor:
            return other(ids, attention_mask=mask, use_cache=True, logits_to_keep=1).logits[:, -1]

        sides = {"transformers": read_theirs, "own": lambda rows=rows: Cached(laid_out).read(rows)}
        time = bench.measure(
            f"prompt of {n} tokens, d=768, 4 layers", sides, tolerance=1e-3, work=n, unit="tokens/s", rounds=5
        )
        bench.goal(
            f"prompt of {n}: own / transformers, time",
            median_ratio(time["own"], time["transformers"]),
            at_most=0.9,
        )


def on_a_gpu(bench: Benchmark) -> None:
    n, context, ids = 128, 1024, prompt(LLAMA_1B, 1, 1024).cuda()
    with torch.device("cuda"):
        model = Decoder(LLAMA_1B).eval().bfloat16()
    other = in_transformers(model).cuda()
    readers = {
        "eager": Cached(model, max_length=context + n, recorded=False),
        "graph": Cached(model, max_length=context + n),
    }
    for name, bits, group in (("INT8, graph", 8, None), ("INT4, graph", 4, 32)):
        quantized = quantize_model(copy.deepcopy(model), bits, group, include_tied=True, progress=False)
        readers[name] = Cached(quantized, max_length=context + n)
    gpu = {"clock": "wall", "synchronize": torch.cuda.synchronize, "tolerance": None}
    sides = {"transformers": theirs(other, ids, n)}
    sides |= {f"own, {name}": ours(reader, ids, n) for name, reader in readers.items()}
    whole = bench.measure(
        f"Llama of 1.2 B, bfloat16, {context} + {n} tokens", sides, work=n, unit="tokens/s", **gpu
    )
    block = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    sides = {"copy of 1 GiB": lambda: block.clone()}
    sides |= {f"own, {name}": partial(steps_alone, reader, context, n) for name, reader in readers.items()}
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


def steps_alone(reader: Cached, context: int, n: int) -> list[int]:
    """n steps from a context of whatever numbers: the time does not depend on them."""
    row = [0] * context
    if len(reader.texts) != 1:
        reader.read([row])
    reader.texts, reader.cache.lengths = [list(row)], [context]
    for _ in range(n):
        row.append(0)
        row[-1] = int(reader.read([row]).argmax(-1))
    return row


def main() -> None:
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    bench = Benchmark("decode")
    for rows in (small, gpt2_small, llama_small, forms, prefill):
        rows(bench)
    if torch.cuda.is_available():
        on_a_gpu(bench)
    bench.finish()


if __name__ == "__main__":
    main()
