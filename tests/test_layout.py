"""Weights laid out for a machine: the same numbers, whatever happens to the model, and nothing stale."""

import copy
import gc
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from helpers import seeded
from torch import nn

from lecture_lib import packed
from lecture_lib.decoder import Decoder
from lecture_lib.kv_cache import lay_out_for_decoding
from lecture_lib.kv_cache.layout import PackedSideBySide
from lecture_lib.lora import add_lora, lora_layers, merge_lora, unmerge_lora
from lecture_lib.packed import PackedLinear, has_packed_bfloat16
from lecture_lib.quantization import QuantizedLinear, quantize_model
from lecture_lib.transformer import ModelConfig

GROUPED = ModelConfig(
    vocab_size=37,
    d_model=32,
    n_heads=4,
    n_kv_heads=2,
    n_layers=2,
    context_length=16,
    init_std=0.3,
    norm_first=True,
)
IDS = torch.randint(37, (3, 7), generator=seeded())
packs = pytest.mark.skipif(not has_packed_bfloat16(), reason="this processor has no product in bfloat16")


def decoder(seed=1, dtype=torch.bfloat16, **changes):
    config = ModelConfig(**{**GROUPED.__dict__, **changes})
    return Decoder(config, generator=seeded(seed)).to(dtype).eval()


def scores(model, ids=IDS):
    with torch.inference_mode():
        return model(ids)


def assert_close(ours, theirs):
    """bfloat16 keeps 8 bits; sums in another order round differently in the last of them."""
    tolerance = {torch.bfloat16: 0.03, torch.float32: 1e-5}[ours.dtype]
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * theirs.abs().max().item())


@packs
@pytest.mark.parametrize(
    "changes", [{}, {"qkv_bias": False, "mlp_bias": False}, {"tied_head": False, "head_bias": True}], ids=str
)
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_packed_products_are_the_plain_ones(changes, rows):
    model = decoder(**changes)
    laid_out = lay_out_for_decoding(copy.deepcopy(model))
    assert {type(m) for m in laid_out.modules() if isinstance(m, nn.Linear)} == {PackedLinear}
    ids = torch.randint(37, (rows, 7), generator=seeded())
    assert_close(scores(laid_out, ids), scores(model, ids))
    attention, plain = laid_out.stack.layers[0].attention, model.stack.layers[0].attention
    X = torch.randn(rows, 5, 32, generator=seeded()).bfloat16()
    with torch.inference_mode():
        together = attention.in_one(X, attention.W_q, attention.W_k, attention.W_v)
        for Y, layer in zip(together, (plain.W_q, plain.W_k, plain.W_v), strict=True):
            assert_close(Y, layer(X))
        for shape in ((32,), (0, 32), (2, 32)):
            x = torch.randn(shape, generator=seeded()).bfloat16()
            assert_close(attention.W_q(x), plain.W_q(x)) if x.numel() else None
            assert attention.W_q(x).shape == plain.W_q(x).shape


@packs
def test_state_dicts_copies_and_pickles_know_nothing_of_it():
    model = decoder()
    laid_out = lay_out_for_decoding(copy.deepcopy(model))
    expected = scores(laid_out)
    assert list(laid_out.state_dict()) == list(model.state_dict())
    assert all(
        torch.equal(a, b)
        for a, b in zip(laid_out.state_dict().values(), model.state_dict().values(), strict=True)
    )
    assert laid_out.head.weight is laid_out.embedding.tokens.weight
    file = io.BytesIO()
    torch.save(laid_out, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(laid_out),
        pickle.loads(pickle.dumps(laid_out)),
        torch.load(file, weights_only=False),
    ):
        assert torch.equal(scores(twin), expected)
    fresh = decoder(seed=5)
    fresh.load_state_dict(laid_out.state_dict())
    assert torch.equal(scores(fresh), scores(model))


def add_and_merge(model):
    add_lora(model, ["W_q", "W_v", "W_out", "head"], 4, 16)
    for layer in lora_layers(model).values():
        nn.init.normal_(layer.lora_B, std=0.5, generator=seeded())
    merge_lora(model)


