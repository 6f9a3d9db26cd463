"""Quantization, held against torch's own quantizers, least squares, enumeration and the theory of rounding."""

import copy
import dataclasses
import itertools
import json
import os
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from lecture_lib import quantization
from lecture_lib.quantization import (
    QuantizedLinear,
    Scheme,
    absmax_scale,
    affine_parameters,
    awq_scale,
    dequantize,
    float8_quantize,
    gptq_quantize,
    kernels,
    load_quantized,
    noise_power,
    output_error,
    pack,
    pack_int4,
    quantize,
    quantize_model,
    save_quantized,
    second_moments,
    signal_to_noise,
    stored_bytes,
    unpack,
    unpack_int4,
)
from lecture_lib.quantization.packing import packed_width

# Every way of writing a weight of 192 columns: (arguments of quantize_model, bound of the relative error).
WAYS = [
    ({"bits": 8}, 0.01),
    ({"bits": 8, "per_tensor": True}, 0.012),
    ({"bits": 8, "group_size": 48}, 0.01),
    ({"bits": 8, "symmetric": False}, 0.01),
    ({"bits": 8, "method": "fp8"}, 0.04),
    ({"bits": 5, "group_size": 24}, 0.06),
    ({"bits": 4}, 0.13),
    ({"bits": 4, "per_tensor": True}, 0.16),
    ({"bits": 4, "group_size": 96}, 0.12),
    ({"bits": 4, "group_size": 32}, 0.1),
    ({"bits": 4, "group_size": 64, "symmetric": True}, 0.13),
    ({"bits": 4, "group_size": 16}, 0.1),
    ({"bits": 3, "group_size": 32}, 0.25),
    ({"bits": 2, "group_size": 32}, 0.5),
]
# Worst relative error of the packed bfloat16 kernels against the plain product of the same codes.
KERNEL_TOLERANCE = 0.01


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def correlated_inputs(n_tokens, width, seed=0):
    return randn(n_tokens, 6, seed=seed) @ randn(6, width, seed=seed + 1) + 0.2 * randn(
        n_tokens, width, seed=seed + 2
    )


def relative(y, reference):
    return ((y.double() - reference.double()).norm() / reference.double().norm()).item()


class Toy(nn.Module):
    """Ids to logits through two blocks, the head tied to the embedding."""

    def __init__(self, vocab_size=50, width=64, tied=True):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 96), nn.GELU(), nn.Linear(96, width)) for _ in "ab"
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        if tied:
            self.head.weight = self.embedding.weight
        self.register_buffer("offset", torch.arange(3.0), persistent=False)

    def forward(self, ids):
        x = self.embedding(ids)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.norm(x))


IDS = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(1))


# ---- the lecture's worked example


