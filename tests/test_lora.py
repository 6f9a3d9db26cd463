"""LoRA: against peft, on transformers' models, plain torch modules and quantized bases; adapters on disk both ways."""

import copy
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lecture_lib.lora import (
    LoRAEmbedding,
    LoRALinear,
    add_lora,
    count_parameters,
    load_lora,
    lora_layers,
    lora_parameters,
    merge_lora,
    save_lora,
    unmerge_lora,
)
from lecture_lib.pretrained import load_pretrained, save_pretrained

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
from safetensors.torch import load_file, save_file  # noqa: E402


def gpt2(seed=0, width=12):
    config = transformers.GPT2Config(
        vocab_size=31,
        n_positions=16,
        n_embd=width,
        n_layer=2,
        n_head=3,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.2,
    )
    torch.manual_seed(seed)
    return transformers.GPT2LMHeadModel(config).eval()


def llama(seed=0):
    config = transformers.LlamaConfig(
        vocab_size=29, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=16, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(seed)
    return transformers.LlamaForCausalLM(config).eval()


def bert(seed=0):
    config = transformers.BertConfig(
        vocab_size=29, hidden_size=12, intermediate_size=20, num_hidden_layers=1, num_attention_heads=3,
        max_position_embeddings=16, num_labels=5, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(seed)
    return transformers.BertForSequenceClassification(config).eval()


FAMILIES = {
    "gpt2": (gpt2, ["c_attn", "mlp.c_proj"]),
    "llama": (llama, r"model\.layers\.\d+\.(self_attn\.[qv]_proj|mlp\.down_proj)"),
    "bert": (bert, ["query", "value", "intermediate.dense"]),
    "all linear": (gpt2, "all-linear"),
}
IDS = torch.randint(29, (2, 7), generator=seeded())


def perceptron(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 4, bias=False)).to(dtype)


def train_by_hand(model, seed=1, scale=0.3):
    """Updates as after a training: every matrix random, so that the order of factors and axes matters."""
    with torch.no_grad():
        for matrix in lora_parameters(model):
            matrix.copy_(scale * torch.randn(matrix.shape, generator=seeded(seed)))
    return model


def peft_twin(model, ours, **options):
    """peft's model around a copy of the same base with the matrices of ours."""
    twin = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(**options)).eval()
    layers = lora_layers(ours)
    theirs = {
        name.removeprefix("base_model.model."): module
        for name, module in twin.named_modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    }
    assert sorted(theirs) == sorted(layers)
    with torch.no_grad():
        for name, layer in layers.items():
            theirs[name].lora_A["default"].weight.copy_(layer.lora_A)
            theirs[name].lora_B["default"].weight.copy_(layer.lora_B)
    return twin


def assert_equal(ours, theirs):
    """float64 leaves no room: two libraries that compute the same differ by rounding alone."""
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


# The lecture: W_0 + AB, the update of low rank beside a frozen matrix


def test_worked_example():
    base = nn.Linear(2, 3, bias=False)
    W_0, A, B = (
        torch.tensor([[1.0, 2, 3], [4, 5, 6]]),
        torch.tensor([[1.0], [2]]),
        torch.tensor([[1.0, 0, -1]]),
    )
    with torch.no_grad():
        base.weight.copy_(W_0.T)
    layer = LoRALinear(base, r=1, lora_alpha=2)
    X = torch.tensor([[1.0, 1.0]])
    torch.testing.assert_close(layer(X), torch.tensor([[5.0, 7, 9]]))  # B = 0: the pre-trained layer
    with torch.no_grad():
        layer.lora_A.copy_(A.T)
        layer.lora_B.copy_(B.T)
    torch.testing.assert_close(layer(X), X @ (W_0 + 2 / 1 * A @ B))
    torch.testing.assert_close(layer(X), torch.tensor([[11.0, 7, 3]]))
    torch.testing.assert_close(layer.weight, torch.tensor([[3.0, 8], [2, 5], [1, 2]]))


def test_training_moves_the_update_alone():
    model = add_lora(perceptron(), ["0", "2"], r=3, lora_alpha=6, generator=seeded())
    before = copy.deepcopy(model.state_dict())
    X, Y = torch.randn(8, 6, generator=seeded(1)), torch.randn(8, 4, generator=seeded(2))
    optimizer = torch.optim.AdamW(lora_parameters(model), lr=0.01)
    losses = []
    for _ in range(60):
        loss = F.mse_loss(model(X), Y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"0.lora_A", "0.lora_B", "2.lora_A", "2.lora_B"}


def test_counts():
    """r (D_in + D_out) for each adapted layer and no more; BERT-large on the meta device."""
    assert count_parameters(add_lora(perceptron(), ["0"], r=2, lora_alpha=1)) == (2 * (6 + 10), 70 + 40 + 32)
    with torch.device("meta"):
        large = transformers.BertModel(transformers.BertConfig(
            hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096
        ))  # fmt: skip
    trainable, total = count_parameters(add_lora(large, ["query", "value"], r=8, lora_alpha=16))
    assert trainable == 24 * 2 * 8 * 2048
    assert total - trainable == sum(p.numel() for p in large.parameters()) - trainable == 335_141_888


