"""What quantization and packing cost and give: GPT-2-small's linear layers alone and in the whole loop, by method.

Each side is divided by what a user would run without it: bfloat16 by `lay_out_for_decoding` by the same model as it
is, INT8 (weights alone, and weights and activations) by that packed bfloat16, INT4 by the laid-out float32.
Linear layers alone: every weight of the decoder once (the tied head included), no attention, no cache. Decoding:
`kv_cache.generate`, greedy, from one token. Quality: one layer of 768 to 3072 features on inputs of 64 correlated
directions with six loud channels, three seeds; trained models are measured in chapter 12.
"""

from harness import Benchmark, Timing, median_ratio

# isort: split
import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib import kv_cache
from lecture_lib.decoder import Decoder
from lecture_lib.kv_cache import Cached, lay_out_for_decoding
from lecture_lib.quantization import QuantizedLinear, quantize_model, stored_bytes
from lecture_lib.quantization.kernels import _tiled as tiled
from lecture_lib.sampling import SamplingParameters
from lecture_lib.transformer import ModelConfig

KERNEL = "INT4 kernel alone, groups of 32"
GREEDY = SamplingParameters(temperature=0)
GPT2_SMALL = ModelConfig(
    vocab_size=50257, d_model=768, n_heads=12, n_layers=12, context_length=1024, norm_first=True
)
Sides = dict[str, nn.Module]


def linear_layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.Linear | QuantizedLinear)]


def all_layers(layers: list[Callable], inputs: list[Tensor], passes: int) -> Tensor:
    """Every layer on its input, several times; the last 64 features of each, so that the sides can be compared."""
    for _ in range(passes):
        outputs = [layer(x) for layer, x in zip(layers, inputs, strict=True)]
    return torch.cat([y[:, -64:] for y in outputs]).float()


def sides() -> Sides:
    torch.manual_seed(0)
    model = Decoder(GPT2_SMALL).eval()
    for layer in linear_layers(model):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)  # outputs of unit variance
    half = copy.deepcopy(model).bfloat16()
    options = {"include_tied": True, "progress": False}
    quantized = {
        "INT8": quantize_model(copy.deepcopy(half), 8, **options),
        "INT8, activations too": quantize_model(copy.deepcopy(half), 8, activations=8, **options),
        "INT4, groups of 32": quantize_model(copy.deepcopy(half), 4, 32, **options),
        "INT4, groups of 128": quantize_model(copy.deepcopy(half), 4, 128, **options),
    }
    return {
        "float32": model,
        "float32, laid out": lay_out_for_decoding(copy.deepcopy(model)),
        "bfloat16": half,
        "bfloat16, packed": lay_out_for_decoding(copy.deepcopy(half)),
    } | {name: lay_out_for_decoding(each) for name, each in quantized.items()}


def kernel_calls(model: nn.Module) -> list[Callable]:
    """The INT4 products without the layer around them: what its checks, its bias and Python cost."""
    ready = [tiled([m.packed, m.scale, m.zero_point], 1, 1, 32) for m in linear_layers(model)]
    return [(lambda x, t=t, g=g: torch._weight_int4pack_mm_for_cpu(x, t, 32, g)) for t, g, _ in ready]


def speed(bench: Benchmark, models: Sides, n_tokens: int) -> dict[str, Timing]:
    """Every linear layer once, without attention and cache."""
    passes = 8 if n_tokens == 1 else 1  # so that no side takes less than 10 ms
    widths = [layer.in_features for layer in linear_layers(models["float32"])]
    x = {
        width: torch.randn(n_tokens, width, generator=torch.Generator().manual_seed(1))
        for width in set(widths)
    }
    inputs = {dtype: [x[width].to(dtype) for width in widths] for dtype in (torch.float32, torch.bfloat16)}

    def call(model: nn.Module) -> Callable[[], Tensor]:
        layers, dtype = linear_layers(model), model.embedding.positions.weight.dtype
        return lambda: all_layers(layers, inputs[dtype], passes)

    calls = {name: call(model) for name, model in models.items()}
    if n_tokens == 1:
        kernels = kernel_calls(models["INT4, groups of 32"])
        calls[KERNEL] = lambda: all_layers(kernels, inputs[torch.bfloat16], passes)
    same = [name for name in calls if "INT4" not in name]
    with torch.inference_mode():
        return bench.measure(
            f"all linear layers of GPT-2-small, {n_tokens} token{'s' * (n_tokens > 1)}",
            calls,
            tolerance=0.2,  # outputs of unit variance; bfloat16 and INT8 are each off by up to a tenth
            same=same,
            work=passes * n_tokens,
            unit="tokens/s",
        )


def decoding(bench: Benchmark, row: str, runs: dict[str, tuple[nn.Module, int]], n: int) -> dict[str, Timing]:
    """The whole loop for a batch, steps recorded; random weights, so that nothing is said of the text."""
    calls = {}
    for name, (model, batch) in runs.items():
        ids = torch.randint(50257, (batch, 1), generator=torch.Generator().manual_seed(1))
        reader = Cached(model, max_length=n + 1, recorded=True)
        calls[name] = lambda reader=reader, ids=ids: kv_cache.generate(reader, ids, n, GREEDY)
    return bench.measure(row, calls, tolerance=None)