def test_seven_billion_parameters_take_14_gb_and_models_two_or_four_times_larger_fit():
    assert stored_bytes(nn.Linear(70_000, 100_000, False, "meta", torch.bfloat16)) == 14e9
    layer = nn.Linear(512, 256, bias=False, dtype=torch.bfloat16)
    half = stored_bytes(layer)
    assert half == 2 * 512 * 256
    int8 = stored_bytes(quantize_model(copy.deepcopy(layer), 8, progress=False))
    int4 = stored_bytes(quantize_model(copy.deepcopy(layer), 4, 128, progress=False))
    assert int8 == 256 * (512 + 2)  # a byte a weight, a bfloat16 scale a row
    assert int4 == 256 * (512 // 2 + 4 * (2 + 1))  # half a byte a weight, scale and zero point a group
    assert half / int8 > 1.99
    assert half / int4 > 3.8


def test_two_codes_share_a_byte():
    q = torch.tensor([[1, 2, 15, 0], [7, 8, 9, 10]], dtype=torch.uint8)
    assert pack_int4(q).tolist() == [[1 + 16 * 2, 15], [7 + 16 * 8, 9 + 16 * 10]]


# ---- independent oracles: integers, floats, packing


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_affine_agrees_with_torch(bits):
    x = randn(5, 12, seed=3)
    x[1] = x[1].abs() + 1  # a row that does not reach 0
    scale, zero_point = affine_parameters(x, bits)
    lowest, highest = x.amin(1).clamp(max=0), x.amax(1).clamp(min=0)
    torch.testing.assert_close(scale[:, 0], (highest - lowest) / (2**bits - 1))
    expected = torch.fake_quantize_per_channel_affine(
        x, scale[:, 0], zero_point[:, 0].int(), axis=0, quant_min=0, quant_max=2**bits - 1
    )
    torch.testing.assert_close(dequantize(quantize(x, scale, zero_point, bits), scale, zero_point), expected)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_absmax_agrees_with_torch(bits):
    x, limit = randn(4, 6, 10), 2 ** (bits - 1) - 1
    scale = absmax_scale(x, bits, per_tensor=True)
    assert scale.shape == (1, 1, 1)
    expected = torch.fake_quantize_per_tensor_affine(x, scale.item(), 0, -limit, limit)
    torch.testing.assert_close(dequantize(quantize(x, scale, bits=bits), scale), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_as_exactly_as_single(dtype):
    x = randn(4, 300).to(dtype)
    scale, zero_point = affine_parameters(x)
    assert scale.dtype == dtype
    assert torch.equal(quantize(x, scale, zero_point), quantize(x.float(), scale.float(), zero_point))
    assert torch.equal(quantize(x, scale), quantize(x.double(), scale.double()))


def test_the_grid_of_a_group_is_that_of_the_group_alone():
    x = randn(3, 20, seed=5)
    scale, zero_point = affine_parameters(x, 4, group_size=5)
    q = quantize(x, scale, zero_point, 4)
    assert scale.shape == zero_point.shape == (3, 4)
    for i in range(4):
        part = x[:, 5 * i : 5 * i + 5]
        own = affine_parameters(part, 4)
        assert torch.equal(q[:, 5 * i : 5 * i + 5], quantize(part, *own, 4))


def test_float8_is_the_nearest_of_all_numbers_that_eight_bits_spell():
    bits = torch.arange(256)
    sign, exponent, mantissa = 1 - 2 * (bits >> 7), (bits >> 3) & 15, (bits & 7).double()
    numbers = torch.where(
        exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7).double()
    )
    numbers = (sign * numbers)[(bits & 127) != 127]  # 1111.111 is NaN
    assert numbers.max() == 448
    x = randn(4, 300, seed=7)
    q, scale = float8_quantize(x, group_size=100)
    steps = x.view(4, 3, 100).double() / scale.unsqueeze(-1).double()
    nearest = (steps.unsqueeze(-1) - numbers).abs().amin(-1)
    torch.testing.assert_close((steps - q.view(4, 3, 100).double()).abs(), nearest, rtol=0, atol=1e-4)
    assert relative(dequantize(q, scale), x) < 0.03


@pytest.mark.parametrize("bits", range(2, 9))
def test_packing_is_numpys_row_of_bits(bits):
    q = torch.randint(0, 2**bits, (3, 24), generator=torch.Generator().manual_seed(bits), dtype=torch.uint8)
    planes = (q.numpy()[..., None] >> np.arange(bits)) & 1
    assert np.array_equal(
        pack(q, bits).numpy(), np.packbits(planes.reshape(3, -1), axis=1, bitorder="little")
    )


# ---- independent oracles: the theory of rounding


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_rounding_noise_is_a_twelfth_of_the_squared_step(bits):
    x = 2 * torch.rand(40, 5000, generator=torch.Generator().manual_seed(0)) - 1
    scale, zero_point = affine_parameters(x, bits)
    x_hat = dequantize(quantize(x, scale, zero_point, bits), scale, zero_point)
    measured = (x - x_hat).square().mean()
    torch.testing.assert_close(measured, noise_power(scale), rtol=0.02, atol=0)


def test_each_bit_is_worth_six_decibels():
    x = 2 * torch.rand(40, 5000, generator=torch.Generator().manual_seed(0)) - 1
    ratios = []
    for bits in (5, 6, 7, 8):
        scale = absmax_scale(x, bits)
        ratios.append(signal_to_noise(x, dequantize(quantize(x, scale, bits=bits), scale)).item())
    steps = [20 * np.log10((2**b - 1) / (2 ** (b - 1) - 1)) for b in (5, 6, 7)]  # 6.3, 6.2, 6.1, ... 6.02 dB
    assert np.diff(ratios) == pytest.approx(steps, abs=0.05)
    assert ratios[-1] == pytest.approx(20 * np.log10(127 * 2), abs=0.1)  # signal 1/3, noise (1/127)²/12
    assert signal_to_noise(x, x) == torch.inf


# ---- independent oracles: GPTQ


def one_row_after_the_other_by_least_squares(W, H, scale, zero_point, bits, order):
    """Fix the columns in turn; after each, solve for the columns left that make the output error least."""
    codes = np.zeros(W.shape, dtype=int)
    zero_point = torch.zeros_like(scale) if zero_point is None else zero_point
    symmetric = zero_point.any().item() is False
    low, high = (-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1) if symmetric else (0, 2**bits - 1)
    size = W.shape[1] // scale.shape[1]
    L = np.linalg.cholesky(H.numpy())
    for n, target in enumerate(W.numpy()):
        w = target.copy()
        for step, j in enumerate(order):
            d, z = scale[n, j // size].item(), zero_point[n, j // size].item()
            codes[n, j] = np.clip(np.round(w[j] / d) + z, low, high)
            w[j] = d * (codes[n, j] - z)
            done, left = order[: step + 1], order[step + 1 :]
            if left:
                shift = L.T[:, done] @ (w[done] - target[done])
                w[left] = target[left] - np.linalg.lstsq(L.T[:, left], shift, rcond=None)[0]
    return torch.tensor(codes)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize(("bits", "group_size", "symmetric"), [(4, None, True), (3, 3, False), (2, 6, False)])
def test_gptq_solves_the_least_squares_problem_of_every_column(bits, group_size, symmetric, act_order):
    W, X = randn(4, 12, seed=1).double(), correlated_inputs(80, 12).double()
    H = X.T @ X
    H += 0.01 * H.diagonal().mean() * torch.eye(12, dtype=torch.float64)
    scale, zero_point = Scheme(bits, group_size, symmetric).grid(W)
    order = torch.argsort(H.diagonal(), descending=True).tolist() if act_order else list(range(12))
    expected = one_row_after_the_other_by_least_squares(W, H, scale, zero_point, bits, order)
    for block_size in (5, 128):
        q = gptq_quantize(W, H, scale, zero_point, bits, act_order, damping=0.0, block_size=block_size)
        assert torch.equal(q.long(), expected)


def test_gptq_lies_between_round_to_nearest_and_the_best_of_all_roundings():
    rtn, gptq, best = 0.0, 0.0, 0.0
    for seed in range(10):
        W, X = randn(1, 8, seed=seed).double(), correlated_inputs(50, 8, seed=seed).double()
        H, scale = X.T @ X, absmax_scale(W, 3)
        floor = (W / scale).floor()
        choices = torch.tensor(list(itertools.product([0, 1], repeat=8)), dtype=torch.float64)
        D = (W - (floor + choices).clamp(-3, 3) * scale).double()
        least = ((D @ H) * D).sum(1).min().item()
        errors = [
            output_error(W, dequantize(q, scale), H).item()
            for q in (quantize(W, scale, bits=3), gptq_quantize(W, H, scale, bits=3))
        ]
        rtn, gptq, best = rtn + errors[0], gptq + errors[1], best + least
    assert best < gptq < 0.5 * rtn


@pytest.mark.parametrize("act_order", [False, True])
def test_a_model_gets_the_codes_of_its_layers(act_order):
    layer, X = nn.Linear(12, 4), correlated_inputs(80, 12)
    scale, zero_point = affine_parameters(layer.weight.detach(), 3, group_size=4)
    expected = gptq_quantize(layer.weight.detach(), X.T @ X, scale, zero_point, 3, act_order)
    model = quantize_model(layer, 3, 4, "gptq", X, act_order=act_order, progress=False)
    assert torch.equal(unpack(model.packed, 3, 12), expected)


def test_gptq_without_correlations_rounds_to_nearest():
    W, scale = randn(5, 7), absmax_scale(randn(5, 7), 4)
    for H in (torch.diag(torch.rand(7) + 0.1), torch.zeros(7, 7)):
        assert torch.equal(gptq_quantize(W, H, scale, bits=4), quantize(W, scale, bits=4))


def test_output_error_is_the_error_of_the_output():
    W, W_hat, X = randn(4, 6), randn(4, 6, seed=1), randn(30, 6, seed=2)
    expected = (X @ W.T - X @ W_hat.T).square().sum()
    torch.testing.assert_close(output_error(W, W_hat, X.T @ X), expected)


# ---- independent oracles: AWQ


def loud_channels(n_tokens=200, width=32):
    X = randn(n_tokens, width, seed=4)
    X[:, [3, 17]] *= 30
    return X


def test_awq_takes_the_scale_with_the_least_error_of_the_output():
    W, X, scheme = randn(6, 32, seed=2), loud_channels(), Scheme(4, 8, symmetric=False)

    def rounded(weights):
        return dequantize(*scheme.codes(weights))

    s = awq_scale(W, X.T @ X, rounded, n_grid=20)
    errors = []
    for alpha in np.arange(21) / 20:
        trial = X.square().mean(0).sqrt() ** alpha
        trial = trial / (trial.max() * trial.min()).sqrt()
        errors.append(((X @ (rounded(W * trial) / trial - W).T) ** 2).sum().item())
    assert ((X @ (rounded(W * s) / s - W).T) ** 2).sum().item() == pytest.approx(min(errors), rel=1e-3)
    assert min(errors) < 0.3 * errors[0]  # α = 0 is round-to-nearest


def test_scaling_changes_nothing_before_rounding():
    W, X = randn(6, 32).double(), loud_channels().double()
    s = awq_scale(W, X.T @ X, lambda weights: weights.round())
    assert not torch.allclose(s, torch.ones_like(s))
    torch.testing.assert_close((X / s) @ (W * s).T, X @ W.T, rtol=1e-12, atol=1e-12)


def test_dead_channels_do_not_disturb_awq():
    X = loud_channels()
    X[:, 5] = 0
    for H in (X.T @ X, torch.zeros(32, 32)):
        s = awq_scale(randn(6, 32), H, lambda weights: weights)
        assert torch.isfinite(s).all()
        assert (s > 0).all()


# ---- independent oracles: calibration, layers and kernels


def test_second_moments_are_those_of_the_inputs_and_leave_the_model_alone():
    model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.ReLU(), nn.Linear(7, 3)).train()
    batches = [randn(2, 4, 5), randn(6, 5, seed=1)]
    moments = second_moments(model, {"0": model[0], "3": model[3]}, batches)
    X = torch.cat([batch.reshape(-1, 5) for batch in batches])
    A = torch.relu(model[0](X))
    torch.testing.assert_close(moments["0"], X.T @ X)
    torch.testing.assert_close(moments["3"], (A.T @ A).detach())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("way", "bound"), WAYS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_quantized_layer_is_the_linear_layer_of_its_weight(way, bound, dtype):
    layer, x = nn.Linear(192, 50).to(dtype), randn(3, 7, 192, dtype=dtype)
    quantized = quantize_model(copy.deepcopy(layer), **way, progress=False)
    assert relative(quantized.weight, layer.weight) < bound
    y = quantized(x)
    assert y.shape == (3, 7, 50)
    assert y.dtype == dtype
    expected = F.linear(x.double(), quantized.weight.double(), layer.bias.double())
    tolerance = {
        torch.float64: 1e-12,
        torch.float32: 1e-6,
        torch.float16: 2e-3,
        torch.bfloat16: KERNEL_TOLERANCE,
    }
    assert relative(y, expected) < tolerance[dtype]


@pytest.mark.parametrize("way", [{"bits": 8}, {"bits": 4, "group_size": 32}, {"bits": 4}], ids=str)
@pytest.mark.parametrize("n_rows", [1, 16, 50])
@pytest.mark.parametrize("shape", [(192,), (1, 192), (2, 1, 192), (0, 192), (40, 192)])
def test_packed_kernels_agree_with_the_plain_product(way, n_rows, shape, monkeypatch):
    x = randn(*shape, dtype=torch.bfloat16)
    layer = quantize_model(nn.Linear(192, n_rows).bfloat16(), **way, progress=False)
    with torch.no_grad():
        packed = layer(x)
        monkeypatch.setattr(kernels, "has_int8_kernel", lambda device: False)
        monkeypatch.setattr(kernels, "has_int4_kernel", lambda device, whole_tiles: False)
        plain = layer(x)
    assert packed.shape == plain.shape == (*shape[:-1], n_rows)
    typical = x.float().norm() * layer.weight.float().norm() / 192**0.5  # one sum may be close to 0
    assert (packed - plain).float().norm() <= KERNEL_TOLERANCE * typical


def test_every_processor_with_the_kernels_uses_them():
    assert kernels.has_int8_kernel("cpu") == hasattr(torch, "_weight_int8pack_mm")
    assert kernels.has_int4_kernel("cpu") == hasattr(torch, "_weight_int4pack_mm_for_cpu")


def test_what_the_kernels_want_in_another_order_is_no_part_of_the_layer():
    if not hasattr(torch, "_weight_int4pack_mm_for_cpu"):
        pytest.skip("this torch has no INT4 kernel for CPUs")
    layer = quantize_model(nn.Linear(192, 50).bfloat16(), 4, 32, progress=False)
    before = copy.deepcopy(layer.state_dict())
    x = randn(2, 192, dtype=torch.bfloat16)
    y = layer(x)
    assert layer.state_dict().keys() == before.keys() == {"packed", "scale", "zero_point", "bias"}
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x), y)
    assert layer.float().packed.dtype == torch.uint8
    assert relative(layer(x.float()), y) < KERNEL_TOLERANCE
    assert torch.equal(layer.to("cpu").bfloat16()(x), y)