# Against peft


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("use_rslora", [False, True])
def test_outputs_are_those_of_peft(family, use_rslora):
    make, targets = FAMILIES[family]
    model = make().double()
    ours = train_by_hand(add_lora(copy.deepcopy(model), targets, r=3, lora_alpha=5, use_rslora=use_rslora))
    theirs = peft_twin(model, ours, target_modules=targets, r=3, lora_alpha=5, use_rslora=use_rslora)
    assert_equal(logits(ours), logits(theirs))
    assert (logits(ours) - logits(model)).abs().max() > 1e-3
    assert count_parameters(ours) == theirs.get_nb_trainable_parameters()
    torch.testing.assert_close(
        logits(merge_lora(ours)), logits(theirs.merge_and_unload()), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_are_those_of_peft_in_float32(family):
    make, targets = FAMILIES[family]
    model = make()
    ours = train_by_hand(add_lora(copy.deepcopy(model), targets, r=3, lora_alpha=5), scale=0.1)
    theirs = peft_twin(model, ours, target_modules=targets, r=3, lora_alpha=5)
    torch.testing.assert_close(logits(ours), logits(theirs), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_gradients_and_steps_are_those_of_peft(family):
    make, targets = FAMILIES[family]
    model = make().double()
    ours = train_by_hand(add_lora(copy.deepcopy(model), targets, r=3, lora_alpha=5))
    theirs = peft_twin(model, ours, target_modules=targets, r=3, lora_alpha=5)
    optimizers = [
        torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr=0.01) for m in (ours, theirs)
    ]
    for _ in range(4):
        losses = [F.cross_entropy(m(input_ids=IDS).logits.mT, IDS) for m in (ours, theirs)]
        assert_equal(*losses)
        for loss, optimizer in zip(losses, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, layer in lora_layers(ours).items():
        other = theirs.get_submodule(f"base_model.model.{name}")
        assert_equal(layer.lora_A, other.lora_A["default"].weight)
        assert_equal(layer.lora_B, other.lora_B["default"].weight)


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_loads_what_was_saved_here(family, tmp_path):
    make, targets = FAMILIES[family]
    model = make().double()
    ours = train_by_hand(add_lora(copy.deepcopy(model), targets, r=3, lora_alpha=5, lora_dropout=0.25))
    save_lora(ours.eval(), tmp_path)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path)
    assert_equal(logits(ours), logits(theirs))
    loaded = load_lora(copy.deepcopy(model), tmp_path)
    assert torch.equal(logits(loaded), logits(ours))
    assert {layer.lora_dropout for layer in lora_layers(loaded).values()} == {0.25}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


PEFT_OPTIONS = {
    "plain": {"target_modules": ["c_attn", "c_fc"]},
    "rank larger than the widths": {"target_modules": ["c_attn"], "r": 40},
    "root of the rank": {"target_modules": "all-linear", "use_rslora": True},
    "patterns": {
        "target_modules": ["c_attn", "c_fc", "c_proj"],
        "rank_pattern": {"c_fc": 2, r"h\.1\.attn\.c_attn": 6},
        "alpha_pattern": {r"^transformer\.h\.0\..*": 9, "c_fc": 3},
    },
    "chosen layers": {"target_modules": ["c_attn"], "layers_to_transform": [1], "layers_pattern": "h"},
    "excluded": {"target_modules": ["c_attn", "c_proj"], "exclude_modules": r".*mlp.*"},
    "gaussian": {"target_modules": ["c_fc"], "init_lora_weights": "gaussian"},
    "output head trained in full": {"target_modules": ["c_attn"], "modules_to_save": ["ln_f"]},
}


@pytest.mark.parametrize("options", PEFT_OPTIONS.values(), ids=PEFT_OPTIONS.keys())
def test_what_peft_saved_is_loaded_and_saved_again(options, tmp_path):
    model = gpt2().double()
    theirs = peft.get_peft_model(
        copy.deepcopy(model), peft.LoraConfig(**({"r": 4, "lora_alpha": 5} | options))
    ).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            if p.requires_grad:
                p.copy_(0.3 * torch.randn(p.shape, generator=seeded(3)))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_lora(copy.deepcopy(model), tmp_path / "theirs")
    assert_equal(logits(ours), logits(theirs))
    assert count_parameters(ours)[0] == theirs.get_nb_trainable_parameters()[0]
    save_lora(ours, tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path / "ours")
    assert_equal(logits(again), logits(theirs))


def test_a_new_head_is_trained_and_saved_beside_the_updates(tmp_path):
    model = bert().double()
    ours = add_lora(copy.deepcopy(model), "all-linear", r=2, lora_alpha=4, modules_to_save=["classifier"])
    assert not isinstance(ours.classifier, LoRALinear) and ours.classifier.weight.requires_grad
    train_by_hand(ours)
    nn.init.normal_(ours.classifier.weight, generator=seeded(4))
    save_lora(ours, tmp_path)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path)
    assert_equal(logits(ours), logits(theirs))
    loaded = load_lora(copy.deepcopy(model), tmp_path)
    assert torch.equal(logits(loaded), logits(ours))
    assert count_parameters(loaded) == count_parameters(ours)


def test_the_start_is_that_of_peft():
    """A uniform within 1/sqrt(D_in), B zero: nothing changes, and A has the same spread as peft's."""
    base = nn.Linear(50, 30)
    ours = LoRALinear(base, r=20, lora_alpha=1, generator=seeded()).lora_A
    theirs = peft.tuners.lora.Linear(
        nn.Linear(50, 30), "a", peft.LoraConfig(), r=20, lora_alpha=1
    ).lora_A["a"].weight  # fmt: skip
    for A in (ours, theirs):
        assert A.abs().max() <= 1 / math.sqrt(50)
        assert A.std().item() == pytest.approx(1 / math.sqrt(3 * 50), rel=0.1)
    again = LoRALinear(base, r=20, lora_alpha=1, generator=seeded()).lora_A
    assert torch.equal(ours, again)