def kernel_error(layers: list[nn.Module]) -> float:
    """Worst relative difference of a packed product from the product with the rebuilt weight in float64."""
    worst = 0.0
    for layer in layers[:8]:
        x = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(2)).bfloat16()
        expected = x.double() @ layer.weight.double().T
        got = layer(x).double() if layer.bias is None else (layer(x) - layer.bias).double()
        worst = max(worst, ((got - expected).norm() / expected.norm()).item())
    return worst


def calibration_inputs(seed: int, n_tokens: int = 4096, width: int = 768) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(64, width, generator=generator)
    X = torch.randn(n_tokens, 64, generator=generator) @ directions / 8
    X += 0.3 * torch.randn(n_tokens, width, generator=generator)
    X[:, torch.randperm(width, generator=generator)[:6]] *= 20
    return X


def quality(bench: Benchmark) -> None:
    bench.note(
        "relative error of the output, 768 -> 3072, unseen inputs, mean of 3 seeds; bytes of the layer"
    )
    bench.note(f"{'':<16}{'bytes':>10}{'rtn':>9}{'gptq':>9}{'awq':>9}")
    for bits, group_size in ((8, None), (4, None), (4, 128), (4, 32), (3, 32), (2, 32)):
        errors = {"rtn": 0.0, "gptq": 0.0, "awq": 0.0}
        for seed in range(3):
            torch.manual_seed(seed)
            layer, X = nn.Linear(768, 3072, bias=False), calibration_inputs(seed)
            seen, unseen = X[:3072], X[3072:]
            with torch.no_grad():
                for method in errors:
                    q = quantize_model(copy.deepcopy(layer), bits, group_size, method, seen, progress=False)
                    error = (q(unseen) - layer(unseen)).norm() / layer(unseen).norm()
                    errors[method] += error.item() / 3
        columns = "".join(f"{100 * error:>8.2f}%" for error in errors.values())
        grid = f"INT{bits}, {group_size or 'row'}"
        bench.note(f"{grid:<16}{stored_bytes(q.bfloat16()):>10}{columns}")


def goals(bench: Benchmark, what: str, time: dict[str, Timing]) -> None:
    def ratio(slow: str, fast: str) -> float:
        return median_ratio(time[slow], time[fast])

    bench.goal(f"{what}: bfloat16 / packed", ratio("bfloat16", "bfloat16, packed"), at_least=1.45)
    both = "INT8, activations too"
    bench.goal(f"{what}: packed bfloat16 / {both}", ratio("bfloat16, packed", both), at_least=1.7)
    bench.note(f"{what}: packed bfloat16 / INT8 (weights) {ratio('bfloat16, packed', 'INT8'):.2f}")
    bench.note(f"{what}: bfloat16 / {both} {ratio('bfloat16', both):.2f}")
    four = "INT4, groups of 32"
    bench.goal(f"{what}: laid-out float32 / {four}", ratio("float32, laid out", four), at_least=4.0)


def main() -> None:
    bench = Benchmark("quantization")
    models = sides()
    layers = linear_layers(models["float32"])
    n_weights = sum(layer.in_features * layer.out_features for layer in layers)
    bench.note(f"{n_weights / 1e6:.1f} M weights in {len(layers)} linear layers, the head among them")
    for name, model in models.items():
        size = sum(stored_bytes(layer) for layer in linear_layers(model))
        bench.note(f"{name:<22} {size / 1e6:7.1f} MB, {8 * size / n_weights:5.2f} bits a weight")
    for name in ("INT8", "INT4, groups of 32", "INT4, groups of 128"):
        error = kernel_error(linear_layers(models[name]))
        bench.note(f"{name}: packed kernel against rebuilt weights, relative error {error:.1e}")
    one, many = speed(bench, models, 1), speed(bench, models, 32)
    goals(bench, "linear layers alone", one)
    bench.note(
        f"float32, laid out / INT4 kernel alone {median_ratio(one['float32, laid out'], one[KERNEL]):.2f}"
    )
    for name in list(models)[3:]:
        ratio = median_ratio(many["bfloat16"], many[name])
        bench.note(f"32 tokens: bfloat16 / {name} time {ratio:.2f} (below 1: bfloat16 is faster)")
    runs = {name: (model, 1) for name, model in models.items()}
    goals(bench, "decoding", decoding(bench, "GPT-2-small, batch 1, 1 + 33 tokens", runs, 33))
    runs = {"bfloat16, batch 1": (models["bfloat16"], 1)}
    runs |= {name: (models[name], 32) for name in ("bfloat16", "bfloat16, packed", "INT8, activations too")}
    time = decoding(bench, "GPT-2-small, batch 32, 1 + 9 tokens", runs, 9)
    for name in list(runs)[1:]:
        rate = 32 * median_ratio(time["bfloat16, batch 1"], time[name])
        bench.note(f"batch 32, {name}: {rate:.1f} times the tokens/s of bfloat16 at batch 1")
    bench.goal("batch 32, INT8 weights and activations / bfloat16 at batch 1, tokens/s", rate, at_least=20)
    quality(bench)
    bench.finish()


if __name__ == "__main__":
    main()