@pytest.mark.parametrize(
    "way", [{"bits": 4, "group_size": 32}, {"bits": 8}, {"bits": 8, "activations": 8}], ids=str
)
@pytest.mark.parametrize("assign", [False, True])
def test_kernels_see_new_codes(way, assign):
    layers = [
        quantize_model(nn.Linear(64, 32).bfloat16(), **way, progress=False).requires_grad_(False)
        for _ in "ab"
    ]
    x = randn(3, 64, dtype=torch.bfloat16)
    with torch.inference_mode():
        recorded = torch.jit.trace(lambda x: layers[0](x), (x,), check_trace=False)
        wanted = [layer(x) for layer in layers]
        assert torch.equal(recorded(x), wanted[0])
    layers[0].load_state_dict(copy.deepcopy(layers[1].state_dict()), assign=assign)
    with torch.inference_mode():
        assert torch.equal(layers[0](x), wanted[1])
        # An assigned tensor is another one, and a recording has the tiles of INT4 as constants.
        assert assign or way["bits"] == 4 or torch.equal(recorded(x), wanted[1])
        layers[0].packed.copy_(quantize_model(nn.Linear(64, 32).bfloat16(), **way, progress=False).packed)
        assert not torch.equal(layers[0](x), wanted[1])


def test_probes_say_no_where_there_is_no_kernel():
    assert not kernels.has_int8_kernel("meta")
    assert not kernels.has_int4_kernel("meta")