# Properties


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.sampled_from(["linear", "conv1d"]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]), st.lists(st.integers(1, 3), max_size=2),
)  # fmt: skip
def test_layer_equals_its_effective_weight(d_in, d_out, r, kind, dtype, batch):
    r = min(r, d_in, d_out)
    base = nn.Linear(d_in, d_out) if kind == "linear" else transformers.pytorch_utils.Conv1D(d_out, d_in)
    layer = LoRALinear(base.to(dtype), r, lora_alpha=3.0)
    X = torch.randn(*batch, d_in, generator=seeded()).to(dtype)
    assert torch.equal(layer(X), base(X))
    train_by_hand(layer)
    W = layer.weight if kind == "linear" else layer.weight.t()
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.1}[dtype]
    torch.testing.assert_close(layer(X), F.linear(X, W, layer.bias), atol=tolerance, rtol=tolerance)
    assert layer(X).dtype == dtype
    assert (
        torch.linalg.matrix_rank(
            (layer.weight - base.weight).double(), rtol=1e-1 if dtype == torch.bfloat16 else 1e-4
        )
        <= r
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_is_a_plain_model_and_unmerging_is_exact(dtype):
    model = gpt2().to(dtype)
    names = list(model.state_dict())
    ours = train_by_hand(add_lora(copy.deepcopy(model), ["c_attn", "c_fc"], r=3, lora_alpha=5))
    adapted, outputs = copy.deepcopy(ours.state_dict()), logits(ours)
    merge_lora(ours)
    assert list(ours.state_dict()) == names and not lora_layers(ours)
    tolerance = 1e-6 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(logits(ours), outputs, atol=tolerance, rtol=tolerance)
    clone = copy.deepcopy(ours)
    for merged in (ours, clone):
        unmerge_lora(merged)
        assert list(merged.state_dict()) == list(adapted)
        assert all(torch.equal(value, adapted[name]) for name, value in merged.state_dict().items())
        assert torch.equal(logits(merged), outputs)
        assert all(matrix.requires_grad for matrix in lora_parameters(merged))


def test_merging_leaves_tied_weights_alone():
    model = gpt2()
    ours = train_by_hand(add_lora(copy.deepcopy(model), ["lm_head"], r=2, lora_alpha=4))
    outputs = logits(ours)
    merge_lora(ours)
    torch.testing.assert_close(logits(ours), outputs, atol=1e-6, rtol=1e-6)
    assert torch.equal(ours.transformer.wte.weight, model.transformer.wte.weight)
    unmerge_lora(ours)
    assert ours.lm_head.base_layer.weight is ours.transformer.wte.weight


def test_a_merged_model_may_move_before_it_is_unmerged():
    model = train_by_hand(add_lora(perceptron(), ["0"], r=2, lora_alpha=4)).eval()
    merge_lora(model).to(torch.float64)
    unmerge_lora(model)
    assert model[0].base_layer.weight.dtype == torch.float64
    assert model(torch.zeros(1, 6, dtype=torch.float64)).dtype == torch.float64


def test_merging_for_good_allows_the_next_update():
    model = train_by_hand(add_lora(perceptron(), ["0"], r=2, lora_alpha=4))
    X = torch.randn(3, 6, generator=seeded())
    outputs = model(X)
    merge_lora(model, reversible=False)
    with pytest.raises(ValueError, match="nothing to unmerge"):
        unmerge_lora(model)
    add_lora(model, ["0"], r=1, lora_alpha=1)
    torch.testing.assert_close(model(X), outputs, atol=1e-6, rtol=1e-6)


def test_modules_that_read_the_weights_are_adapted_too():
    """nn.MultiheadAttention never calls its out_proj: its weight has to hold the update, with gradients."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(6, 2, batch_first=True)
    model = train_by_hand(add_lora(nn.ModuleDict({"attention": attention}), ["out_proj"], r=2, lora_alpha=4))
    X = torch.randn(2, 5, 6, generator=seeded())
    outputs = model["attention"](X, X, X)[0]
    outputs.sum().backward()
    assert all(matrix.grad.abs().sum() > 0 for matrix in lora_parameters(model))
    torch.testing.assert_close(merge_lora(model)["attention"](X, X, X)[0], outputs, atol=1e-6, rtol=1e-6)


class Halves(nn.Module):
    """A quantized layer as LoRA sees it: widths, integer codes, a scale, a differentiable forward."""

    def __init__(self, linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("codes", (linear.weight.detach() * 2).round().to(torch.int8))
        self.register_buffer("scale", torch.tensor(0.5, dtype=linear.weight.dtype))
        self.bias = linear.bias

    def forward(self, X):
        return F.linear(X, self.codes.to(X.dtype) * self.scale, self.bias)


def test_over_a_quantized_base(tmp_path):
    model = perceptron(torch.float64)
    model[0], model[2] = Halves(model[0]), Halves(model[2])
    X = torch.randn(5, 6, dtype=torch.float64, generator=seeded())
    before = model(X)
    add_lora(model, ["0", "2"], r=2, lora_alpha=4)
    assert torch.equal(model(X), before)
    assert {matrix.dtype for matrix in lora_parameters(model)} == {torch.float64}
    train_by_hand(model)(X).sum().backward()
    assert all(matrix.grad is not None for matrix in lora_parameters(model))
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"0 \(Halves\) has no floating-point weight to merge into"):
        merge_lora(model)
    assert list(model.state_dict()) == list(state)
    save_lora(model, tmp_path)
    fresh = perceptron(torch.float64)
    fresh[0], fresh[2] = Halves(fresh[0]), Halves(fresh[2])
    assert torch.equal(load_lora(fresh, tmp_path)(X), model(X))


def test_over_this_librarys_quantized_layers():
    quantization = pytest.importorskip("lecture_lib.quantization")
    model = quantization.quantize_model(
        nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64)), bits=8
    )
    X = torch.randn(5, 64, generator=seeded())
    before = model(X)
    add_lora(model, ["0", "2"], r=2, lora_alpha=4)
    torch.testing.assert_close(model(X), before, atol=1e-5, rtol=1e-5)
    train_by_hand(model)(X).sum().backward()
    assert all(matrix.grad.abs().sum() > 0 for matrix in lora_parameters(model))
    with pytest.raises(ValueError, match="no floating-point weight"):
        merge_lora(model)


def test_on_this_librarys_decoder(tmp_path):
    decoder, transformer = (
        pytest.importorskip("lecture_lib.decoder"),
        pytest.importorskip("lecture_lib.transformer"),
    )
    torch.manual_seed(0)
    config = transformer.ModelConfig(vocab_size=31, d_model=12, n_heads=3, n_layers=2, context_length=16)
    model = decoder.Decoder(config).double().eval()
    ours = train_by_hand(add_lora(copy.deepcopy(model), ["W_q", "W_v", "W_in"], r=2, lora_alpha=4))
    save_lora(ours, tmp_path)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path)
    assert_equal(ours(IDS), theirs(IDS))
    assert_equal(merge_lora(ours)(IDS), theirs(IDS))


@pytest.mark.slow
def test_dropout_acts_on_the_update_while_training_only():
    model = train_by_hand(add_lora(perceptron().eval(), ["0"], r=2, lora_alpha=4, lora_dropout=0.5))
    X = torch.randn(64, 6, generator=seeded())
    assert torch.equal(model(X), model(X))  # added to a model in evaluation mode, it stays in it
    model.train()
    assert not torch.equal(model(X), model(X))
    mean = torch.stack([model[0](X) for _ in range(400)]).mean(0)
    torch.testing.assert_close(mean, model.eval()[0](X), atol=0.5, rtol=0.1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_float32_updates_on_a_half_precision_base(dtype, tmp_path):
    """peft's autocast_adapter_dtype: the base in half precision, the matrices in float32."""
    model = gpt2().to(dtype)
    ours = train_by_hand(add_lora(copy.deepcopy(model), ["c_attn", "wte"], r=2, lora_alpha=4))
    assert {matrix.dtype for matrix in lora_parameters(ours)} == {torch.float32}
    save_lora(ours, tmp_path)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path)
    assert logits(ours).dtype == dtype
    torch.testing.assert_close(logits(ours), logits(theirs), atol=0.05, rtol=0.05)
    loaded = load_lora(copy.deepcopy(model), tmp_path)
    assert torch.equal(logits(loaded), logits(ours))
    assert {matrix.dtype for matrix in lora_parameters(loaded)} == {torch.float32}
    for plain in (
        add_lora(copy.deepcopy(model), ["c_attn"], r=2, lora_alpha=4, autocast_adapter_dtype=False),
        load_lora(copy.deepcopy(model), tmp_path, autocast_adapter_dtype=False),
    ):
        assert {matrix.dtype for matrix in lora_parameters(plain)} == {dtype}


