"""The roofline: the lecture's numbers, bytes and operations counted another way."""

import copy
import doctest
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lecture_lib import roofline
from lecture_lib.decoder import Decoder
from lecture_lib.kv_cache import Cached, KVCache
from lecture_lib.quantization import quantize_model
from lecture_lib.roofline import StepCost, kv_bytes_per_token, memory_budget, step_cost
from lecture_lib.transformer import ModelConfig

SIZES = {"vocab_size": 37, "d_model": 24, "n_layers": 3, "context_length": 50}
GPT = ModelConfig(n_heads=4, norm_first=True, **SIZES)
LLAMA = ModelConfig(
    **{"n_heads": 6, "n_kv_heads": 2, "d_head": 10, "d_ff": 28, "norm": "rms", "norm_first": True},
    **{"activation": "swiglu", "positions": "rotary", "qkv_bias": False, "tied_head": False},
    **SIZES,
)


# The lecture's numbers


def test_a_7_billion_model_on_a_card_of_24_gb():
    config = ModelConfig(vocab_size=32_000, d_model=4096, n_heads=32, n_layers=32, context_length=4096)
    token = kv_bytes_per_token(config, torch.float16)
    assert token == 2 * 32 * 4096 * 2 == 524_288
    budget = memory_budget(7e9, memory=24e9, token_bytes=token)
    assert budget.weight_bytes == 14e9 and budget.left == 10e9 and budget.tokens == 19_073
    assert memory_budget(7e9, 24e9, token, bytes_per_parameter=0.5).tokens == 39_100
    with pytest.raises(ValueError, match=r"weights take 140.0 GB, the card has 24.0 GB"):
        memory_budget(70e9, 24e9, token)


def test_the_riddle_of_145_tokens_per_second():
    """70 billion weights in 16 bits at 145.38 tokens/s: no single card reads 20.4 TB/s."""
    cost = StepCost(weight_bytes=70e9 * 2, kv_bytes=0, flops=2 * 70e9, batch=1)
    assert cost.bandwidth_for(145.38) == pytest.approx(20.4e12, rel=3e-3)
    assert cost.tokens_per_second(3.35e12, 990e12) == pytest.approx(3350 / 140)  # an H100


def test_the_examples_in_the_docstrings():
    result = doctest.testmod(roofline, extraglobs={"torch": torch})
    assert result.attempted == 6 and not result.failed


# Counted another way


@pytest.mark.parametrize("config", [GPT, LLAMA])
@pytest.mark.parametrize(("context", "batch"), [(7, 1), (20, 3)])
def test_operations_are_those_that_torch_counts(config, context, batch):
    model = Decoder(config).eval()
    cost = step_cost(model, context, batch)
    reader = Cached(model)
    reader.read([[1] * (context - 1)] * batch)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # it counts plain products
        reader.read([[1] * context] * batch)
    assert counter.get_total_flops() == cost.flops


@pytest.mark.parametrize("config", [GPT, LLAMA])
@pytest.mark.parametrize(("context", "n_new", "batch"), [(20, 20, 1), (17, 5, 3)])
def test_operations_of_a_prompt_are_those_that_torch_counts(config, context, n_new, batch):
    """All but the pairs that the causal mask forbids: torch's plain products compute them, too."""
    model = Decoder(config).eval()
    reader, cost = Cached(model), step_cost(model, context, batch, n_new)
    if n_new < context:
        reader.read([[1] * (context - n_new)] * batch)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        reader.read([[1] * context] * batch)
    forbidden = 4 * config.n_layers * config.n_heads * config.d_head * n_new * (n_new - 1) // 2
    assert counter.get_total_flops() == cost.flops + batch * forbidden
    assert cost.kv_bytes == step_cost(model, context, batch).kv_bytes and cost.batch == batch * n_new
    tables = 24 * 4 * ((config.positions == "learned") + (not config.tied_head))
    assert cost.weight_bytes - step_cost(model, context).weight_bytes == (cost.batch - 1) * tables


@pytest.mark.parametrize("config", [GPT, LLAMA])
def test_bytes_are_those_of_the_tensors_that_a_step_touches(config):
    model, batch, context = Decoder(config), 5, 20
    cost = step_cost(model, context, batch)
    touched = {id(t): t.nbytes for name, t in model.named_parameters() if not name.startswith("embedding.")}
    rows = batch * 24 * 4
    tables = rows * (config.positions == "learned") + rows * (not config.tied_head)
    assert cost.weight_bytes == sum(touched.values()) + (37 * 24 * 4) * config.tied_head + tables
    cache = KVCache(config, batch, context)
    spare_slot = cache.nbytes // (context + 1)
    assert cost.kv_bytes == cache.nbytes - spare_slot
    assert cost.bytes == cost.weight_bytes + cost.kv_bytes
    assert cost.intensity == cost.flops / cost.bytes


