"""Checkpoints of transformers read and written: logits of small random models of every family, both ways."""

import dataclasses
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from lecture_lib.attention import padding_mask
from lecture_lib.decoder import Decoder
from lecture_lib.embedding import RotaryScaling
from lecture_lib.encoder import Encoder, MaskedLanguageModel, TextClassifier, WordClassifier
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.pretrained import load_pretrained, save_pretrained
from lecture_lib.pretrained.families import module_names
from lecture_lib.transformer import ModelConfig

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

BERT = {
    **{"vocab_size": 31, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3},
    **{"intermediate_size": 20, "max_position_embeddings": 16},
}
LLAMA = {**BERT, "num_key_value_heads": 1, "max_position_embeddings": 64, "hidden_size": 18}
LLAMA |= {"bos_token_id": None, "eos_token_id": None}
GPT2 = {"vocab_size": 31, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 16}
GPT2 |= {"bos_token_id": None, "eos_token_id": None}
MARIAN = {
    **{
        "vocab_size": 31,
        "d_model": 12,
        "encoder_layers": 2,
        "decoder_layers": 1,
        "encoder_attention_heads": 3,
    },
    **{
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 20,
        "decoder_ffn_dim": 16,
        "max_position_embeddings": 16,
    },
    **{"pad_token_id": 30, "decoder_start_token_id": 30, "eos_token_id": 0},
}
LLAMA3 = {
    **{"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 4.0, "low_freq_factor": 1.0},
    **{"high_freq_factor": 4.0, "original_max_position_embeddings": 16},
}
LINEAR = {"rope_type": "linear", "rope_theta": 500.0, "factor": 3.0}
CASES = [
    ("BertForMaskedLM", BERT, {}),
    ("BertForMaskedLM", BERT, {"hidden_act": "relu", "type_vocab_size": 1, "layer_norm_eps": 1e-3}),
    ("BertForMaskedLM", BERT, {"hidden_act": "gelu_new", "tie_word_embeddings": False, "type_vocab_size": 3}),
    ("BertForMaskedLM", BERT, {"hidden_act": "silu", "num_attention_heads": 2, "intermediate_size": 7}),
    ("BertForMaskedLM", BERT, {"hidden_act": "tanh"}),
    ("BertModel", BERT, {}),
    ("BertForSequenceClassification", BERT, {}),
    ("BertForSequenceClassification", BERT, {"id2label": {0: "false", 1: "true", 2: "neither"}}),
    ("BertForSequenceClassification", BERT, {"num_labels": 1}),
    ("BertForTokenClassification", BERT, {"num_labels": 5}),
    ("GPT2LMHeadModel", GPT2, {}),
    ("GPT2LMHeadModel", GPT2, {"activation_function": "relu", "n_inner": 20, "layer_norm_epsilon": 1e-3}),
    ("GPT2LMHeadModel", GPT2, {"activation_function": "gelu", "tie_word_embeddings": False}),
    ("GPT2LMHeadModel", GPT2, {"activation_function": "silu", "scale_attn_by_inverse_layer_idx": True}),
    ("GPT2LMHeadModel", GPT2, {"activation_function": "tanh", "scale_attn_weights": False, "n_head": 1}),
    ("GPT2LMHeadModel", GPT2, {"activation_function": "quick_gelu", "reorder_and_upcast_attn": True}),
    ("LlamaForCausalLM", LLAMA, {}),
    (
        "LlamaForCausalLM",
        LLAMA,
        {"rope_parameters": LLAMA3, "attention_bias": True, "num_key_value_heads": 3},
    ),
    ("LlamaForCausalLM", LLAMA, {"rope_parameters": LINEAR, "mlp_bias": True, "tie_word_embeddings": True}),
    ("LlamaForCausalLM", LLAMA, {"head_dim": 4, "hidden_act": "gelu", "rms_norm_eps": 1e-2}),
    ("LlamaForCausalLM", LLAMA, {"head_dim": 10, "hidden_act": "gelu_pytorch_tanh", "attention_bias": True}),
    ("LlamaForCausalLM", LLAMA, {"hidden_act": "relu", "num_attention_heads": 1}),
    ("Qwen2ForCausalLM", LLAMA, {}),
    ("Qwen2ForCausalLM", LLAMA, {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    ("Qwen2ForCausalLM", LLAMA, {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0}),
    ("Qwen3ForCausalLM", LLAMA, {"head_dim": 8}),
    ("Qwen3ForCausalLM", LLAMA, {"head_dim": 6, "attention_bias": True, "tie_word_embeddings": True}),
    ("Qwen3ForCausalLM", LLAMA, {"head_dim": 8, "rope_parameters": LINEAR, "num_key_value_heads": 3}),
    ("MarianMTModel", MARIAN, {}),
    ("MarianMTModel", MARIAN, {"scale_embedding": True, "activation_function": "swish"}),
    ("MarianMTModel", MARIAN, {"activation_function": "relu", "tie_word_embeddings": False}),
    (
        "MarianMTModel",
        MARIAN,
        {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 29, "pad_token_id": 28},
    ),
]
OURS = {
    "BertForMaskedLM": MaskedLanguageModel,
    "BertModel": Encoder,
    "BertForSequenceClassification": TextClassifier,
    "BertForTokenClassification": WordClassifier,
    "MarianMTModel": EncoderDecoder,
}


def make(architecture, settings, seed=0):
    """A model of transformers whose every weight matters."""
    torch.manual_seed(seed)
    kind = getattr(transformers, architecture)
    model = kind(kind.config_class(**settings)).eval()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and "inv_freq" not in name and "embed_positions" not in name:
            tensor.data = 0.3 * torch.randn_like(tensor) + (1.0 if "norm" in name.lower() else 0.0)
    model.tie_weights()
    return model


def theirs_read(folder, architecture):
    return getattr(transformers, architecture).from_pretrained(folder).eval()


def batch(model, length=9):
    vocab = min(model.config.vocab_size, getattr(model.config, "decoder_vocab_size", None) or 99)
    ids = torch.randint(0, vocab, (2, length), generator=torch.Generator().manual_seed(1))
    return ids, torch.tensor([length, length - 4])


@torch.no_grad()
def theirs_logits(model, ids, lengths):
    seen = padding_mask(lengths, ids.shape[1])[:, 0, 0].long()
    if model.config.model_type == "marian":
        return model(input_ids=ids, attention_mask=seen, decoder_input_ids=ids[:, :5]).logits
    out = model(input_ids=ids, attention_mask=seen)
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


@torch.no_grad()
def our_logits(model, ids, lengths):
    return model(ids, ids[:, :5], lengths) if isinstance(model, EncoderDecoder) else model(ids, lengths)


def assert_same(a, b, lengths, atol=1e-4):
    """Equal where tokens are real."""
    assert a.shape == b.shape
    if a.ndim == 3 and a.shape[1] == lengths.max():
        real = padding_mask(lengths)[:, 0, 0]
        a, b = a[real], b[real]
    assert a.abs().max() > 0.1
    assert_close(a, b, atol=atol, rtol=0)


def edit(folder, **changes):
    """Change settings of a config.json; None: take the setting out."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


# --- the families, every option varied ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("architecture", "settings", "changes"), CASES, ids=lambda x: x if isinstance(x, str) else None
)
def test_logits_equal_transformers_both_ways(architecture, settings, changes, tmp_path):
    theirs = make(architecture, settings | changes)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, none = load_pretrained(tmp_path / "theirs", tokenizer=False)
    assert none is None and type(ours) is OURS.get(architecture, Decoder) and not ours.training
    ids, lengths = batch(theirs)
    expected = theirs_logits(theirs, ids, lengths)
    assert_same(our_logits(ours, ids, lengths), expected, lengths)
    save_pretrained(ours, None, tmp_path / "ours")
    assert_same(theirs_logits(theirs_read(tmp_path / "ours", architecture), ids, lengths), expected, lengths)
    again, _ = load_pretrained(tmp_path / "ours", tokenizer=False)
    assert_same(our_logits(again, ids, lengths), our_logits(ours, ids, lengths), lengths, atol=0)
    assert again.config == ours.config
    assert {n: p.shape for n, p in again.named_parameters()} == {
        n: p.shape for n, p in ours.named_parameters()
    }


@pytest.mark.parametrize("rope", [LLAMA3, LINEAR, {"rope_type": "default", "rope_theta": 77.0}])
@pytest.mark.parametrize("form", ["current", "older", "oldest"])
def test_rotary_settings_in_every_form_and_at_late_positions(rope, form, tmp_path):
    theirs = make("LlamaForCausalLM", LLAMA | {"rope_parameters": rope})
    theirs.save_pretrained(tmp_path)
    if form != "current":
        scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
        if form == "oldest":
            scaling = {"type": scaling.pop("rope_type"), **scaling}
        scaling = None if "default" in scaling.values() else scaling
        edit(tmp_path, rope_parameters=None, rope_theta=rope["rope_theta"], rope_scaling=scaling)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    ids, lengths = batch(theirs, 60)  # far beyond the original context of 16
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)
    scaled = {"llama3": RotaryScaling(4.0, 1.0, 4.0, 16), "linear": RotaryScaling(3.0)}.get(rope["rope_type"])
    assert ours.config.rope_scaling == scaled and ours.config.rope_theta == rope["rope_theta"]


def test_a_config_that_leaves_the_defaults_out(tmp_path):
    theirs = make("LlamaForCausalLM", LLAMA | {"num_key_value_heads": 3})
    theirs.save_pretrained(tmp_path)
    optional = ["num_key_value_heads", "head_dim", "rope_parameters", "tie_word_embeddings", "attention_bias"]
    edit(
        tmp_path, **dict.fromkeys([*optional, "mlp_bias", "hidden_act", "rms_norm_eps", "initializer_range"])
    )
    ids, lengths = batch(theirs)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_dtype_is_kept_or_converted(dtype, tmp_path):
    theirs = make("LlamaForCausalLM", LLAMA).to(dtype)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, _ = load_pretrained(tmp_path / "theirs", tokenizer=False)
    assert {p.dtype for p in ours.parameters()} == {dtype}
    save_pretrained(ours, None, tmp_path / "ours")
    assert theirs_read(tmp_path / "ours", "LlamaForCausalLM").dtype == dtype
    exact, _ = load_pretrained(tmp_path / "theirs", dtype=torch.float32, device="cpu", tokenizer=False)
    ids, lengths = batch(theirs)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "theirs", dtype=torch.float32).eval()
    assert_same(our_logits(exact, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)


@pytest.mark.parametrize(
    "architecture", ["BertForMaskedLM", "GPT2LMHeadModel", "Qwen3ForCausalLM", "MarianMTModel"]
)
def test_shards_are_put_together(architecture, tmp_path):
    settings = {"BertForMaskedLM": BERT, "GPT2LMHeadModel": GPT2, "MarianMTModel": MARIAN}.get(
        architecture, LLAMA
    )
    theirs = make(architecture, settings)
    theirs.save_pretrained(tmp_path, max_shard_size="4KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    ids, lengths = batch(theirs)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)


def test_long_batches_of_rows_of_different_length(tmp_path):
    theirs = make("GPT2LMHeadModel", GPT2 | {"n_positions": 50})
    theirs.save_pretrained(tmp_path)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    ids = torch.randint(0, 31, (5, 50), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([50, 1, 17, 49, 2])
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)


# --- checkpoints as they lie on the Hub -----------------------------------------------------------------------------
def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def test_gpt2_as_published_has_no_prefix_and_stores_its_masks(tmp_path):
    theirs = make("GPT2LMHeadModel", GPT2)
    theirs.save_pretrained(tmp_path)
    extra = {f"h.{i}.attn.bias": torch.ones(1, 1, 16, 16).tril() for i in range(2)}
    extra |= {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
    rewrite(tmp_path, lambda tensors: {k.removeprefix("transformer."): v for k, v in tensors.items()} | extra)
    ids, lengths = batch(theirs)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)


def test_bert_as_published_has_older_names_and_more_heads(tmp_path):
    theirs = make("BertForPreTraining", BERT)
    theirs.save_pretrained(tmp_path)

    def older(tensors):
        names = {
            k: k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            for k in tensors
        }
        tensors = {names[k]: v for k, v in tensors.items()}
        return tensors | {
            "bert.embeddings.position_ids": torch.arange(16)[None],
            "cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"].clone(),
        }

    rewrite(tmp_path, older)
    edit(tmp_path, architectures=["BertForMaskedLM"])
    ids, lengths = batch(theirs)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    with torch.no_grad():
        seen = padding_mask(lengths)[:, 0, 0].long()
        expected = theirs(ids, attention_mask=seen)
        assert_same(ours(ids, lengths), expected.prediction_logits, lengths)
        pooled = theirs.bert(ids, attention_mask=seen).pooler_output
        first = ours.encoder(ids, lengths)[:, 0]
        assert_close(torch.tanh(ours.encoder.pooler(first)), pooled, atol=1e-5, rtol=0)
    save_pretrained(ours, None, tmp_path / "again")  # the pooler is not lost
    assert "bert.pooler.dense.weight" in load_file(tmp_path / "again" / "model.safetensors")


def test_marian_as_published_stores_its_positions(tmp_path):
    theirs = make("MarianMTModel", MARIAN)
    theirs.save_pretrained(tmp_path)
    waves = theirs.model.encoder.embed_positions.weight
    extra = {f"model.{side}.embed_positions.weight": waves + 1e-3 for side in ("encoder", "decoder")}

    def with_copies(tensors):
        shared = tensors["model.shared.weight"]
        copies = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
        return tensors | extra | {name: shared.clone() for name in copies}

    rewrite(tmp_path, with_copies)
    edit(tmp_path, static_position_embeddings=True, normalize_before=False, num_hidden_layers=2)
    ids, lengths = batch(theirs)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)


def test_names_of_classes_are_kept(tmp_path):
    make("BertForTokenClassification", BERT | {"id2label": {0: "O", 1: "PER", 2: "LOC"}}).save_pretrained(
        tmp_path
    )
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    assert ours.labels == ["O", "PER", "LOC"]
    save_pretrained(ours, None, tmp_path)
    assert transformers.AutoConfig.from_pretrained(tmp_path).id2label == {0: "O", 1: "PER", 2: "LOC"}


# --- models made here -----------------------------------------------------------------------------------------------
OWN = ModelConfig(vocab_size=31, d_model=12, n_heads=3, n_layers=2, context_length=16, norm_first=True)
ROTARY = ModelConfig(
    **{
        "vocab_size": 31,
        "d_model": 12,
        "n_heads": 3,
        "n_layers": 2,
        "context_length": 64,
        "norm_first": True,
    },
    **{"norm": "rms", "activation": "swiglu", "positions": "rotary", "d_ff": 20, "norm_eps": 1e-6},
    **{"qkv_bias": False, "out_bias": False, "mlp_bias": False, "tied_head": False, "n_kv_heads": 1},
    rope_scaling=RotaryScaling(8.0, 1.0, 4.0, 16),
)


@pytest.mark.parametrize("config", [OWN, ROTARY])
def test_what_is_trained_here_runs_there(config, tmp_path):
    ours = Decoder(config, generator=torch.Generator().manual_seed(0)).eval()
    for parameter in ours.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    save_pretrained(ours, None, tmp_path / "new" / "folder")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "new" / "folder").eval()
    ids, lengths = batch(theirs)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)


def test_greedy_generation_there_follows_our_logits(tmp_path):
    ours = Decoder(ROTARY, generator=torch.Generator().manual_seed(0)).eval()
    for parameter in ours.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    save_pretrained(ours, None, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.tensor([[3, 1, 4]])
    text = theirs.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0)
    for _ in range(8):
        ids = torch.cat([ids, ours(ids)[:, -1:].argmax(-1)], 1)
    assert torch.equal(text, ids)


def test_a_loaded_model_learns_and_its_file_may_be_replaced(tmp_path):
    make("GPT2LMHeadModel", GPT2).save_pretrained(tmp_path)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    assert ours.head.weight is ours.embedding.tokens.weight
    before = ours.head.weight.detach().clone()
    ours(torch.tensor([[1, 2, 3]])).square().mean().backward()
    torch.optim.SGD(ours.parameters(), 0.1).step()
    assert not torch.equal(ours.head.weight, before)
    save_pretrained(ours, None, tmp_path)  # over the folder it came from
    again, _ = load_pretrained(tmp_path, tokenizer=False)
    assert torch.equal(again.head.weight, ours.head.weight)
    assert not list(tmp_path.glob("*.part"))


# --- names of modules, for adapters ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        *[("BertForMaskedLM", BERT), ("BertModel", BERT), ("BertForTokenClassification", BERT)],
        *[("GPT2LMHeadModel", GPT2), ("MarianMTModel", MARIAN)],
        *[(f"{name}ForCausalLM", LLAMA) for name in ("Llama", "Mistral", "Qwen2", "Qwen3")],
    ],
)
def test_modules_have_the_names_of_transformers(architecture, settings, tmp_path):
    theirs = make(architecture, settings)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    names = module_names(torch.compile(ours, backend="eager"))
    with_weights = {path for path, module in ours.named_modules() if module._parameters}
    assert names.keys() == with_weights
    for path, name in names.items():
        a, b = ours.get_submodule(path).weight, theirs.get_submodule(name).weight
        if name.endswith("c_attn"):
            part = ["W_q", "W_k", "W_v"].index(path[-3:])
            b = b.chunk(3, dim=1)[part]
        assert_close(a, b.mT if ".c_" in name else b)
    ours.origin = {}  # as if trained here
    assert names == module_names(ours)


def test_the_nearest_family_names_a_model_that_has_no_form_there():
    names = module_names(
        Decoder(dataclasses.replace(ROTARY, qk_norm=True, positions="sinusoidal", rope_scaling=None))
    )
    assert names["stack.layers.1.attention.q_norm"] == "model.layers.1.self_attn.q_norm"
    names = module_names(Decoder(dataclasses.replace(OWN, norm_first=False)))
    assert names["stack.layers.0.feed_forward.W_in"] == "transformer.h.0.mlp.c_fc"
    with pytest.raises(ValueError, match="a Linear has no form"):
        module_names(torch.nn.Linear(2, 3))


# --- errors: one clear sentence each --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    make("LlamaForCausalLM", LLAMA).save_pretrained(folder)
    return folder


def drop(name):
    return lambda folder: rewrite(folder, lambda tensors: {k: v for k, v in tensors.items() if k != name})


def put(name, tensor):
    return lambda folder: rewrite(folder, lambda tensors: tensors | {name: tensor})


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def truncate(name, share=0.5):
    def act(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return act


def only_pickle(folder):
    os.remove(folder / "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")


def index(content):
    def act(folder):
        os.remove(folder / "model.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))

    return act


def settings(**changes):
    return lambda folder: edit(folder, **changes)


NORM, LAST = "model.norm.weight", "model.layers.1.mlp.up_proj.weight"
BROKEN = {
    "no config": (lambda folder: os.remove(folder / "config.json"), "holds no config.json"),
    "config cut off": (truncate("config.json"), "config.json is not valid JSON"),
    "config no object": (write("config.json", b"[1, 2]"), "holds a list, not an object"),
    "config not text": (write("config.json", b"\xff\xfe\x00"), "not UTF-8 text"),
    "no architecture": (settings(architectures=None), "the architecture None is not supported"),
    "architecture": (
        settings(architectures=["T5Model"]),
        "the architecture 'T5Model' is not supported, only Bert",
    ),
    "family": (settings(model_type="mamba"), "models of type 'mamba' are not supported"),
    "setting lost": (settings(hidden_size=None), "the setting 'hidden_size' is missing"),
    "setting text": (settings(hidden_size="64"), "d_model must be a positive integer, got '64'"),
    "setting yes": (settings(attention_bias="yes"), "qkv_bias must be True or False, got 'yes'"),
    "setting list": (settings(rope_parameters=[1]), "config.json makes no sense"),
    "heads": (settings(num_key_value_heads=2), "2 key-value heads must divide 3 heads"),
    "activation": (settings(hidden_act="mish"), "activation 'mish' is not supported in a gated network"),
    "longrope": (settings(rope_parameters={"rope_type": "longrope"}), "scaling of type 'longrope' is not"),
    "rotary kind": (
        settings(rope_parameters={"mrope_section": [1, 2]}),
        "'mrope_section' in the rotary settings",
    ),
    "no factor": (
        settings(rope_parameters={"rope_type": "linear"}),
        "rotary scaling of type 'linear' needs a factor",
    ),
    "partial rotary": (settings(partial_rotary_factor=0.5), "partial_rotary_factor=0.5 is not supported"),
    "quantized": (settings(quantization_config={"bits": 4}), "quantized checkpoints are not supported"),
    "no weights": (lambda folder: os.remove(folder / "model.safetensors"), "holds no weights"),
    "pickle": (only_pickle, r"as a pickle \(pytorch_model.bin\)"),
    "weights cut off": (truncate("model.safetensors"), "is not a safetensors file"),
    "weights without header": (truncate("model.safetensors", 0.001), "is not a safetensors file"),
    "weights empty": (write("model.safetensors", b""), "is not a safetensors file"),
    "weights noise": (
        write("model.safetensors", b"\x80\x04" + bytes(range(256))),
        "is not a safetensors file",
    ),
    "tensor missing": (
        drop(LAST),
        f"lacks 1 of the 21 tensors that its config asks for, the first is {LAST}",
    ),
    "head missing": (drop("lm_head.weight"), "the first is lm_head.weight"),
    "tensor extra": (
        put("model.layers.2.bias", torch.ones(2)),
        r"no place for \(1, the first is model.layers.2.bias\)",
    ),
    "more layers": (settings(num_hidden_layers=3), "lacks 9 of the 30 tensors"),
    "fewer layers": (settings(num_hidden_layers=1), r"holds tensors that its config has no place for \(9, "),
    "wrong shape": (
        put(NORM, torch.ones(17)),
        r"model.norm.weight has shape \(17,\), but its config asks for \(18,\)",
    ),
    "wrong width": (
        settings(intermediate_size=24),
        r"has shape \(20, 18\), but its config asks for \(24, 18\)",
    ),
    "integers": (put(NORM, torch.ones(18, dtype=torch.int8)), "stored as torch.int8"),
    "no shards": (index({"metadata": {}}), "names no safetensors files"),
    "shard lost": (
        index({"weight_map": {"a": "model-00001-of-00002.safetensors"}}),
        "lacks 1 of 1 weight files",
    ),
    "shard outside": (
        index({"weight_map": {"a": "../../etc/passwd"}}),
        "names no safetensors files beside it",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_checkpoint_gets_one_sentence(damage, message, sound, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(sound, folder)
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        load_pretrained(folder, tokenizer=False)
    assert "\n" not in str(error.value).strip()
    assert not (tmp_path / "ran").exists() and not os.path.exists("ran")


def test_windows_that_slide_are_refused_unless_they_never_do(tmp_path):
    make("Qwen2ForCausalLM", LLAMA).save_pretrained(tmp_path)
    edit(
        tmp_path,
        use_sliding_window=True,
        sliding_window=8,
        layer_types=["full_attention", "sliding_attention"],
    )
    with pytest.raises(ValueError, match="sliding_window=8"):
        load_pretrained(tmp_path, tokenizer=False)
    edit(tmp_path, layer_types=None, max_window_layers=1)
    with pytest.raises(ValueError, match="sliding_window=8"):
        load_pretrained(tmp_path, tokenizer=False)
    for harmless in ({"max_window_layers": 2}, {"use_sliding_window": False}, {"sliding_window": 64}):
        edit(tmp_path, **{"max_window_layers": 1, "use_sliding_window": True, "sliding_window": 8} | harmless)
        load_pretrained(tmp_path, tokenizer=False)


def test_names_that_are_no_folder(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_pretrained(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_pretrained(tmp_path / "file")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(
        FileNotFoundError,
        match="there is no folder somebody/some-model-that-is-not-here; the Hub cannot be reached",
    ) as error:
        load_pretrained("somebody/some-model-that-is-not-here")
    assert "\n" not in str(error.value)


def test_what_has_no_form_there_is_not_saved(tmp_path):
    def config(**changes):
        return ModelConfig(vocab_size=7, d_model=8, n_heads=2, n_layers=1, context_length=9, **changes)

    for model, message in (
        (Decoder(config()), "a Hugging Face gpt2 cannot have norm_first=False"),
        (Decoder(config(norm_first=True, positions="sinusoidal")), "gpt2 cannot have positions='sinusoidal'"),
        (Encoder(config(n_segments=2)), "bert cannot have embedding_norm=False"),
        (Encoder(config(embedding_norm=True)), "bert cannot have n_segments=0"),
        (EncoderDecoder(config()), "marian cannot have positions='learned'"),
        (torch.nn.Linear(2, 3), "a Linear has no form"),
    ):
        with pytest.raises(ValueError, match=message):
            save_pretrained(model, None, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="is a file; give a folder"):
        save_pretrained(Decoder(OWN), None, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