def test_endings_are_compared_part_by_part():
    model = nn.ModuleDict(
        {"proj": nn.Linear(3, 2), "out_proj": nn.Linear(3, 2), "a": nn.ModuleDict({"proj": nn.Linear(3, 2)})}
    )
    assert list(lora_layers(add_lora(copy.deepcopy(model), ["proj"], r=1, lora_alpha=1))) == [
        "proj",
        "a.proj",
    ]
    assert list(lora_layers(add_lora(copy.deepcopy(model), ["a.proj"], r=1, lora_alpha=1))) == ["a.proj"]
    assert list(lora_layers(add_lora(copy.deepcopy(model), "proj", r=1, lora_alpha=1))) == ["proj"]


@pytest.mark.parametrize("pattern", ["proj", r"a\.proj|out_proj", ".*"])
def test_any_choice_of_layers_survives_the_files(pattern, tmp_path):
    """Even one that no list of endings can say: `proj` alone, beside `a.proj`."""
    nested = nn.ModuleDict({"proj": nn.Linear(3, 2)})
    model = nn.ModuleDict({"proj": nn.Linear(3, 2), "out_proj": nn.Linear(3, 2), "a": nested})
    targets = pattern if pattern != ".*" else "all-linear"
    ours = train_by_hand(add_lora(copy.deepcopy(model), targets, r=1, lora_alpha=1))
    save_lora(ours, tmp_path)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path)
    names = [
        n for n, m in theirs.base_model.model.named_modules() if isinstance(m, peft.tuners.lora.LoraLayer)
    ]
    assert sorted(names) == sorted(lora_layers(ours)) == sorted(lora_layers(load_lora(model, tmp_path)))


def test_different_ranks_and_strengths_survive_the_files(tmp_path):
    model = perceptron()
    ours = copy.deepcopy(model)
    ours[0], ours[2] = LoRALinear(ours[0], 3, lora_alpha=5), LoRALinear(ours[2], 1, lora_alpha=7)
    train_by_hand(ours)
    save_lora(ours, tmp_path)
    X = torch.randn(3, 6, generator=seeded())
    torch.testing.assert_close(load_lora(copy.deepcopy(model), tmp_path)(X), ours(X))
    torch.testing.assert_close(peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path)(X), ours(X))