def optimizer_steps(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(IDS)[:, :-1].float().flatten(0, 1), IDS[:, 1:].flatten()).backward()
        optimizer.step()


def shuffled(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-0.5)


def in_inference_mode(model):
    with torch.inference_mode():
        for parameter in model.parameters():
            parameter.mul_(-0.5)


CHANGES = {
    "optimizer": optimizer_steps,
    "in place": shuffled,
    "in place, inference mode": in_inference_mode,
    "load": lambda model: model.load_state_dict(
        decoder(seed=9, dtype=next(model.parameters()).dtype).state_dict()
    ),
    "load, assign": lambda model: model.load_state_dict(
        decoder(seed=9, dtype=next(model.parameters()).dtype).state_dict(), assign=True
    ),
    "merge": add_and_merge,
    "merge and back": lambda model: (add_and_merge(model), unmerge_lora(model)),
    "to and fro": lambda model: model.double().bfloat16(),
    "float32": lambda model: model.float(),
    "new parameter": lambda model: setattr(model.head, "weight", nn.Parameter(-model.head.weight.detach())),
    "new data": lambda model: setattr(model.head.weight, "data", -model.head.weight.data),
    "quantize": lambda model: quantize_model(model, 8, include_tied=True, progress=False),
}


@packs
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_stale_after_a_change(change):
    model = decoder()
    laid_out = lay_out_for_decoding(copy.deepcopy(model))
    before = scores(laid_out)
    for each in (model, laid_out):
        torch.manual_seed(0)
        CHANGES[change](each)
    torch.testing.assert_close(scores(laid_out).float(), scores(model).float(), rtol=0.05, atol=0.15)
    if change not in ("to and fro", "float32", "quantize", "merge and back"):
        assert (scores(laid_out) - before).abs().max() > 0.5


@packs
@pytest.mark.parametrize("change", ["in place", "in place, inference mode", "load"])
def test_a_recorded_step_follows_the_weights_too(change):
    """What is recorded is an operator of torch on the weight itself; it looks for the copy at every call."""
    layer = nn.Linear(32, 48).bfloat16().requires_grad_(False)
    layer.__class__ = PackedLinear
    X = torch.randn(2, 32, generator=seeded()).bfloat16()
    with torch.no_grad():
        recorded = torch.jit.trace(lambda X: layer(X), (X,), check_trace=False)
    assert torch.equal(recorded(X), layer(X))
    if change == "load":
        layer.load_state_dict(nn.Linear(32, 48).bfloat16().state_dict())
    else:
        CHANGES[change](layer)
    assert_close(recorded(X), F.linear(X, layer.weight, layer.bias))
    assert_close(recorded(-X[:1]), F.linear(-X[:1], layer.weight, layer.bias))


@packs
def test_torch_compile_takes_the_operator():
    """The layer itself is watched for its shapes in these tests, which torch.compile does not take."""
    W, b = torch.randn(48, 32, generator=seeded()).bfloat16(), torch.zeros(48).bfloat16()
    compiled = torch.compile(
        lambda X: F.gelu(torch.ops.lecture_lib.packed_linear(X, [W], [b])),
        backend="aot_eager",
        fullgraph=True,
    )
    with torch.no_grad():
        for rows in (1, 3):
            X = torch.randn(rows, 32, generator=seeded()).bfloat16()
            assert_close(compiled(X), F.gelu(F.linear(X, W, b)))


@pytest.mark.slow
@packs
def test_copies_go_with_their_weights():
    gc.collect()
    before = len(packed._copies)
    model = lay_out_for_decoding(decoder())
    scores(model)
    assert len(packed._copies) > before
    del model
    gc.collect()
    assert len(packed._copies) == before


@packs
def test_writing_through_data_is_not_seen_until_the_model_is_laid_out_again():
    """The one change that torch does not count; the docstrings say so."""
    model = lay_out_for_decoding(decoder())
    scores(model)
    plain = copy.deepcopy(model)
    for each in (model, plain):
        each.head.weight.data.mul_(-1)
    assert_close(scores(lay_out_for_decoding(model)), scores(plain))