# ---- activations in 8 bits


needs_integers = pytest.mark.skipif(
    not kernels.has_int8_dynamic_kernel(), reason="this processor has no product of 8-bit integers"
)


def in_eight_bits(X):
    """Every token divided by its largest feature, then all on the affine grid of the range that is left."""
    size = X.abs().amax(-1, keepdim=True)
    low, high = (X / size).min().clamp(max=0), (X / size).max().clamp(min=0)
    scale = ((high - low) / 255).item()
    return size * torch.fake_quantize_per_tensor_affine(X / size, scale, round(-low.item() / scale), 0, 255)


@pytest.mark.slow
@needs_integers
@pytest.mark.parametrize("n_rows", [1, 3])
def test_a_recorded_step_calls_the_integer_kernel_without_python(n_rows):
    from lecture_lib.decoder import Decoder
    from lecture_lib.kv_cache import Cached, generate
    from lecture_lib.sampling import SamplingParameters
    from lecture_lib.transformer import ModelConfig

    sizes = {
        "vocab_size": 40,
        "d_model": 64,
        "n_heads": 4,
        "n_layers": 2,
        "context_length": 32,
        "tied_head": False,
    }
    model = Decoder(ModelConfig(norm_first=True, **sizes), generator=torch.Generator().manual_seed(3)).eval()
    quantize_model(model, 8, activations=8, include_tied=True, progress=False)
    rows, greedy = [[5, 7 + i] for i in range(n_rows)], SamplingParameters(temperature=0)
    readers = [Cached(model, max_length=20, recorded=yes) for yes in (True, False)]
    texts = [generate(reader, torch.tensor(rows), 12, greedy) for reader in readers]
    assert torch.equal(*texts)
    program = str(next(iter(readers[0].watch.made.values())).graph)
    assert "quantized::linear_dynamic" in program and "lecture_lib::" not in program
    with torch.no_grad():  # other codes: recorded anew
        model.head.packed.neg_()
    again = [generate(reader, torch.tensor(rows), 12, greedy) for reader in readers]
    assert torch.equal(*again) and not torch.equal(again[0], texts[0])


@needs_integers
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(192,), (1, 192), (2, 1, 192), (0, 192), (40, 192)])
def test_eight_bit_activations_are_the_rounded_inputs(dtype, shape):
    layer = quantize_model(nn.Linear(192, 50).to(dtype), 8, activations=8, progress=False)
    assert "activations=8" in repr(layer)
    x = randn(*shape, dtype=dtype)
    y = layer(x).detach()
    assert y.dtype == dtype and y.shape == (*shape[:-1], 50)
    if y.numel():
        plain = F.linear(x.double(), layer.weight.double(), layer.bias.double())
        rounded = in_eight_bits(x.float().view(-1, 192)).double()
        expected = F.linear(rounded, layer.weight.double(), layer.bias.double()).view(y.shape)
        assert relative(y, plain) < 0.015
        assert relative(y, expected) < (1e-3 if dtype == torch.float32 else 0.005)


@needs_integers
def test_a_loud_feature_costs_its_token_alone():
    """The step of a token is that of its range: noise of a loud one is step / sqrt(12) a feature, others keep theirs."""
    layer = quantize_model(nn.Linear(192, 50), 8, activations=8, progress=False)
    x = randn(6, 192)
    x[2, 7] = 300
    exact = F.linear(x, layer.weight, layer.bias)
    error = (layer(x) - exact).detach()
    quiet = [0, 1, 3, 4, 5]
    assert relative(error[quiet] + exact[quiet], exact[quiet]) < 0.015
    size = x.abs().amax(1, keepdim=True)
    noise = size * 2 / 255 / 12**0.5 * layer.weight.norm(dim=1)
    assert (error.square().mean(1).sqrt() <= 1.5 * noise.square().mean(1).sqrt()).all()
    assert error[2].norm() > 10 * error[quiet].norm(dim=1).max()  # what 8-bit activations cost
    alone = torch.cat([layer(row[None]) for row in x]).detach()
    assert relative(alone, exact) < 0.02
    extremes = torch.stack([torch.zeros(192), torch.full((192,), 1e30), torch.full((192,), -1e-30), x[0]])
    assert torch.isfinite(layer(extremes)).all() and torch.equal(layer(extremes)[0], layer.bias)


def test_without_the_kernel_the_weights_alone_are_in_eight_bits(monkeypatch):
    for dtype in (torch.float32, torch.bfloat16):
        layer = nn.Linear(192, 50, dtype=dtype)
        plain = quantize_model(copy.deepcopy(layer), 8, progress=False)
        both = quantize_model(layer, 8, activations=8, progress=False)
        monkeypatch.setattr(kernels, "has_int8_dynamic_kernel", lambda: False)
        x = randn(3, 192, dtype=dtype)
        assert torch.equal(both(x), plain(x))
        monkeypatch.undo()