def test_the_files_hold_plain_float_matrices_of_peft(tmp_path):
    save_lora(add_lora(gpt2(), ["c_attn"], r=2, lora_alpha=4), tmp_path / "new" / "folder")
    tensors = load_file(tmp_path / "new" / "folder" / "adapter_model.safetensors")
    assert tuple(tensors["base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"].shape) == (2, 12)
    assert tuple(tensors["base_model.model.transformer.h.1.attn.c_attn.lora_B.weight"].shape) == (36, 2)
    assert len(tensors) == 4
    config = json.loads((tmp_path / "new" / "folder" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["c_attn"] and config["fan_in_fan_out"] is True


def test_an_interrupted_save_keeps_the_old_adapter(tmp_path, monkeypatch):
    model = train_by_hand(add_lora(perceptron(), ["0"], r=2, lora_alpha=4))
    save_lora(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_lora(train_by_hand(model, seed=9), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# Tables, heads, tied weights, modules with two names


def tied_llama(tied=True, qwen=False):
    sizes = {
        "vocab_size": 31, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 2,
        "num_attention_heads": 3, "num_key_value_heads": 1, "max_position_embeddings": 16,
        "initializer_range": 0.2, "tie_word_embeddings": tied,
    }  # fmt: skip
    torch.manual_seed(0)
    if qwen:
        return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes)).eval()
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)).eval()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("targets", [["embed_tokens"], ["lm_head"], ["embed_tokens", "lm_head", "q_proj"]])
def test_tables_and_heads_are_adapted_as_by_peft(tied, targets, tmp_path):
    model = tied_llama(tied).double()
    theirs = peft.get_peft_model(
        copy.deepcopy(model), peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets)
    ).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            if p.requires_grad:
                p.copy_(0.3 * torch.randn(p.shape, generator=seeded(3)))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_lora(copy.deepcopy(model), tmp_path / "theirs")
    assert_equal(logits(ours), logits(theirs))
    save_lora(ours, tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path / "ours")
    assert_equal(logits(again), logits(theirs))
    outputs = logits(ours)
    torch.testing.assert_close(logits(merge_lora(ours)), outputs, atol=1e-6, rtol=1e-6)
    assert ours.lm_head.weight is not ours.model.embed_tokens.weight
    unmerge_lora(ours)
    assert torch.equal(logits(ours), outputs)
    table, head = ours.get_input_embeddings(), ours.get_output_embeddings()
    plain = [getattr(module, "base_layer", module).weight for module in (table, head)]
    assert (plain[0] is plain[1]) == tied


def test_the_start_of_a_table_is_that_of_peft():
    model = tied_llama()
    ours = add_lora(copy.deepcopy(model), ["embed_tokens"], r=3, lora_alpha=5, generator=seeded())
    layer = ours.model.embed_tokens
    assert isinstance(layer, LoRAEmbedding) and not layer.lora_A.any()
    assert layer.lora_B.std().item() == pytest.approx(1, rel=0.3)
    assert torch.equal(logits(ours), logits(model))
    logits_with_gradient = ours(input_ids=IDS).logits
    logits_with_gradient.sum().backward()
    assert layer.lora_A.grad is not None and layer.base_layer.weight.grad is None


@pytest.mark.parametrize("module", ["embed_tokens", "lm_head"])
def test_modules_to_save_on_a_tied_model_mean_what_they_mean_in_peft(module, tmp_path):
    """A copy of its own is trained; what shared the weight keeps the old numbers."""
    model = tied_llama().double()
    theirs = peft.get_peft_model(
        copy.deepcopy(model),
        peft.LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj"], modules_to_save=[module]),
    ).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            if p.requires_grad:
                p.copy_(0.3 * torch.randn(p.shape, generator=seeded(3)))
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_lora(copy.deepcopy(model), tmp_path / "theirs")
    assert_equal(logits(ours), logits(theirs))
    assert count_parameters(ours)[0] == theirs.get_nb_trainable_parameters()[0]
    save_lora(ours, tmp_path / "ours")
    assert_equal(
        logits(peft.PeftModel.from_pretrained(copy.deepcopy(model), tmp_path / "ours")), logits(theirs)
    )
    fresh = add_lora(copy.deepcopy(model), ["q_proj"], 3, 5, modules_to_save=[module])
    assert torch.equal(logits(fresh), logits(model))
    assert fresh.lm_head.weight is not fresh.model.embed_tokens.weight
    assert [fresh.lm_head.weight.requires_grad, fresh.model.embed_tokens.weight.requires_grad] == [
        module == "lm_head", module == "embed_tokens"
    ]  # fmt: skip


def test_weights_that_are_to_stay_tied_stay_tied(tmp_path):
    model = tied_llama().double()
    options = {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}
    theirs = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=3, lora_alpha=5, **options)).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            if p.requires_grad:
                p.copy_(0.3 * torch.randn(p.shape, generator=seeded(3)))
    theirs.save_pretrained(tmp_path)
    ours = load_lora(copy.deepcopy(model), tmp_path)
    assert_equal(logits(ours), logits(theirs))
    assert ours.lm_head.weight is ours.model.embed_tokens.weight and ours.lm_head.weight.requires_grad


def test_all_linear_leaves_the_head_out_as_peft_does():
    for make in (tied_llama, lambda: tied_llama(False), gpt2):
        model = make()
        theirs = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(target_modules="all-linear"))
        names = [
            n for n, m in theirs.base_model.model.named_modules() if isinstance(m, peft.tuners.lora.LoraLayer)
        ]
        assert list(lora_layers(add_lora(model, "all-linear", 2, 4))) == names