@packs
def test_training_a_laid_out_model_gives_the_gradients_of_the_plain_one():
    model = decoder()
    laid_out = lay_out_for_decoding(copy.deepcopy(model))
    scores(laid_out)
    for each in (model, laid_out):
        F.cross_entropy(each(IDS)[:, :-1].float().flatten(0, 1), IDS[:, 1:].flatten()).backward()
    for ours, theirs in zip(laid_out.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


@packs
def test_hooks_run():
    model, seen = decoder(), []
    lay_out_for_decoding(model)
    attention = model.stack.layers[0].attention
    attention.W_k.register_forward_hook(lambda *_: seen.append("W_k"))
    model.head.register_forward_pre_hook(lambda *_: seen.append("head"))
    scores(model)
    assert seen == ["W_k", "head"]


def test_float32_is_stored_in_out_and_stays_the_same():
    model = decoder(dtype=torch.float32)
    laid_out = lay_out_for_decoding(copy.deepcopy(model))
    assert all(type(m) is nn.Linear for m in laid_out.modules() if isinstance(m, nn.Linear))
    assert (
        laid_out.head.weight.stride() == (1, 37) and laid_out.head.weight is laid_out.embedding.tokens.weight
    )
    assert_close(scores(laid_out), scores(model))
    assert_close(scores(lay_out_for_decoding(laid_out)), scores(model))


@packs
def test_a_model_may_change_its_dtype_and_be_laid_out_again():
    model = decoder()
    laid_out = lay_out_for_decoding(copy.deepcopy(model))
    lay_out_for_decoding(laid_out.float())
    assert all(type(m) is nn.Linear for m in laid_out.modules() if isinstance(m, nn.Linear))
    assert_close(scores(laid_out), scores(model.float()))


def test_where_the_processor_gains_nothing_all_stays_plain(monkeypatch):
    monkeypatch.setattr("lecture_lib.kv_cache.layout.has_packed_bfloat16", lambda: False)
    model = decoder()
    laid_out = lay_out_for_decoding(copy.deepcopy(model))
    assert all(type(m) is nn.Linear for m in laid_out.modules() if isinstance(m, nn.Linear))
    assert torch.equal(scores(laid_out), scores(model))
    monkeypatch.setattr(
        packed, "has_packed_bfloat16", lambda: False
    )  # a model that came from another processor
    for module in laid_out.modules():
        if type(module) is nn.Linear:
            module.__class__ = PackedLinear
    assert torch.equal(scores(laid_out), scores(model))


@pytest.mark.parametrize(
    "way", [{"bits": 8}, {"bits": 8, "activations": 8}, {"bits": 4, "group_size": 32}], ids=str
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_quantized_maps_side_by_side(way, dtype):
    model = quantize_model(decoder(dtype=dtype), **way, include_tied=True, progress=False)
    laid_out = lay_out_for_decoding(copy.deepcopy(model))
    assert isinstance(laid_out.stack.layers[0].attention.in_one, PackedSideBySide)
    assert type(laid_out.stack.layers[0].attention.W_q) is QuantizedLinear
    torch.testing.assert_close(scores(laid_out), scores(model), rtol=0.02, atol=0.1)
    other = quantize_model(decoder(seed=4, dtype=dtype), **way, include_tied=True, progress=False)
    laid_out.load_state_dict(other.state_dict())
    torch.testing.assert_close(scores(laid_out), scores(other), rtol=0.02, atol=0.1)


@packs
def test_weights_made_in_inference_mode_are_not_remembered():
    """torch counts no changes of theirs."""
    with torch.inference_mode():
        model = lay_out_for_decoding(decoder())
        plain = decoder()
        for each in (model, plain):
            scores(each)
            for parameter in each.parameters():
                parameter.mul_(-0.5)
        assert_close(scores(model), scores(plain))