def test_eight_bit_activations_learn_and_are_saved(tmp_path):
    model = quantize_model(Toy(), 8, activations=8, include_tied=True, progress=False).eval()
    x = randn(3, 64).requires_grad_()
    model.blocks[0](x).sum().backward()
    assert torch.isfinite(x.grad).all()
    save_quantized(model, tmp_path)
    loaded = load_quantized(Toy().eval(), tmp_path)
    assert loaded.blocks[0][0].scheme.activations == 8
    with torch.no_grad():
        assert torch.equal(loaded(IDS), model(IDS))
        assert relative(model(IDS), Toy().eval()(IDS)) < 0.05


def test_dtype_moves_keep_the_codes():
    for way, bound in WAYS:
        layer = quantize_model(nn.Linear(192, 8), **way, progress=False)
        codes, weight = layer.packed.clone(), layer.weight
        layer = layer.bfloat16().float()
        assert torch.equal(layer.packed, codes)
        assert relative(layer.weight, weight) < min(bound, 0.005)


def test_compute_dtype_lets_a_float32_model_use_the_kernels():
    layer = nn.Linear(192, 50)
    quantized = quantize_model(layer, 4, 32, compute_dtype=torch.bfloat16, progress=False)
    x = randn(3, 192)
    y = quantized(x).detach()
    assert y.dtype == torch.float32
    assert relative(y, F.linear(x, quantized.weight, quantized.bias).detach()) < KERNEL_TOLERANCE


def test_decoding_in_inference_mode_does_not_spoil_later_training_or_saving():
    layer = quantize_model(nn.Linear(64, 16).bfloat16(), 4, 32, progress=False)
    before, x = copy.deepcopy(layer.state_dict()), randn(3, 64, dtype=torch.bfloat16)
    with torch.inference_mode():
        layer(x)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    layer.load_state_dict(before)
    with torch.inference_mode():
        layer(x)
    layer(x.requires_grad_()).sum().backward()
    assert torch.isfinite(x.grad).all()
    layer.float().load_state_dict(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_reach_the_inputs_and_the_bias(dtype):
    layer = quantize_model(nn.Linear(64, 5).to(dtype), 4, 32, progress=False)
    x = randn(3, 64, dtype=dtype)
    with torch.no_grad():
        layer(x)
    x.requires_grad_()
    layer(x).square().sum().backward()
    weight, z = layer.weight, x.detach().clone().requires_grad_()
    (F.linear(z, weight) + layer.bias).square().sum().backward()
    assert torch.equal(x.grad, z.grad)
    assert layer.bias.grad is not None
    assert [name for name, _ in layer.named_parameters()] == ["bias"]


# ---- independent oracles: models


def transformers_models():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "vocab_size": 50}
    gpt2 = transformers.GPT2Config(n_layer=2, n_head=4, n_embd=64, n_positions=32, vocab_size=50)
    llama = transformers.LlamaConfig(**sizes, intermediate_size=96, num_key_value_heads=2)
    bert = transformers.BertConfig(**sizes, intermediate_size=96)
    # Attention and feed-forward, two Conv1D each; the head is tied.
    yield transformers.GPT2LMHeadModel(gpt2), 8
    yield transformers.LlamaForCausalLM(llama), 15
    yield transformers.BertForMaskedLM(bert), 13


@pytest.mark.slow
def test_models_of_transformers(tmp_path):
    for model, n_layers in transformers_models():
        model.eval()
        expected = model(input_ids=IDS).logits
        errors = {}
        for method in ("rtn", "gptq", "awq"):
            quantized = quantize_model(
                copy.deepcopy(model), 4, 32, method, [{"input_ids": IDS}], progress=False
            )
            assert sum(isinstance(m, QuantizedLinear) for m in quantized.modules()) == n_layers
            logits = quantized(input_ids=IDS).logits
            errors[method] = relative(logits, expected)
            save_quantized(quantized, tmp_path)
            loaded = load_quantized(type(model)(model.config).eval(), tmp_path)
            assert torch.equal(loaded(input_ids=IDS).logits, logits)
        assert errors["gptq"] < 0.7 * errors["rtn"]
        assert max(errors.values()) < 0.3


def test_models_of_this_library(tmp_path):
    from lecture_lib.decoder import Decoder
    from lecture_lib.transformer import ModelConfig

    config = ModelConfig(vocab_size=50, d_model=64, n_heads=4, n_layers=2, context_length=16)
    model = Decoder(config).eval()
    expected = model(IDS)
    quantized = quantize_model(copy.deepcopy(model), 8, progress=False)
    assert relative(quantized(IDS), expected) < 0.03
    assert stored_bytes(quantized) < 0.5 * stored_bytes(model)
    save_quantized(quantized, tmp_path)
    assert torch.equal(load_quantized(Decoder(config).eval(), tmp_path)(IDS), quantized(IDS))


@pytest.mark.parametrize("norm_first", [False, True])
def test_torchs_own_layers_keep_working(norm_first):
    model = nn.TransformerEncoderLayer(32, 4, 48, batch_first=True, norm_first=norm_first).eval()
    x = randn(2, 5, 32)
    expected = model(x)
    with torch.no_grad():
        assert relative(quantize_model(model, 8, progress=False)(x), expected) < 0.02


def test_gptq_and_awq_beat_rounding_to_nearest_where_they_should():
    layer, X = nn.Linear(32, 20), correlated_inputs(300, 32)

    def error(method, inputs, calibration):
        quantized = quantize_model(copy.deepcopy(layer), 3, 16, method, calibration, progress=False)
        return relative(quantized(inputs), layer(inputs))

    fresh = correlated_inputs(600, 32)[300:]  # the same 6 directions, other tokens
    assert error("gptq", fresh, X) < 0.6 * error("rtn", fresh, None)
    loud = loud_channels(500)
    assert error("awq", loud[200:], loud[:200]) < 0.7 * error("rtn", loud[200:], None)