class Twice(nn.Module):
    """One layer under two names, and used under both."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.block = nn.ModuleDict({"second": self.first})

    def forward(self, X):
        return self.block["second"](F.gelu(self.first(X)))


@pytest.mark.parametrize("name", ["first", "second", "block.second"])
def test_a_module_under_two_names_is_adapted_under_both(name, tmp_path):
    torch.manual_seed(0)
    model, X = Twice().double(), torch.randn(3, 4, dtype=torch.float64, generator=seeded())
    ours = train_by_hand(add_lora(copy.deepcopy(model), [name], r=2, lora_alpha=4))
    assert ours.first is ours.block["second"] and len(lora_layers(ours)) == 1
    outputs = ours(X)
    save_lora(ours, tmp_path)
    assert_equal(load_lora(copy.deepcopy(model), tmp_path)(X), outputs)
    assert_equal(merge_lora(ours)(X), outputs)
    assert ours.first is ours.block["second"]
    assert torch.equal(unmerge_lora(ours)(X), outputs)


def test_numbers_of_numpy(tmp_path):
    model = add_lora(
        perceptron(), ["0"], r=np.int64(2), lora_alpha=np.float32(4), lora_dropout=np.float64(0.5)
    )
    save_lora(model, tmp_path)
    assert (model[0].r, model[0].lora_alpha, model[0].lora_dropout) == (2, 4.0, 0.5)
    assert lora_layers(load_lora(perceptron(), tmp_path)).keys() == {"0"}


def test_wrapped_models(tmp_path):
    model = perceptron()
    X = torch.randn(3, 6, generator=seeded())
    wrapped = nn.DataParallel(model)
    train_by_hand(add_lora(wrapped, ["0"], r=2, lora_alpha=4))
    outputs = wrapped(X)
    save_lora(wrapped, tmp_path)
    assert torch.equal(load_lora(perceptron(), tmp_path)(X), outputs)
    torch.testing.assert_close(merge_lora(wrapped)(X), outputs, atol=1e-6, rtol=1e-6)


# The models of this library and those of transformers share adapters


def bert_words():
    config = transformers.BertConfig(
        vocab_size=31, hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
        max_position_embeddings=16, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.BertForMaskedLM(config).eval()


def marian():
    config = transformers.MarianConfig(
        vocab_size=31, d_model=12, encoder_layers=1, decoder_layers=1, encoder_attention_heads=3,
        decoder_attention_heads=3, encoder_ffn_dim=20, decoder_ffn_dim=20, max_position_embeddings=16,
        pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, init_std=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.MarianMTModel(config).eval()


SHARED = {
    "llama": (tied_llama, ["q_proj", "v_proj", "up_proj", "down_proj"], {}),
    "llama, head and table": (tied_llama, ["embed_tokens", "lm_head", "o_proj"], {}),
    "llama, untied": (lambda: tied_llama(False), ["embed_tokens", "lm_head", "gate_proj"], {}),
    "llama, head in full": (tied_llama, ["q_proj"], {"modules_to_save": ["lm_head"]}),
    "llama, table in full": (tied_llama, ["k_proj"], {"modules_to_save": ["embed_tokens"]}),
    "llama, patterns": (
        tied_llama, ["q_proj", "k_proj"],
        {"rank_pattern": {"k_proj": 2}, "alpha_pattern": {r"layers\.0\.self_attn\.q_proj": 9}},
    ),
    "qwen": (lambda: tied_llama(qwen=True), "all-linear", {"use_rslora": True}),
    "gpt2": (gpt2, ["c_attn"], {}),
    "gpt2, all": (gpt2, ["c_attn", "c_proj", "c_fc", "wte", "lm_head"], {"use_rslora": True}),
    "gpt2, in full": (gpt2, ["c_attn"], {"modules_to_save": ["c_fc", "ln_f"]}),
    "gpt2, attention in full": (gpt2, ["c_fc"], {"modules_to_save": ["c_attn"]}),
    "bert": (bert_words, ["query", "value", "output.dense", "word_embeddings"], {}),
    "bert, head in full": (bert_words, ["key"], {"modules_to_save": ["decoder"]}),
    "marian": (marian, ["q_proj", "fc1", "out_proj"], {}),
}  # fmt: skip


def ids_to_scores(model):
    """Logits of either library's model."""
    with torch.no_grad():
        if hasattr(model, "get_output_embeddings") or isinstance(model, peft.PeftModel):
            more = {"decoder_input_ids": IDS} if model.config.model_type == "marian" else {}
            return model(input_ids=IDS, **more).logits
        return model(IDS, IDS) if hasattr(model, "decoder") else model(IDS)


def assert_close(ours, theirs):
    """Two implementations of a model: transformers turns queries and keys in float32, whatever the dtype."""
    torch.testing.assert_close(ours, theirs, atol=3e-6, rtol=1e-4)


@pytest.mark.parametrize("case", SHARED)
def test_adapters_fit_the_models_of_both_libraries(case, tmp_path):
    make, targets, options = SHARED[case]
    base = make().double()
    base.save_pretrained(tmp_path / "base")
    ours, _ = load_pretrained(tmp_path / "base", tokenizer=False)
    ours = ours.double().eval()
    assert_close(ids_to_scores(ours), ids_to_scores(base))
    theirs = peft.get_peft_model(
        copy.deepcopy(base), peft.LoraConfig(r=3, lora_alpha=5, target_modules=targets, **options)
    ).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            if p.requires_grad:
                p.copy_(0.3 * torch.randn(p.shape, generator=seeded(3)))
    theirs.save_pretrained(tmp_path / "theirs")
    adapted = load_lora(copy.deepcopy(ours), tmp_path / "theirs")
    assert_close(ids_to_scores(adapted), ids_to_scores(theirs))
    assert (ids_to_scores(adapted) - ids_to_scores(ours)).abs().max() > 1e-3
    save_lora(adapted, tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "ours")
    assert_equal(ids_to_scores(again), ids_to_scores(theirs))
    assert_equal(ids_to_scores(load_lora(copy.deepcopy(base), tmp_path / "ours")), ids_to_scores(theirs))
    stored, published = (load_file(tmp_path / n / "adapter_model.safetensors") for n in ("ours", "theirs"))
    extra = {name for name in published if ".base_layer." in name}
    assert {name: t.shape for name, t in stored.items()} == {
        name: t.shape for name, t in published.items() if name not in extra
    }


@pytest.mark.parametrize(
    "targets",
    [["W_q", "W_v"], ["W_q"], ["c_attn", "W_in"], ["head", "embedding.tokens"], "all-linear"],
    ids=str,
)
def test_adapters_trained_here_fit_gpt2(targets, tmp_path):
    """Each of ours has its own A: one map of theirs with the ranks of all, or of those that there are."""
    base = gpt2().double()
    base.save_pretrained(tmp_path / "base")
    ours = load_pretrained(tmp_path / "base", tokenizer=False)[0].double().eval()
    train_by_hand(add_lora(ours, targets, r=2, lora_alpha=4))
    names = set(lora_layers(ours))
    assert ("head" in names) == ("head" in targets)
    for i, (name, layer) in enumerate(lora_layers(ours).items()):
        if name.endswith("W_v"):
            layer.lora_alpha = 3 + i
        with torch.no_grad():
            layer.lora_A.add_(0.1 * i)
    save_lora(ours, tmp_path / "ours")
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "ours")
    assert_equal(ids_to_scores(theirs), ids_to_scores(ours))
    fresh = load_pretrained(tmp_path / "base", tokenizer=False)[0].double().eval()
    assert_equal(ids_to_scores(load_lora(fresh, tmp_path / "ours")), ids_to_scores(ours))


