"""What quantization costs and gives: GPT-2-small's linear layers alone, one token and 32, and the error by method.

Speed: every weight of the decoder once (the tied head included), no attention, no cache; `decode.py` times the
whole loop. Quality: one layer of 768 to 3072 features on inputs of 64 correlated directions with six loud channels,
three seeds; trained models are measured in chapter 12.
"""

from harness import Benchmark, Timing, median_ratio

# isort: split
import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib.decoder import Decoder
from lecture_lib.quantization import QuantizedLinear, quantize_model, stored_bytes
from lecture_lib.transformer import ModelConfig

KERNEL = "INT4 kernel alone, groups of 32"
GPT2_SMALL = ModelConfig(
    vocab_size=50257, d_model=768, n_heads=12, n_layers=12, context_length=1024, norm_first=True
)


def linear_layers(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.Linear | QuantizedLinear)]


def all_layers(layers: list[Callable], inputs: list[Tensor], passes: int) -> Tensor:
    """Every layer on its input, several times; the last 64 features of each, so that the sides can be compared."""
    for _ in range(passes):
        outputs = [layer(x) for layer, x in zip(layers, inputs, strict=True)]
    return torch.cat([y[:, -64:] for y in outputs]).float()


def sides() -> dict[str, tuple[list[nn.Module], torch.dtype]]:
    torch.manual_seed(0)
    model = Decoder(GPT2_SMALL).eval()
    for layer in linear_layers(model):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5)  # outputs of unit variance
    half = copy.deepcopy(model).bfloat16()
    quantized = {
        name: quantize_model(copy.deepcopy(half), *grid, include_tied=True, progress=False)
        for name, grid in {
            "INT8": (8,),
            "INT4, groups of 32": (4, 32),
            "INT4, groups of 128": (4, 128),
        }.items()
    }
    models = {"float32": model, "bfloat16": half} | quantized
    return {name: (linear_layers(m), m.embedding.positions.weight.dtype) for name, m in models.items()}


def kernel_calls(models: dict[str, tuple[list[nn.Module], torch.dtype]]) -> list[Callable]:
    """The INT4 products without the layer around them: what its checks, its bias and Python cost."""
    layers = models["INT4, groups of 32"][0]
    tiled = [(layer.packed, layer.tile_grid) for layer in layers]  # after the first call of the layers
    return [(lambda x, t=t, g=g: torch._weight_int4pack_mm_for_cpu(x, t, 32, g)) for t, g in tiled]


def speed(
    bench: Benchmark, models: dict[str, tuple[list[nn.Module], torch.dtype]], n_tokens: int
) -> dict[str, Timing]:
    passes = 8 if n_tokens == 1 else 1  # so that no side takes less than 10 ms
    widths = [layer.in_features for layer in models["float32"][0]]
    x = {
        width: torch.randn(n_tokens, width, generator=torch.Generator().manual_seed(1))
        for width in set(widths)
    }
    inputs = {dtype: [x[width].to(dtype) for width in widths] for dtype in (torch.float32, torch.bfloat16)}
    calls = {
        name: (lambda layers=layers, x=inputs[dtype]: all_layers(layers, x, passes))
        for name, (layers, dtype) in models.items()
    }
    if n_tokens == 1:
        transposed = [layer.weight.detach().T.contiguous() for layer in models["float32"][0]]
        products = [(lambda x, W=W: x @ W) for W in transposed]
        calls[KERNEL] = lambda: all_layers(kernel_calls(models), inputs[torch.bfloat16], passes)
        calls["float32, x @ W (in, out)"] = lambda: all_layers(products, inputs[torch.float32], passes)
    same = [name for name in calls if "INT4" not in name and "@" not in name]
    with torch.inference_mode():
        return bench.measure(
            f"all linear layers of GPT-2-small, {n_tokens} token{'s' * (n_tokens > 1)}",
            calls,
            tolerance=0.12,  # outputs of unit variance; bfloat16 and INT8 are each off by up to a tenth
            same=same,
            work=passes * n_tokens,
            unit="tokens/s",
        )


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


def main() -> None:
    bench = Benchmark("quantization")
    models = sides()
    n_weights = sum(layer.in_features * layer.out_features for layer in models["float32"][0])
    bench.note(
        f"{n_weights / 1e6:.1f} M weights in {len(models['float32'][0])} linear layers, the head among them"
    )
    for name, (layers, _) in models.items():
        size = sum(stored_bytes(layer) for layer in layers)
        bench.note(f"{name:<20} {size / 1e6:7.1f} MB, {8 * size / n_weights:5.2f} bits a weight")
    for name in list(models)[2:]:
        bench.note(
            f"{name}: packed kernel against rebuilt weights, relative error {kernel_error(models[name][0]):.1e}"
        )
    one, many = speed(bench, models, 1), speed(bench, models, 32)
    bench.goal("bfloat16 / INT8 time, 1 token", median_ratio(one["bfloat16"], one["INT8"]), at_least=1.9)
    for group in (32, 128):
        name = f"INT4, groups of {group}"
        bench.goal(f"float32 / {name} time, 1 token", median_ratio(one["float32"], one[name]), at_least=5.0)
    bench.note(
        f"float32 / INT4 kernel alone {median_ratio(one['float32'], one[KERNEL]):.2f}; the layers around it take "
        f"{1e6 * (one['INT4, groups of 32'].process - one[KERNEL].process) / 8 / 73:.0f} us each"
    )
    for name in list(models)[2:]:
        ratio = median_ratio(many["bfloat16"], many[name])
        bench.note(f"32 tokens: bfloat16 / {name} time {ratio:.2f} (below 1: bfloat16 is faster)")
    quality(bench)
    bench.finish()


if __name__ == "__main__":
    main()