def test_later_passes_see_the_quantized_layers_before_them():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 16))
    X = correlated_inputs(400, 32)
    at_once, in_turn = (
        quantize_model(copy.deepcopy(model), 2, 16, "gptq", X, layers_per_pass=n, progress=False)
        for n in (None, 1)
    )
    assert torch.equal(at_once[0].packed, in_turn[0].packed)
    assert not torch.equal(at_once[2].packed, in_turn[2].packed)
    A = torch.relu(in_turn[0](X)).detach()
    expected = quantize_model(copy.deepcopy(model[2]), 2, 16, "gptq", A, progress=False)
    assert torch.equal(in_turn[2].packed, expected.packed)


# ---- properties


@pytest.mark.slow
@given(
    bits=st.integers(2, 8),
    rows=st.integers(1, 4),
    groups=st.integers(1, 3),
    size=st.integers(1, 6),
    exponent=st.integers(-30, 30),
    seed=st.integers(0, 999),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    symmetric=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_entry_moves_by_more_than_half_a_step(bits, rows, groups, size, exponent, seed, dtype, symmetric):
    x = (randn(rows, groups * size, seed=seed) * 2.0**exponent).to(dtype)
    q, scale, zero_point = Scheme(bits, size, symmetric).codes(x)
    assert scale.shape == (rows, groups)
    assert scale.dtype == dtype
    steps = q.double() if zero_point is None else q.double() - zero_point.repeat_interleave(size, 1).double()
    wide = scale.double().repeat_interleave(size, 1)
    slack = 1.0 if dtype != torch.bfloat16 else 1.6  # the step itself is rounded to 8 bits
    slack += 0 if symmetric else 1.0  # so is the zero point, to a whole code
    assert ((steps * wide - x.double()).abs() <= slack * (0.5 + 1e-5) * wide).all()


@given(bits=st.integers(2, 8), rows=st.integers(0, 3), n_codes=st.integers(1, 40), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_unpacking_undoes_packing(bits, rows, n_codes, seed):
    g = torch.Generator().manual_seed(seed)
    q = torch.randint(0, 2**bits, (rows, n_codes), generator=g, dtype=torch.uint8)
    packed = pack(q, bits)
    assert packed.shape == (rows, packed_width(n_codes, bits))
    assert torch.equal(unpack(packed, bits, n_codes), q)
    if n_codes % 2 == 0:
        assert torch.equal(unpack_int4(pack_int4(q % 16)), q % 16)


ENDS = [
    {"bits": 8},
    {"bits": 8, "symmetric": False},
    {"bits": 8, "per_tensor": True},
    {"bits": 8, "method": "fp8"},
    {"bits": 4, "group_size": 32, "symmetric": True},
    {"bits": 4, "group_size": 32},
    {"bits": 2, "symmetric": False},
    {"bits": 3, "method": "gptq"},
    {"bits": 4, "group_size": 32, "method": "awq"},
]


@pytest.mark.parametrize("way", ENDS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_weights_at_both_ends_of_a_dtype(way, dtype):
    """The largest numbers stay finite, and small rows stay what they are, as far as the dtype can tell."""
    way = way | (
        {"calibration": loud_channels(50, 64).to(dtype)} if way.get("method") in ("gptq", "awq") else {}
    )
    kind = torch.finfo(dtype)
    large = nn.Linear(64, 4, bias=False, dtype=dtype)
    with torch.no_grad():
        large.weight[1, 5], large.weight[1, 6], large.weight[2] = kind.max, -kind.max, kind.max
    W = quantize_model(large, **way, progress=False).weight
    assert torch.isfinite(W).all()
    assert (W[1, 5] > 0.5 * kind.max) and (W[1, 6] < -0.5 * kind.max)
    for size in (1e-6, kind.tiny, 10 * kind.tiny * kind.eps):
        small = nn.Linear(64, 4, bias=False, dtype=dtype)
        with torch.no_grad():
            small.weight.copy_(size * (1 + torch.rand(4, 64, dtype=torch.float64)))
        before = small.weight.detach().double().clone()
        W = quantize_model(small, **way, progress=False).weight.double()
        assert (W != 0).any(1).all() and torch.isfinite(W).all()
        assert ((W - before).abs() <= (2 if way.get("method") == "gptq" else 0.6) * before.amax()).all()


def test_numbers_of_numpy():
    layer = nn.Linear(64, 4)
    expected = quantize_model(copy.deepcopy(layer), 4, 32, progress=False)
    for bits, size in itertools.product((np.int64(4), np.uint8(4)), (np.int32(32), np.arange(33)[32])):
        got = quantize_model(copy.deepcopy(layer), bits, size, progress=False)
        assert torch.equal(got.packed, expected.packed)
        assert json.dumps(dataclasses.asdict(got.scheme))


def test_zero_is_exact_and_quantizing_again_changes_nothing():
    x = randn(3, 12)
    x[0] = 0
    x[1, ::3] = 0
    for scheme in (Scheme(4, 6, True), Scheme(4, 6, False), Scheme(8), Scheme(8, float8=True)):
        x_hat = dequantize(*scheme.codes(x))
        assert (x_hat[x == 0] == 0).all()
        torch.testing.assert_close(dequantize(*scheme.codes(x_hat)), x_hat, rtol=1e-5, atol=1e-6)


# ---- which layers, and what is left alone


def quantized_names(model):
    return [name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)]


def test_a_tied_head_stays_unless_asked_for():
    blocks = ["blocks.0.0", "blocks.0.2", "blocks.1.0", "blocks.1.2"]
    model = quantize_model(Toy(), 8, progress=False)
    assert quantized_names(model) == blocks
    assert model.head.weight is model.embedding.weight
    assert quantized_names(quantize_model(Toy(), 8, include_tied=True, progress=False)) == [*blocks, "head"]
    assert quantized_names(quantize_model(Toy(tied=False), 8, progress=False)) == [*blocks, "head"]


def test_skip_takes_whole_names_ends_and_modules():
    model = quantize_model(Toy(tied=False), 8, skip=("head", "blocks.0"), progress=False)
    assert quantized_names(model) == ["blocks.1.0", "blocks.1.2"]
    assert quantized_names(quantize_model(Toy(), 8, skip="0.2", progress=False)) == [
        "blocks.0.0",
        "blocks.1.0",
        "blocks.1.2",
    ]


def test_a_layer_with_two_names_is_quantized_once():
    layer = nn.Linear(8, 8)
    model = quantize_model(nn.Sequential(layer, nn.ReLU(), layer), 8, progress=False)
    assert model[0] is model[2]
    assert isinstance(model[0], QuantizedLinear)


def test_layers_that_calibration_never_reaches_are_rounded_to_nearest():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(8, 4), nn.Linear(8, 4)

        def forward(self, x):
            return self.used(x)

    for method, layers_per_pass in (("gptq", None), ("awq", None), ("gptq", 1)):
        model = Branch()
        expected = quantize_model(copy.deepcopy(model.unused), 4, progress=False)
        with pytest.warns(UserWarning, match="never reached unused"):
            quantize_model(
                model, 4, None, method, [randn(5, 8)], layers_per_pass=layers_per_pass, progress=False
            )
        assert torch.equal(model.unused.packed, expected.packed)


def test_calibration_takes_tensors_tuples_dicts_and_generators():
    layer, x = nn.Linear(8, 4), randn(20, 8)
    packed = [
        quantize_model(copy.deepcopy(layer), 3, None, "gptq", given, progress=False).packed
        for given in (x, [x], [(x,)], [{"input": x}], (part for part in (x[:5], x[5:])))
    ]
    assert all(torch.equal(packed[0], other) for other in packed[1:])


# ---- storage


@pytest.mark.parametrize(("way", "bound"), WAYS[:1] + WAYS[4:6] + WAYS[9:10], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_is_loaded(way, bound, dtype, tmp_path):
    way = way | {"group_size": way.get("group_size") and 32}
    model = quantize_model(Toy().to(dtype), **way, progress=False).eval()
    logits = model(IDS)
    save_quantized(model, tmp_path / "new")
    assert os.listdir(tmp_path / "new") == ["quantized.safetensors"]
    skeletons = [Toy(), Toy().to(dtype)]
    with torch.device("meta"):
        skeletons.append(Toy())
    skeletons[-1].offset = torch.arange(3.0)
    for skeleton in skeletons:
        loaded = load_quantized(skeleton, tmp_path / "new")
        assert torch.equal(loaded(IDS), logits)
        assert loaded.head.weight is loaded.embedding.weight
        assert loaded.head.weight.dtype == dtype
    file = load_file(tmp_path / "new" / "quantized.safetensors")
    assert stored_bytes(model) == sum(tensor.nbytes for tensor in file.values())


def test_awq_scales_compute_dtype_and_single_layers_are_saved(tmp_path):
    layer = nn.Linear(64, 5)
    quantized = quantize_model(
        layer, 4, 32, "awq", loud_channels(50, 64), compute_dtype=torch.bfloat16, progress=False
    )
    assert quantized.channel_scale is not None
    plain = F.linear(randn(3, 64), quantized.weight, quantized.bias)
    assert relative(quantized(randn(3, 64)).detach(), plain.detach()) < KERNEL_TOLERANCE
    save_quantized(quantized, tmp_path)
    loaded = load_quantized(nn.Linear(64, 5), tmp_path)
    x = randn(3, 64)
    assert torch.equal(loaded(x), quantized(x))
    assert loaded.compute_dtype == torch.bfloat16


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    save_quantized(quantize_model(Toy(), 8, progress=False), tmp_path)
    before = (tmp_path / "quantized.safetensors").read_bytes()

    def no_space(*paths):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", no_space)
    with pytest.raises(OSError, match="No space"):
        save_quantized(quantize_model(Toy(), 4, 32, progress=False), tmp_path)
    assert os.listdir(tmp_path) == ["quantized.safetensors"]
    assert (tmp_path / "quantized.safetensors").read_bytes() == before


def test_broken_and_foreign_files_are_refused(tmp_path):
    file = tmp_path / "quantized.safetensors"
    with pytest.raises(FileNotFoundError, match="no quantized model in"):
        load_quantized(Toy(), tmp_path)
    save_quantized(quantize_model(Toy(), 4, 32, progress=False), tmp_path)
    whole = file.read_bytes()
    for damaged in (whole[:-100], whole[:50], b"", b"\x80\x04pickle"):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            load_quantized(Toy(), tmp_path)
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match="not written by save_quantized"):
        load_quantized(Toy(), tmp_path)
    header = {
        "layers": {"blocks.0.0": {"scheme": {"bits": 4, "colour": 1}, "compute_dtype": None}},
        "tied": {},
    }
    save_file({"a": torch.zeros(2)}, file, metadata={"lecture_lib.quantization": json.dumps(header)})
    with pytest.raises(ValueError, match="'blocks.0.0'"):
        load_quantized(Toy(), tmp_path)


@pytest.mark.parametrize(
    ("skeleton", "message"),
    [
        (lambda: Toy(vocab_size=51), "embedding.weight"),
        (lambda: Toy(width=96), "needs codes|of another model"),
        (lambda: nn.Sequential(nn.Linear(64, 96)), "no linear layer"),
        (lambda: nn.ModuleDict({"more": nn.Linear(3, 3), **dict(Toy().named_children())}), "more"),
    ],
)
def test_a_file_of_another_model_is_refused_and_changes_nothing(skeleton, message, tmp_path):
    save_quantized(quantize_model(Toy(), 4, 32, progress=False), tmp_path)
    model = skeleton()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        load_quantized(model, tmp_path)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


# ---- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 1}, "bits must be an integer from 2 to 8"),
        ({"bits": 16}, "bits must be an integer from 2 to 8"),
        ({"bits": "8"}, "bits must be an integer from 2 to 8"),
        ({"bits": True}, "bits must be an integer from 2 to 8"),
        ({"bits": 8, "group_size": 48}, "group_size=48 does not divide the 64 inputs of blocks.0.0"),
        ({"bits": 8, "group_size": 0}, "group_size must be a positive integer"),
        ({"bits": 8, "group_size": 32, "per_tensor": True}, "per_tensor leaves no groups"),
        ({"bits": 8, "group_size": "tensor"}, "group_size must be a positive integer"),
        ({"bits": 4, "method": "fp8"}, "fp8 has 8 bits"),
        ({"bits": 4, "method": "best"}, "method must be one of rtn, gptq, awq, fp8; got 'best'"),
        ({"bits": 4, "method": "gptq"}, "gptq needs calibration"),
        ({"bits": 4, "method": "awq", "calibration": []}, "awq needs calibration"),
        ({"bits": 8, "activations": 4}, "activations must be one of None, 8; got 4"),
        ({"bits": 4, "activations": 8}, "activations=8 multiplies integers: it needs 8 symmetric bits"),
        ({"bits": 8, "group_size": 32, "activations": 8}, "without groups"),
        ({"bits": 8, "skip": "heat"}, "skip='heat' names no linear layer; there are blocks.0.0"),
        ({"bits": 8, "skip": "blocks"}, "nothing to quantize: all linear layers are skipped or tied"),
        (
            {"bits": 4, "method": "gptq", "calibration": IDS, "layers_per_pass": 0},
            "layers_per_pass must be a positive",
        ),
    ],
)
def test_wrong_arguments_are_refused_before_anything_changes(arguments, message):
    model = Toy()
    with pytest.raises(ValueError, match=message):
        quantize_model(model, **arguments, progress=False)
    assert quantized_names(model) == []