def test_names_of_both_worlds(tmp_path):
    tied_llama().save_pretrained(tmp_path / "base")
    make = lambda: load_pretrained(tmp_path / "base", tokenizer=False)[0]  # noqa: E731
    for ours, theirs in (
        (["W_q"], ["q_proj"]),
        (["attention.W_o", "head"], ["self_attn.o_proj", "lm_head"]),
        (r"stack\.layers\.1\..*W_in", r"model\.layers\.1\.mlp\.up_proj"),
        (["embedding.tokens"], ["embed_tokens"]),
    ):
        assert list(lora_layers(add_lora(make(), ours, 2, 4))) == list(
            lora_layers(add_lora(make(), theirs, 2, 4))
        )
    with pytest.raises(ValueError, match="no module is named 'q_prj' or ends in it; near names: q_proj"):
        add_lora(make(), ["q_prj"], 2, 4)


def test_a_part_of_a_map_of_theirs_trained_in_full_is_refused(tmp_path):
    gpt2().save_pretrained(tmp_path / "base")
    ours = load_pretrained(tmp_path / "base", tokenizer=False)[0]
    add_lora(ours, ["c_fc"], 2, 4, modules_to_save=["W_q"])
    with pytest.raises(ValueError, match="W_q is trained in full, but the family keeps .*W_v in one"):
        save_lora(ours, tmp_path / "ours")


def test_a_merged_head_survives_the_files_of_the_model(tmp_path):
    tied_llama().save_pretrained(tmp_path / "base")
    ours = load_pretrained(tmp_path / "base", tokenizer=False)[0].eval()
    train_by_hand(add_lora(ours, ["lm_head", "q_proj"], 2, 4))
    outputs = ids_to_scores(ours)
    merge_lora(ours, reversible=False)
    torch.testing.assert_close(ids_to_scores(ours), outputs, atol=1e-5, rtol=1e-5)
    save_pretrained(ours, None, tmp_path / "merged")
    again = load_pretrained(tmp_path / "merged", tokenizer=False)[0].eval()
    assert torch.equal(ids_to_scores(again), ids_to_scores(ours))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    torch.testing.assert_close(ids_to_scores(theirs), outputs, atol=1e-5, rtol=1e-5)


def test_another_model_is_told_apart_from_other_names(tmp_path):
    model = gpt2()
    save_lora(train_by_hand(add_lora(copy.deepcopy(model), ["c_attn"], 2, 4)), tmp_path / "whole")
    save_lora(train_by_hand(add_lora(copy.deepcopy(model.transformer), ["c_attn"], 2, 4)), tmp_path / "part")
    for make, folder in ((lambda: gpt2().transformer, "whole"), (gpt2, "part")):
        with pytest.raises(ValueError, match="has other names"):
            load_lora(make(), tmp_path / folder)
    for make in (lambda: gpt2(width=15).transformer, llama):
        with pytest.raises(ValueError, match="is for another model"):
            load_lora(make(), tmp_path / "whole")


# Errors


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["c_atn"], r"no module is named 'c_atn' or ends in it; near names: c_attn"),
        (
            ["c_attn", "q_proj"],
            r"no module is named 'q_proj'.*the linear layers here end in \['c_attn', 'c_proj'",
        ),
        (["attn.c_atn"], "near names: attn.c_attn"),
        (
            "c_attn",
            "no module's whole name matches the regular expression 'c_attn'; for name endings pass a list",
        ),
        ("(c_attn", "no regular expression"),
        ([], "target_modules is empty"),
        ([""], "no module is named ''"),
        (["attn"], "linear layers and embeddings only: transformer.h.0.attn is GPT2Attention"),
        (["ln_f"], "linear layers and embeddings only: transformer.ln_f is LayerNorm"),
    ],
)
def test_targets_that_do_not_fit(targets, message):
    model = gpt2()
    names = list(model.state_dict())
    with pytest.raises(ValueError, match=message):
        add_lora(model, targets, r=2, lora_alpha=4)
    assert list(model.state_dict()) == names and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("r", [0, -1, 5, 1000, 2.0, None])
def test_rank_out_of_range(r):
    model = perceptron()
    with pytest.raises(
        ValueError, match=r"rank r must be an integer from 1 to 4, the smaller width of 2 \(10 inputs, 4"
    ):
        add_lora(model, ["2"], r=r, lora_alpha=4)
    with pytest.raises(ValueError, match="rank r must be an integer from 1 to 4"):
        LoRALinear(nn.Linear(10, 4), r=r, lora_alpha=4)
    assert all(p.requires_grad for p in model.parameters())


def test_other_wrong_numbers():
    for alpha in (0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"lora_alpha must be a positive number, got {alpha}"):
            add_lora(perceptron(), ["0"], r=2, lora_alpha=alpha)
    with pytest.raises(ValueError, match="lora_dropout must be a probability below 1, got 1.0"):
        add_lora(perceptron(), ["0"], r=2, lora_alpha=1, lora_dropout=1.0)
    with pytest.raises(ValueError, match="linear layers and embeddings only: got LayerNorm"):
        LoRALinear(nn.LayerNorm(4), r=1, lora_alpha=1)