def test_grouped_queries_and_half_precision_read_less():
    assert kv_bytes_per_token(LLAMA, torch.float32) == 2 * 3 * 2 * 10 * 4
    full, half = Decoder(LLAMA), Decoder(LLAMA).bfloat16()
    assert step_cost(half, 20).bytes == step_cost(full, 20).bytes / 2
    assert step_cost(half, 20).flops == step_cost(full, 20).flops


def test_quantized_weights_count_as_they_are_stored():
    model = Decoder(LLAMA)
    cost = step_cost(model, 10)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    n_weights, n_rows = sum(m.weight.numel() for m in linear), sum(m.out_features for m in linear)
    rest = cost.weight_bytes - 4 * n_weights
    for bits, group, grids in ((8, None, 4 * n_rows), (4, 2, 5 * n_weights // 2)):  # scales, and zero points
        quantized = quantize_model(copy.deepcopy(model), bits, group, progress=False)
        less = step_cost(quantized, 10)
        assert less.flops == cost.flops and less.kv_bytes == cost.kv_bytes
        assert less.weight_bytes == n_weights * bits // 8 + grids + rest
    tied = quantize_model(Decoder(GPT), 8, include_tied=True, progress=False)
    table = tied.embedding.tokens.weight
    all_but_tables = sum(
        t.nbytes for name, t in tied.state_dict().items() if not name.startswith("embedding.")
    )
    assert step_cost(tied, 1).weight_bytes == all_but_tables + 2 * table[0].nbytes


# Properties


def test_the_lower_roof_counts():
    cost = StepCost(weight_bytes=100.0, kv_bytes=20.0, flops=600.0, batch=3)
    assert cost.tokens_per_second(bandwidth=240.0, flop_rate=1e9) == pytest.approx(6.0)
    assert cost.tokens_per_second(bandwidth=1e9, flop_rate=1200.0) == pytest.approx(6.0)
    assert cost.bandwidth_for(6.0) == pytest.approx(240.0)
    assert cost.utilisation(3.0, 240.0) == pytest.approx(0.5)


def test_a_larger_batch_shares_the_weights():
    model = Decoder(GPT)
    one, eight = step_cost(model, 20), step_cost(model, 20, 8)
    assert eight.flops == 8 * one.flops and eight.kv_bytes == 8 * one.kv_bytes
    assert one.weight_bytes < eight.weight_bytes < 1.2 * one.weight_bytes
    assert eight.intensity > 3 * one.intensity


def test_measured_rates_are_possible():
    bandwidth, rate = roofline.measure_bandwidth(2**24, repeats=3), roofline.measure_matmul(128, repeats=3)
    assert 1e8 < bandwidth < 1e13
    assert step_cost(Decoder(GPT), np.int64(8), np.int64(2)) == step_cost(Decoder(GPT), 8, 2)
    assert 1e8 < rate < 1e15
    assert 0 < step_cost(Decoder(GPT), 8).tokens_per_second(bandwidth, rate) < 1e9


def test_the_turns_of_other_programs_do_not_count_on_one_thread(monkeypatch):
    cpu, sleep = torch.device("cpu"), lambda: time.sleep(0.02)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert roofline.fastest(sleep, cpu, 2) < 0.01
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # their times would be added up
    assert roofline.fastest(sleep, cpu, 2) > 0.019


def test_steps_and_prompts_are_measured_on_texts_of_the_length_that_is_asked_for():
    class Noted(Cached):
        seen = ()

        def read(self, rows):
            self.seen += ([len(row) for row in rows],)
            return super().read(rows)

    reader = Noted(Decoder(GPT).eval())
    assert 0 < roofline.measure_steps(reader, 2, 7, repeats=3) < 1e9
    assert reader.seen == tuple([n, n] for n in (7, 8, 9, 10, 11))
    assert 0 < roofline.measure_prompt(reader, 9, repeats=2) < 1e9
    assert reader.seen[5:] == ([9],) * 4


# Errors


@pytest.mark.parametrize(("context", "batch"), [(0, 1), (3, 0)])
def test_a_step_needs_a_row_and_a_token(context, batch):
    with pytest.raises(ValueError, match="(context|batch) must be a positive integer, got 0"):
        step_cost(Decoder(GPT), context, batch)


def test_no_more_tokens_are_new_than_there_are():
    with pytest.raises(ValueError, match="of 3 tokens in a row at most 3 are new, got n_new 4"):
        step_cost(Decoder(GPT), 3, n_new=4)