def test_models_that_cannot_be_quantized():
    with pytest.raises(ValueError, match="quantized already"):
        quantize_model(quantize_model(Toy(), 8, progress=False), 4, progress=False)
    with pytest.raises(ValueError, match="Embedding has no linear layers"):
        quantize_model(nn.Embedding(3, 4), 8, progress=False)
    with pytest.raises(ValueError, match="meta device"):
        quantize_model(nn.Linear(3, 4, device="meta"), 8, progress=False)
    layer = nn.Linear(3, 4)
    with torch.no_grad():
        layer.weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize_model(layer, 8, progress=False)
    with pytest.raises(ValueError, match="no quantized layer"):
        save_quantized(Toy(), "nowhere")
    for method in ("gptq", "awq"):
        with pytest.raises(ValueError, match="NaN or infinity"):
            quantize_model(nn.Linear(3, 4), 8, None, method, torch.full((2, 3), torch.inf), progress=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: absmax_scale(torch.tensor([1, 2])), "only a non-empty tensor of reals"),
        (lambda: absmax_scale(torch.zeros(3, 0)), "only a non-empty tensor of reals"),
        (lambda: absmax_scale(torch.tensor(1.0)), "only a non-empty tensor of reals"),
        (lambda: absmax_scale(torch.tensor([torch.inf])), "NaN or infinity"),
        (lambda: affine_parameters(torch.ones(2, 6), 4, group_size=4), "group_size=4 and rows of 6"),
        (lambda: quantize(torch.ones(2, 6), torch.ones(2, 4)), r"scale \(2, 4\) does not cut \(2, 6\)"),
        (lambda: pack_int4(torch.zeros(2, 3, dtype=torch.uint8)), "odd number, 3"),
        (lambda: pack_int4(torch.full((2, 4), 16, dtype=torch.uint8)), "uint8 from 0 to 15"),
        (lambda: pack(torch.zeros(2, 4, dtype=torch.int8), 3), "uint8 from 0 to 7"),
        (lambda: gptq_quantize(torch.ones(2, 6), torch.eye(5), torch.ones(2, 1)), r"\(5, 5\) and \(2, 6\)"),
        (lambda: gptq_quantize(torch.ones(2, 2), -torch.eye(2), torch.ones(2, 1)), "singular|damping"),
        (lambda: awq_scale(torch.ones(2, 6), torch.eye(5), torch.round), r"\(5, 5\) and \(2, 6\)"),
        (lambda: quantize_model(nn.Linear(6, 2), 8, progress=False)(torch.ones(3, 5)), "6 input features"),
        (lambda: second_moments(nn.ReLU(), {"x": nn.Linear(2, 2)}, []), "holds no batches"),
    ],
)
def test_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def hadamard_table(K):
    """Hadamard's matrix by its rule: entry (i, j) is minus one to the number of ones that i and j share in binary."""
    return np.array([[(-1) ** (i & j).bit_count() for j in range(K)] for i in range(K)]) / np.sqrt(K)