def test_adding_twice():
    model = add_lora(perceptron(), ["0"], r=2, lora_alpha=4)
    for again in (["0"], ["2"]):
        with pytest.raises(ValueError, match=r"has LoRA already \(0\)"):
            add_lora(model, again, r=2, lora_alpha=4)
    with pytest.raises(ValueError, match=r"has LoRA already \(0\): unmerge_lora\(model\) and then merge"):
        add_lora(merge_lora(model), ["2"], r=2, lora_alpha=4)


def test_nothing_to_merge_or_save(tmp_path):
    model = perceptron()
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_lora(model)
    with pytest.raises(ValueError, match="nothing to unmerge"):
        unmerge_lora(model)
    with pytest.raises(ValueError, match="nothing to save"):
        save_lora(model, tmp_path)
    with pytest.raises(ValueError, match="nothing to save"):
        save_lora(merge_lora(add_lora(model, ["0"], r=1, lora_alpha=1)), tmp_path)


def test_trained_weights_that_the_format_cannot_hold(tmp_path):
    model = add_lora(perceptron(), ["0"], r=2, lora_alpha=4)
    model[0].base_layer.bias.requires_grad_(True)
    with pytest.raises(ValueError, match="0.base_layer.bias is trainable, but peft's format cannot hold it"):
        save_lora(model, tmp_path)


@pytest.fixture
def adapter(tmp_path):
    save_lora(train_by_hand(add_lora(gpt2(), ["c_attn"], r=2, lora_alpha=4)), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (llama, "is for another model: LlamaForCausalLM has no linear layer transformer.h.0.attn.c_attn"),
        (
            lambda: gpt2().transformer,
            "has other names: GPT2Model has no linear layer .* calls what fits it h.0.attn.c_attn",
        ),
        (
            lambda: gpt2(width=15),
            r"does not fit transformer.h.0.attn.c_attn: lora_A \(2, 12\) and lora_B \(36, 2\)",
        ),
    ],
)
def test_adapter_for_another_model(adapter, make, message):
    model = make()
    names = list(model.state_dict())
    with pytest.raises(ValueError, match=message):
        load_lora(model, adapter)
    assert list(model.state_dict()) == names and all(p.requires_grad for p in model.parameters())


def test_loading_over_an_adapter(adapter):
    model = load_lora(gpt2(), adapter)
    with pytest.raises(ValueError, match="has LoRA already"):
        load_lora(model, adapter)


UNSUPPORTED = {
    "peft_type": ("IA3", "describes no LoRA adapter: its peft_type is 'IA3'"),
    "bias": ("all", "trained biases"),
    "use_dora": (True, "use_dora=True is not supported"),
    "lora_bias": (True, "lora_bias=True is not supported"),
    "target_parameters": (["experts.w"], "target_parameters=.* is not supported"),
    "layer_replication": ([[0, 2]], "layer_replication=.* is not supported"),
    "an_option_of_the_future": (1, "an_option_of_the_future=1 is not supported"),
    "init_lora_weights": ("pissa", "init_lora_weights='pissa' changes the base weights"),
    "r": ("eight", "r must be a positive integer, got 'eight'"),
    "lora_alpha": (float("nan"), "lora_alpha must be a positive number, got nan"),
    "use_rslora": ("yes", "use_rslora must be True or False, got 'yes'"),
    "rank_pattern": ({"c_attn": 3}, "do not belong together: rank 3 against lora_A"),
    "alpha_pattern": ({"(": 3}, "no regular expression"),
    "lora_dropout": (1.5, "lora_dropout must be a probability below 1"),
    "modules_to_save": ("lm_head", "modules_to_save must be a"),
}


@pytest.mark.parametrize("option", UNSUPPORTED)
def test_options_are_honoured_or_refused(adapter, option):
    value, message = UNSUPPORTED[option]
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {option: value}))
    with pytest.raises(ValueError, match=message):
        load_lora(gpt2(), adapter)


def test_damaged_files(adapter):
    config, weights = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
    whole, tensors = weights.read_bytes(), load_file(weights)
    for damaged in (whole[:-20], whole[:5], b"", b"\x80\x04not safetensors"):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match="adapter_model.safetensors is damaged"):
            load_lora(gpt2(), adapter)
    half = {
        name: tensor for name, tensor in tensors.items() if not name.endswith("h.1.attn.c_attn.lora_B.weight")
    }
    save_file(half, weights)
    with pytest.raises(
        ValueError, match="is incomplete: transformer.h.1.attn.c_attn.lora_B.weight is missing"
    ):
        load_lora(gpt2(), adapter)
    save_file({"base_model.model.transformer.wte.weight": torch.zeros(2, 2)}, weights)
    with pytest.raises(ValueError, match="holds no LoRA matrices"):
        load_lora(gpt2(), adapter)
    save_file(tensors | {"base_model.model.head.weight": torch.zeros(2, 2)}, weights)
    with pytest.raises(
        ValueError, match=r"another model: it holds head.weight \(2, 2\), GPT2LMHeadModel has no head"
    ):
        load_lora(gpt2(), adapter)
    save_file({"h.0.lora_A.weight": torch.zeros(2, 2)}, weights)
    with pytest.raises(ValueError, match="no adapter of peft: the tensor h.0.lora_A.weight"):
        load_lora(gpt2(), adapter)
    for damaged in ("{", "[]", "\udcff"):
        config.write_bytes(damaged.encode(errors="surrogateescape"))
        with pytest.raises(ValueError, match="not valid JSON|holds a list, not an object|not UTF-8 text"):
            load_lora(gpt2(), adapter)


def test_missing_files(adapter):
    with pytest.raises(FileNotFoundError, match="no adapter_config.json in .*nowhere"):
        load_lora(gpt2(), adapter / "nowhere")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(FileNotFoundError, match="adapter_model.bin is a pickle, which can run code"):
        load_lora(gpt2(), adapter)