@pytest.mark.parametrize("K", [1, 2, 4, 16, 128])
def test_hadamard_is_its_matrix_and_its_own_inverse(K):
    x = torch.randn(3, 2, K, dtype=torch.float64)
    turned = quantization.hadamard(x)
    np.testing.assert_allclose(turned, x.numpy() @ hadamard_table(K), atol=1e-12)
    np.testing.assert_allclose(quantization.hadamard(turned), x, atol=1e-12)


def test_rotation_by_hand_and_without_rounding():
    W, signs = torch.randn(5, 32), torch.randint(2, (32,)) * 2.0 - 1
    torch.testing.assert_close(quantization.rotate_and_round(W, None, signs), W, atol=1e-6, rtol=0)
    R = torch.from_numpy(hadamard_table(32)).float() * signs
    turned = W @ R.T
    step = turned.abs().amax(1, keepdim=True) / 127
    error = (quantization.rotate_and_round(W, 8, signs) - W).square().sum(1, keepdim=True)
    assert (error <= 32 * step.square() / 4).all(), "rounding moves an entry by half a step at most"
    assert quantization.rotate_and_round(W.double(), 8, signs.double()).dtype == torch.float64


def test_rotation_heals_loud_columns():
    generator = torch.Generator().manual_seed(0)
    W, signs = torch.randn(64, 256, generator=generator), torch.ones(256)
    signs[::3] = -1
    W[:, 7] *= 20
    nearest = dequantize(quantize(W, absmax_scale(W, 4), bits=4), absmax_scale(W, 4))
    turned = quantization.rotate_and_round(W, 4, signs)
    assert (W - turned).square().sum() < 0.2 * (W - nearest).square().sum()


@pytest.mark.parametrize("K", [0, 3, 12])
def test_hadamard_needs_a_power_of_two(K):
    with pytest.raises(ValueError, match=f"power of two: got {K}"):
        quantization.hadamard(torch.ones(2, K))
