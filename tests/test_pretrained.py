"""Checkpoints of transformers read and written: logits of small random models of every family, both ways."""

import dataclasses
import json
import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import tokenizers
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from lecture_lib.attention import padding_mask
from lecture_lib.decoder import Decoder
from lecture_lib.embedding import RotaryScaling
from lecture_lib.encoder import Encoder, MaskedLanguageModel, TextClassifier, WordClassifier
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.lora import add_lora, merge_lora
from lecture_lib.pretrained import GenerationSettings, families, load_pretrained, save_pretrained
from lecture_lib.pretrained.chat_template import render
from lecture_lib.pretrained.families import module_names
from lecture_lib.sampling import SamplingParameters
from lecture_lib.tokenization import BytePairTokenizer
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
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 16}
WINDOW = {"use_sliding_window": True, "sliding_window": 3}
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
    ("Qwen2ForCausalLM", LLAMA, {**WINDOW, "max_window_layers": 1}),
    ("Qwen2ForCausalLM", LLAMA, {**WINDOW, "layer_types": ["sliding_attention", "full_attention"]}),
    ("Qwen3ForCausalLM", LLAMA, {"head_dim": 8}),
    ("Qwen3ForCausalLM", LLAMA, {"head_dim": 8, **WINDOW, "max_window_layers": 0}),
    ("Qwen3ForCausalLM", LLAMA, {"head_dim": 6, "attention_bias": True, "tie_word_embeddings": True}),
    ("Qwen3ForCausalLM", LLAMA, {"head_dim": 8, "rope_parameters": LINEAR, "num_key_value_heads": 3}),
    ("MistralForCausalLM", LLAMA, {"sliding_window": 3}),
    ("MistralForCausalLM", LLAMA, {"sliding_window": None, "rope_parameters": YARN}),
    ("MistralForCausalLM", LLAMA, {"head_dim": 8, "sliding_window": 1, "tie_word_embeddings": True}),
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
@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "settings", "changes"), CASES, ids=lambda x: x if isinstance(x, str) else None
)
def test_logits_equal_transformers_both_ways(architecture, settings, changes, tmp_path):
    hold_both_ways(architecture, settings | changes, tmp_path)


def hold_both_ways(architecture, settings, tmp_path, length=9):
    """Their logits, ours, theirs of what we saved, and ours of that; the config as it was."""
    theirs = make(architecture, settings)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, none = load_pretrained(tmp_path / "theirs", tokenizer=False)
    assert none is None and type(ours) is OURS.get(architecture, Decoder) and not ours.training
    ids, lengths = batch(theirs, length)
    expected = theirs_logits(theirs, ids, lengths)
    assert_same(our_logits(ours, ids, lengths), expected, lengths)
    for origin in (ours.origin, {}):  # saved with the settings it came with, and without
        ours.origin = origin
        save_pretrained(ours, None, tmp_path / "ours")
        back = theirs_read(tmp_path / "ours", architecture)
        assert_same(theirs_logits(back, ids, lengths), expected, lengths)
        again, _ = load_pretrained(tmp_path / "ours", tokenizer=False)
        assert_same(our_logits(again, ids, lengths), our_logits(ours, ids, lengths), lengths, atol=0)
        assert again.config == ours.config
        assert shapes(again) == shapes(ours)
        if origin:
            folded = {"scale_attn_weights", "scale_attn_by_inverse_layer_idx"}
            folded |= {"label2id", "share_encoder_decoder_embeddings"}  # without meaning if nothing is tied
            before, after = (known_settings(tmp_path / name) for name in ("theirs", "ours"))
            assert {k: after.get(k) for k in before if k not in folded} == {
                k: v for k, v in before.items() if k not in folded
            }


def shapes(model):
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def known_settings(folder):
    """What transformers reads in a config.json."""
    settings = transformers.AutoConfig.from_pretrained(folder).to_dict()
    return {k: v for k, v in settings.items() if k not in ("_name_or_path", "transformers_version")}


def random_settings(architecture, draw):
    """Settings of a small model, every one of them drawn."""
    d_head, kv, groups = draw.choice([4, 6, 10]), draw.choice([1, 2]), draw.choice([1, 3])
    n_layers, common = draw.choice([1, 3]), {"initializer_range": 0.03}
    if architecture == "GPT2LMHeadModel":
        return (
            GPT2
            | common
            | {
                **{"n_embd": d_head * kv * groups, "n_head": kv * groups, "n_layer": n_layers},
                **{"n_inner": draw.choice([None, 7, 33]), "tie_word_embeddings": draw.random() < 0.5},
                **{"activation_function": draw.choice(["gelu_new", "relu", "silu", "gelu", "gelu_fast"])},
                **{"scale_attn_weights": draw.random() < 0.5, "resid_pdrop": draw.choice([0.0, 0.3])},
                **{"scale_attn_by_inverse_layer_idx": draw.random() < 0.5, "layer_norm_epsilon": 1e-3},
            }
        )
    if architecture.startswith("Bert"):
        return (
            BERT
            | common
            | {
                **{"hidden_size": d_head * kv * groups, "num_attention_heads": kv * groups},
                **{"num_hidden_layers": n_layers, "type_vocab_size": draw.choice([1, 2, 4])},
                **{"hidden_act": draw.choice(["gelu", "gelu_new", "relu", "silu", "tanh"])},
                **{"tie_word_embeddings": draw.random() < 0.5, "num_labels": draw.choice([1, 4])},
                **{
                    "hidden_dropout_prob": draw.choice([0.0, 0.2]),
                    "layer_norm_eps": draw.choice([1e-12, 1e-3]),
                },
            }
        )
    if architecture == "MarianMTModel":
        shared = draw.random() < 0.5
        return MARIAN | {
            **{"d_model": 24, "encoder_layers": n_layers, "decoder_layers": draw.choice([1, 2])},
            **{
                "encoder_attention_heads": draw.choice([2, 4]),
                "decoder_attention_heads": draw.choice([3, 1]),
            },
            **{"scale_embedding": draw.random() < 0.5, "tie_word_embeddings": draw.random() < 0.5},
            **{"activation_function": draw.choice(["swish", "relu", "gelu"]), "decoder_ffn_dim": 9},
            **{"share_encoder_decoder_embeddings": shared, "init_std": 0.01},
            **(
                {} if shared else {"decoder_vocab_size": 29, "pad_token_id": 28, "decoder_start_token_id": 28}
            ),
        }
    rope = draw.choice([LLAMA3, LINEAR, DYNAMIC, YARN, {"rope_type": "default", "rope_theta": 33.0}])
    windows = {
        "Mistral": {"sliding_window": draw.choice([None, 2, 5, 40])},
        "Qwen": {
            **{"use_sliding_window": draw.random() < 0.7, "sliding_window": draw.choice([1, 4, 40])},
            **{"max_window_layers": draw.choice([0, 1, 2, 3])},
            "layer_types": draw.choice([None, [draw.choice(KINDS) for _ in range(n_layers)]]),
        },
    }
    window = next((settings for name, settings in windows.items() if architecture.startswith(name)), {})
    if window.get("layer_types") and not window["use_sliding_window"]:
        del window["layer_types"]  # transformers fails there
    return (
        LLAMA
        | common
        | window
        | {
            **{"hidden_size": 24, "num_attention_heads": kv * groups, "num_key_value_heads": kv},
            **{"head_dim": d_head, "num_hidden_layers": n_layers, "rope_parameters": dict(rope)},
            **{"tie_word_embeddings": draw.random() < 0.5, "rms_norm_eps": draw.choice([1e-6, 1e-2])},
            **({"attention_bias": draw.random() < 0.5} if architecture[:5] in ("Llama", "Qwen3") else {}),
            **({"mlp_bias": draw.random() < 0.5} if architecture[:5] == "Llama" else {}),
            **{"hidden_act": draw.choice(["silu", "gelu", "relu", "gelu_pytorch_tanh"])},
        }
    )


KINDS = ("full_attention", "sliding_attention")
DRAWN = ["GPT2LMHeadModel", "BertForMaskedLM", "BertForSequenceClassification", "MarianMTModel"]
DRAWN += ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("architecture", DRAWN)
def test_random_settings_both_ways(architecture, seed, tmp_path):
    settings = random_settings(architecture, random.Random(f"{architecture} {seed}"))
    rotary = settings.get("max_position_embeddings") == 64
    hold_both_ways(architecture, settings, tmp_path, 60 if rotary else 14)


SCALINGS = {
    "llama3": RotaryScaling(4.0, 1.0, 4.0, 16),
    "linear": RotaryScaling(3.0),
    "dynamic": RotaryScaling(4.0, rope_type="dynamic", original_max_position_embeddings=64),
    "yarn": RotaryScaling(4.0, rope_type="yarn", original_max_position_embeddings=16),
}


@pytest.mark.parametrize(
    "rope", [LLAMA3, LINEAR, DYNAMIC, YARN, {"rope_type": "default", "rope_theta": 77.0}]
)
@pytest.mark.parametrize("form", ["current", "older", "oldest"])
def test_rotary_settings_in_every_form_and_at_late_positions(rope, form, tmp_path):
    theirs = make("LlamaForCausalLM", LLAMA | {"rope_parameters": dict(rope)})
    theirs.save_pretrained(tmp_path)
    if form != "current":
        scaling = {k: v for k, v in rope.items() if k != "rope_theta"}
        if form == "oldest":
            scaling = {"type": scaling.pop("rope_type"), **scaling}
        scaling = None if "default" in scaling.values() else scaling
        edit(tmp_path, rope_parameters=None, rope_theta=rope["rope_theta"], rope_scaling=scaling)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    assert ours.config.rope_scaling == SCALINGS.get(rope["rope_type"])
    assert ours.config.rope_theta == rope["rope_theta"]
    grown = {"dynamic": 256, "linear": 192}.get(rope["rope_type"], 64)  # YaRN and Llama 3 began with 16
    assert ours.config.context_length == grown
    for length in (60, 64, 65, grown)[: 2 if grown == 64 else 4]:  # ever longer: theirs remembers the longest
        ids, lengths = batch(theirs, length)
        assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)
    save_pretrained(ours, None, tmp_path / "again")
    back = transformers.AutoConfig.from_pretrained(tmp_path / "again")
    assert back.max_position_embeddings == 64
    assert {k: v for k, v in back.rope_parameters.items() if k != "type"} == rope


@pytest.mark.parametrize("kind", SCALINGS)
def test_scalings_that_are_made_here_run_there(kind, tmp_path):
    scaling = dataclasses.replace(SCALINGS[kind])
    ours = Decoder(dataclasses.replace(ROTARY, rope_scaling=scaling)).eval()
    for parameter in ours.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    if kind == "dynamic":  # its context is four times the first
        with pytest.raises(ValueError, match="cannot have context_length=300, only 256"):
            save_pretrained(Decoder(dataclasses.replace(ours.config, context_length=300)), None, tmp_path)
    save_pretrained(ours, None, tmp_path)
    theirs = theirs_read(tmp_path, "LlamaForCausalLM")
    ids, lengths = batch(theirs, 64)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)
    assert load_pretrained(tmp_path, tokenizer=False)[0].config.rope_scaling == scaling


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


# --- what is tied is a fact of the weights --------------------------------------------------------------------------
TIED = [
    ("BertForMaskedLM", BERT),
    ("GPT2LMHeadModel", GPT2),
    ("LlamaForCausalLM", LLAMA),
    ("MarianMTModel", MARIAN),
]
TIED += [("Qwen2ForCausalLM", LLAMA), ("Qwen3ForCausalLM", LLAMA), ("MistralForCausalLM", LLAMA)]


def table_of(model):
    return model.target.tokens if isinstance(model, EncoderDecoder) else base(model).embedding.tokens


def base(model):
    return model.encoder if isinstance(model, MaskedLanguageModel) else model


@pytest.mark.parametrize(("architecture", "settings"), TIED)
def test_a_stored_head_that_differs_is_kept_though_the_config_says_tied(architecture, settings, tmp_path):
    make(architecture, settings | {"tie_word_embeddings": False}).save_pretrained(tmp_path / "a")
    edit(tmp_path / "a", tie_word_embeddings=True)
    theirs = theirs_read(tmp_path / "a", architecture)
    ours, _ = load_pretrained(tmp_path / "a", tokenizer=False)
    ids, lengths = batch(theirs)
    expected = theirs_logits(theirs, ids, lengths)
    assert_same(our_logits(ours, ids, lengths), expected, lengths)
    assert not ours.config.tied_head and ours.head.weight is not table_of(ours).weight
    save_pretrained(ours, None, tmp_path / "b")
    assert json.loads((tmp_path / "b" / "config.json").read_text())["tie_word_embeddings"] is False
    assert_same(theirs_logits(theirs_read(tmp_path / "b", architecture), ids, lengths), expected, lengths)


@pytest.mark.parametrize(("architecture", "settings"), TIED)
@pytest.mark.parametrize("lost", ["table", "head", None])
def test_a_copy_of_the_table_is_tied_whichever_of_the_two_is_stored(architecture, settings, lost, tmp_path):
    theirs = make(architecture, settings | {"tie_word_embeddings": True})
    theirs.save_pretrained(tmp_path)
    head, table = {
        "Bert": ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        "GPT2": ("lm_head.weight", "transformer.wte.weight"),
        "Mari": ("lm_head.weight", "model.shared.weight"),
    }.get(architecture[:4], ("lm_head.weight", "model.embed_tokens.weight"))

    def copy(tensors):
        tensors[head] = tensors[table].clone()
        return {k: v for k, v in tensors.items() if k != {"table": table, "head": head}.get(lost)}

    rewrite(tmp_path, copy)
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    ids, lengths = batch(theirs)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)
    assert ours.config.tied_head and ours.head.weight is table_of(ours).weight


@pytest.mark.parametrize(("architecture", "settings"), TIED)
def test_a_head_that_got_a_weight_of_its_own_is_saved_as_it_is(architecture, settings, tmp_path):
    make(architecture, settings | {"tie_word_embeddings": True}).save_pretrained(tmp_path / "a")
    ours, _ = load_pretrained(tmp_path / "a", tokenizer=False)
    ours.head.weight = torch.nn.Parameter(ours.head.weight.detach() + torch.randn(ours.head.weight.shape))
    for name in ("b", "c"):
        save_pretrained(ours, None, tmp_path / name)
        ids, lengths = batch(theirs := theirs_read(tmp_path / name, architecture))
        assert_same(theirs_logits(theirs, ids, lengths), our_logits(ours, ids, lengths), lengths)
        again, _ = load_pretrained(tmp_path / name, tokenizer=False)
        assert_same(our_logits(again, ids, lengths), our_logits(ours, ids, lengths), lengths, atol=0)
        assert not again.config.tied_head
        assert not isinstance(again, EncoderDecoder) or again.shared_embedding
        ours = again
    ours.head.weight = table_of(ours).weight  # and back
    save_pretrained(ours, None, tmp_path / "d")
    again, _ = load_pretrained(tmp_path / "d", tokenizer=False)
    assert again.config.tied_head and len(shapes(again)) == len(shapes(ours))


@pytest.mark.parametrize(("architecture", "settings"), TIED[:3])
def test_a_merged_adapter_of_a_tied_head_survives(architecture, settings, tmp_path):
    make(architecture, settings | {"tie_word_embeddings": True}).save_pretrained(tmp_path / "a")
    ours, _ = load_pretrained(tmp_path / "a", tokenizer=False)
    add_lora(ours, ["head", "W_q"], 2, 4)
    for name, parameter in ours.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_()
    assert module_names(ours)[
        f"{'' if isinstance(ours, Decoder) else 'encoder.'}stack.layers.0.attention.W_q"
    ]
    with pytest.raises(ValueError, match="lora_A has no place in a .* checkpoint; merge adapters"):
        save_pretrained(ours, None, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    merge_lora(ours)
    save_pretrained(ours, None, tmp_path / "b")
    ids, lengths = batch(theirs := theirs_read(tmp_path / "b", architecture))
    assert_same(theirs_logits(theirs, ids, lengths), our_logits(ours, ids, lengths), lengths)
    again, _ = load_pretrained(tmp_path / "b", tokenizer=False)
    assert_same(our_logits(again, ids, lengths), our_logits(ours, ids, lengths), lengths, atol=0)


def test_a_tie_that_assigning_undid_is_still_one(tmp_path):
    ours = Decoder(OWN)
    ours.load_state_dict({k: v.clone() for k, v in ours.state_dict().items()}, assign=True)
    assert ours.head.weight is not ours.embedding.tokens.weight
    save_pretrained(ours, None, tmp_path)
    assert load_pretrained(tmp_path, tokenizer=False)[0].config.tied_head


@pytest.mark.parametrize("changed", [{"cls.predictions.bias"}, {"cls.predictions.decoder.bias"}])
@pytest.mark.parametrize("lost", [None, "cls.predictions.bias", "cls.predictions.decoder.bias"])
def test_of_berts_two_biases_the_one_of_the_decoder_counts(changed, lost, tmp_path):
    make("BertForMaskedLM", BERT).save_pretrained(tmp_path)
    names = ("cls.predictions.bias", "cls.predictions.decoder.bias")

    def change(tensors):
        bias = tensors[names[0]]
        tensors |= {name: torch.randn(bias.shape) if name in changed else bias.clone() for name in names}
        return {k: v for k, v in tensors.items() if k != lost}

    rewrite(tmp_path, change)
    theirs = theirs_read(tmp_path, "BertForMaskedLM")
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    ids, lengths = batch(theirs)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)


MARIAN_TABLES = ["model.shared", "model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("other", MARIAN_TABLES)
def test_of_marians_four_tables_each_is_what_the_file_says(tied, other, tmp_path):
    make("MarianMTModel", MARIAN).save_pretrained(tmp_path)

    def change(tensors):
        shared = tensors["model.shared.weight"]
        tensors |= {f"{name}.weight": shared.clone() for name in MARIAN_TABLES}
        return tensors | {f"{other}.weight": torch.randn(shared.shape)}

    rewrite(tmp_path, change)
    edit(tmp_path, tie_word_embeddings=tied)
    theirs = theirs_read(tmp_path, "MarianMTModel")
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    ids, lengths = batch(theirs)
    assert_same(our_logits(ours, ids, lengths), theirs_logits(theirs, ids, lengths), lengths)
    save_pretrained(ours, None, tmp_path)
    theirs = theirs_read(tmp_path, "MarianMTModel")
    assert_same(theirs_logits(theirs, ids, lengths), our_logits(ours, ids, lengths), lengths)


@pytest.mark.parametrize(
    ("architecture", "settings", "name", "right", "wrong"),
    [
        (
            "GPT2LMHeadModel",
            GPT2,
            "transformer.h.1.attn.bias",
            torch.ones(1, 1, 16, 16).tril(),
            torch.ones(1, 1, 16, 16),
        ),
        (
            "BertModel",
            BERT,
            "embeddings.position_ids",
            torch.arange(16)[None],
            torch.arange(16).flip(0)[None],
        ),
        (
            *("LlamaForCausalLM", LLAMA, "model.layers.0.self_attn.rotary_emb.inv_freq"),
            *(10_000.0 ** -torch.tensor([0, 1 / 3, 2 / 3]), 500.0 ** -torch.tensor([0, 1 / 3, 2 / 3])),
        ),
    ],
)
def test_a_tensor_that_is_computed_here_is_compared_first(
    architecture, settings, name, right, wrong, tmp_path
):
    make(architecture, settings).save_pretrained(tmp_path)
    for tensor in (right, right.half()):
        put(name, tensor)(tmp_path)
        load_pretrained(tmp_path, tokenizer=False)
    put(name, wrong)(tmp_path)
    with pytest.raises(ValueError, match=f"{name} is not what its config says"):
        load_pretrained(tmp_path, tokenizer=False)


# --- how a checkpoint asks to be used -------------------------------------------------------------------------------
GENERATION = {
    **{"do_sample": True, "temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.05, "bos_token_id": 1},
    **{"eos_token_id": [5, 9], "pad_token_id": 2, "suppress_tokens": [3], "begin_suppress_tokens": [4, 5]},
    **{"bad_words_ids": [[7], [8, 9], [5]], "min_new_tokens": 2, "forced_eos_token_id": 5, "min_p": 0.02},
    **{"num_beams": 4, "no_repeat_ngram_size": 3, "transformers_version": "4.40.0"},
}


def test_generation_settings_are_read_and_written_back(tmp_path):
    make("LlamaForCausalLM", LLAMA).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps(GENERATION))
    ours, _ = load_pretrained(tmp_path, tokenizer=False)
    assert ours.generation.sampling == SamplingParameters(
        **{"temperature": 0.6, "top_k": 50, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.05},
        **{"bad_words": ((7,), (8, 9)), "suppress_tokens": (3,), "begin_suppress_tokens": (4, 5)},
        **{"forced_last": 5, "min_new_tokens": 2},
    )
    assert (ours.generation.start_id, ours.generation.end_ids, ours.generation.pad_id) == (1, (5, 9), 2)
    save_pretrained(ours, None, tmp_path / "same")
    assert json.loads((tmp_path / "same" / "generation_config.json").read_text()) == GENERATION
    colder = dataclasses.replace(ours.generation.sampling, temperature=0.0, min_new_tokens=1)
    ours.generation = dataclasses.replace(ours.generation, sampling=colder, end_ids=(9,))
    save_pretrained(ours, None, tmp_path / "changed")
    again, _ = load_pretrained(tmp_path / "changed", tokenizer=False)
    assert again.generation == dataclasses.replace(
        ours.generation,
        sampling=dataclasses.replace(
            SamplingParameters(temperature=0.0),
            repetition_penalty=1.05,
            bad_words=((7,), (8, 9)),
            suppress_tokens=(3,),
            begin_suppress_tokens=(4, 5),
            forced_last=5,
            min_new_tokens=1,
        ),
    )
    assert again.generation.stored["num_beams"] == 4
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path / "changed")
    assert theirs.do_sample is False and theirs.eos_token_id == 9 and theirs.no_repeat_ngram_size == 3
    assert transformers.AutoConfig.from_pretrained(tmp_path / "changed").eos_token_id == 9


@pytest.mark.parametrize("legacy", [False, True])
def test_a_translator_says_it_in_either_file(legacy, tmp_path):
    theirs = make("MarianMTModel", MARIAN)
    theirs.generation_config.update(
        bad_words_ids=[[30], [0]], forced_bos_token_id=4, min_length=3, num_beams=2
    )
    theirs.save_pretrained(tmp_path / "a")
    if legacy:
        edit(
            tmp_path / "a",
            bad_words_ids=[[30], [0]],
            forced_bos_token_id=4,
            forced_eos_token_id=0,
            min_length=3,
        )
        (tmp_path / "a" / "generation_config.json").unlink()
    for name in ("a", "b"):
        ours, _ = load_pretrained(tmp_path / name, tokenizer=False)
        sampling = ours.generation.sampling
        assert (sampling.bad_words, sampling.forced_first, sampling.forced_last) == (((30,),), 4, 0)
        assert (sampling.min_new_tokens, sampling.temperature) == (2, 0.0)
        assert (ours.generation.start_id, ours.generation.end_ids, ours.generation.pad_id) == (30, (0,), 30)
        save_pretrained(ours, None, tmp_path / "b")
    assert transformers.AutoConfig.from_pretrained(tmp_path / "b").decoder_start_token_id == 30


def test_ids_of_special_tokens_survive_without_a_tokenizer(tmp_path):
    make("LlamaForCausalLM", LLAMA | {"bos_token_id": 3, "eos_token_id": [4, 6]}).save_pretrained(
        tmp_path / "a"
    )
    for name in ("a", "b"):
        (tmp_path / name / "generation_config.json").unlink(missing_ok=True)
        ours, _ = load_pretrained(tmp_path / name, tokenizer=False)
        assert (ours.generation.start_id, ours.generation.end_ids) == (3, (4, 6))
        save_pretrained(ours, None, tmp_path / "b")
    assert ours.generation.sampling.temperature == 0
    mine = Decoder(OWN)
    mine.generation = GenerationSettings(
        end_ids=(7,), start_id=2, sampling=SamplingParameters(top_k=0, top_p=0.5)
    )
    save_pretrained(mine, None, tmp_path / "c")
    assert load_pretrained(tmp_path / "c", tokenizer=False)[0].generation == mine.generation
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path / "c")
    assert theirs.do_sample and theirs.top_k == 0 and theirs.eos_token_id == 7 and theirs.bos_token_id == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eos_token_id": "</s>"}, "eos_token_id must be a token id or several, got '</s>'"),
        ({"bad_words_ids": [[]]}, "every item of bad_words must hold at least one token id"),
        ({"do_sample": True, "top_p": 3}, "top_p must be a probability"),
    ],
)
def test_generation_settings_that_make_no_sense_are_named(settings, message, tmp_path):
    make("LlamaForCausalLM", LLAMA).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=message):
        load_pretrained(tmp_path, tokenizer=False)


# --- what users bring -----------------------------------------------------------------------------------------------
def test_norms_in_float32_of_a_bfloat16_model_stay_so(tmp_path):
    make("LlamaForCausalLM", LLAMA).to(torch.bfloat16).save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: {k: v.float() if "norm" in k else v for k, v in tensors.items()})
    ours, _ = load_pretrained(tmp_path, dtype="auto", tokenizer=False)
    assert (
        ours.stack.final_norm.weight.dtype
        == ours.stack.layers[1].attention_norm.weight.dtype
        == torch.float32
    )
    assert ours.head.weight.dtype == ours.stack.layers[0].attention.W_q.weight.dtype == torch.bfloat16
    exact, _ = load_pretrained(tmp_path, dtype="float32", tokenizer=False)
    assert {p.dtype for p in exact.parameters()} == {torch.float32}
    ids, lengths = batch(transformers.AutoModelForCausalLM.from_pretrained(tmp_path))
    assert_close(our_logits(ours, ids, lengths).float(), our_logits(exact, ids, lengths), atol=0.3, rtol=0.1)
    save_pretrained(ours, None, tmp_path / "again")
    stored = load_file(tmp_path / "again" / "model.safetensors")
    assert {k: v.dtype for k, v in stored.items()} == {
        k: torch.float32 if "norm" in k else torch.bfloat16 for k in stored
    }
    assert json.loads((tmp_path / "again" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("word", "dtype"),
    [
        *[("bfloat16", torch.bfloat16), ("torch.float16", torch.float16), ("auto", torch.float32)],
        *[("float64", torch.float64), (torch.float16, torch.float16), (None, torch.float32)],
    ],
)
def test_dtypes_by_their_names(word, dtype, sound):
    ours, _ = load_pretrained(sound, dtype=word, tokenizer=False)
    assert {p.dtype for p in ours.parameters()} == {dtype}


def test_arguments_that_make_no_sense_are_not_blamed_on_the_checkpoint(sound):
    for dtype in ("int8", "bfloat17", torch.int8, 16, ""):
        with pytest.raises(ValueError, match=f"^dtype must be .*got {dtype!r}"):
            load_pretrained(sound, dtype=dtype, tokenizer=False)
    for device in ("gpu", "cuda:99", 77, "mps:3", "cpu:x"):
        with pytest.raises(ValueError, match=f"^there is no device {device!r} here, only 'cpu'"):
            load_pretrained(sound, device=device, tokenizer=False)
    model, _ = load_pretrained(sound, device="auto", tokenizer=False)
    assert model.head.weight.device == (
        torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    )


@pytest.mark.parametrize(
    ("keyword", "answer"),
    [("torch_dtype", "write dtype="), ("device_map", "write device="), ("load_in_8bit", "quantize_model")],
)
def test_keywords_of_tutorials_are_answered(keyword, answer, sound):
    with pytest.raises(TypeError, match=f"load_pretrained takes no {keyword}=: .*{answer}"):
        load_pretrained(sound, **{keyword: "auto"})


def test_settings_of_torch_do_not_matter(sound, tmp_path):
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"), torch.inference_mode():
            ours, _ = load_pretrained(sound, tokenizer=False)
            save_pretrained(ours, None, tmp_path)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {(p.dtype, p.device.type) for p in ours.parameters()} == {(torch.float32, "cpu")}
    assert all(p.requires_grad and not p.is_inference() for p in ours.parameters())
    again, _ = load_pretrained(tmp_path, tokenizer=False)
    assert_close(again(torch.tensor([[1, 2]])), ours(torch.tensor([[1, 2]])))


@pytest.mark.parametrize(
    "wrap", [torch.nn.DataParallel, lambda m: torch.compile(torch.nn.DataParallel(m), backend="eager")]
)
def test_wrapped_models_are_saved_as_what_they_hold(wrap, tmp_path):
    ours = Decoder(OWN)
    save_pretrained(wrap(ours), None, tmp_path)
    again, _ = load_pretrained(tmp_path, tokenizer=False)
    assert_close(again(torch.tensor([[1, 2]])), ours(torch.tensor([[1, 2]])))


def test_pointers_of_git_lfs_are_called_so(sound, tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 512345678\n"
    for name in ("model.safetensors", "config.json", "tokenizer.json", "model-00001-of-00002.safetensors"):
        folder = tmp_path / name
        shutil.copytree(sound, folder)
        (folder / name).write_bytes(pointer)
        with pytest.raises(
            ValueError, match=f"{name} is a Git LFS pointer, not the file itself: .*git lfs pull"
        ) as error:
            load_pretrained(folder)
        assert "\n" not in str(error.value)
    load_pretrained(tmp_path / "tokenizer.json", tokenizer=False)  # is not read
    only_pickle(folder := tmp_path / "config.json")
    (folder / "pytorch_model.bin").write_bytes(pointer)
    shutil.copy(sound / "config.json", folder)
    with pytest.raises(ValueError, match="pytorch_model.bin is a Git LFS pointer"):
        load_pretrained(folder)


def test_chat_templates_may_mark_what_the_assistant_said():
    template = (
        "{% set n = 1 %}{%- for m in messages -%}<{{ m.role }}>{% if m.role == 'assistant' %}\n"
        "{%- generation -%}{% set n = 5 %}{{ m.content }}{{ n }}<end>{% endgeneration %}\n"
        "{% else %}{{ m.content }}<end>{{ n }}{% endif %}{%- endfor -%}{% if add_generation_prompt %}<go>{% endif %}"
    )
    talk = [{"role": role, "content": f"{role}?"} for role in ("system", "user", "assistant", "user")]
    library = tokenizers.Tokenizer(tokenizers.models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=library)
    for prompt in (False, True):
        expected = theirs.apply_chat_template(
            talk, chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
        assert render(template, {"messages": talk, "add_generation_prompt": prompt}) == expected


# --- saving into a used folder --------------------------------------------------------------------------------------
LEFTOVERS = ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
LEFTOVERS += (
    "pytorch_model-00001-of-00002.bin",
    "adapter_config.json",
    "adapter_model.safetensors",
    "vocab.txt",
)
LEFTOVERS += (
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "merges.txt",
)
LEFTOVERS += ("generation_config.json", "source.spm", "vocab.json", "added_tokens.json", "tokenizer.model")
KEPT = (
    "model_ema.safetensors",
    "training_args.bin",
    "README.md",
    "log.txt",
    "optimizer.pt",
    "notes/model.safetensors",
    "figure.png",
    "results.json",
)


def use(folder):
    """Leave the files of another model, and of its user, in a folder."""
    (folder / "notes").mkdir(parents=True, exist_ok=True)
    for name in (*LEFTOVERS, *KEPT):
        (folder / name).write_text(name)


def test_nothing_of_the_model_before_is_left(tmp_path):
    make("Qwen3ForCausalLM", LLAMA).save_pretrained(tmp_path)
    use(tmp_path)
    ours = Decoder(OWN)
    save_pretrained(ours, None, tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"config.json", "model.safetensors", *KEPT}
    assert all((tmp_path / name).read_text() == name for name in KEPT)
    again, _ = load_pretrained(tmp_path, tokenizer=False)
    assert_close(again(torch.tensor([[1, 2]])), ours(torch.tensor([[1, 2]])))
    save_pretrained(ours, BytePairTokenizer.train(["the hat"], 260), tmp_path)
    assert (tmp_path / "tokenizer.json").is_file() and not (tmp_path / "chat_template.jinja").exists()


@pytest.mark.slow
def test_a_crash_leaves_one_of_the_two_or_nothing_that_loads(tmp_path, monkeypatch):
    old, new = (Decoder(OWN, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    tokenizer, seen, calls = BytePairTokenizer.train(["the hat"], 260), set(), 0

    def dying(function):
        def call(*arguments, **keywords):
            nonlocal calls
            calls += 1
            if calls > step:
                raise KeyboardInterrupt
            return function(*arguments, **keywords)

        return call

    for step in range(60):
        folder, calls = tmp_path / str(step), 0
        save_pretrained(old, tokenizer, folder)
        (folder / "chat_template.jinja").write_text("old")
        with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
            for owner, name in (
                (os, "replace"),
                (os, "fsync"),
                (os, "unlink"),
                (Path, "unlink"),
                (Path, "touch"),
            ):
                patched.setattr(owner, name, dying(getattr(owner, name)))
            save_pretrained(new, None, folder)
        try:
            found, _ = load_pretrained(folder, tokenizer=False)
        except FileNotFoundError as error:
            assert "holds no config.json" in str(error)
            seen.add("nothing")
            continue
        (found,) = (
            name
            for name, model in (("old", old), ("new", new))
            if torch.equal(found.head.weight, model.head.weight)
        )
        old_files = {(folder / name).exists() for name in ("tokenizer.json", "chat_template.jinja")}
        assert old_files == {found == "old"}
        seen.add(found)
        if calls <= step:
            break
    assert seen == {"old", "nothing", "new"}


# --- a family is a file ---------------------------------------------------------------------------------------------
def test_a_new_family_is_one_new_file(tmp_path, monkeypatch):
    make("LlamaForCausalLM", LLAMA).save_pretrained(tmp_path / "a")
    edit(tmp_path / "a", model_type="cousin", architectures=["CousinForCausalLM"])
    with pytest.raises(ValueError, match="models of type 'cousin' are not supported, only bert, "):
        load_pretrained(tmp_path / "a", tokenizer=False)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "cousin.py").write_text(
        "from lecture_lib.decoder import Decoder\n"
        "from lecture_lib.pretrained.families.llama import Llama\n\n"
        "class Cousin(Llama):\n"
        "    model_type = 'cousin'\n"
        "    architectures = {'CousinForCausalLM': Decoder}\n"
    )
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path / "more")])
    families.families.cache_clear()
    try:
        ours, _ = load_pretrained(tmp_path / "a", tokenizer=False)
        save_pretrained(ours, None, tmp_path / "b")
        assert load_pretrained(tmp_path / "b", tokenizer=False)[0].origin["model_type"] == "cousin"
    finally:
        families.families.cache_clear()


def test_every_setting_of_transformers_is_read_or_known_to_change_no_number():
    """A new version of transformers with a new setting fails here until somebody has looked at it."""
    harmless = set(
        [
            "use_cache",
            "attention_dropout",
            "pretraining_tp",
            "classifier_dropout",
            "attention_probs_dropout_prob",
            "embd_pdrop",
            "attn_pdrop",
            "reorder_and_upcast_attn",
            "encoder_layerdrop",
            "decoder_layerdrop",
            "activation_dropout",
            "summary_type",
            "summary_use_proj",
            "summary_activation",
            "summary_proj_to_labels",
            "summary_first_dropout",
            "bos_token_id",
            "eos_token_id",
            "pad_token_id",
            "decoder_start_token_id",
            "forced_eos_token_id",
        ]
    )
    for name, family in families.families().items():
        config = transformers.AutoConfig.for_model(name)
        known = {theirs for table in family.settings for theirs in table.values()} | set(family.supported)
        known |= {"max_position_embeddings", "rope_parameters", "share_encoder_decoder_embeddings"} | harmless
        known |= {"sliding_window", "use_sliding_window", "max_window_layers", "layer_types", *family.folded}
        own = set(config.to_dict()) - set(transformers.PretrainedConfig().to_dict())
        assert own - known - ({"is_decoder"} if name == "marian" else set()) == set()


# --- config.json as published (what changes numbers, and what else stands there) ------------------------------------
PUBLISHED = {
    "Mistral 7B v0.1": (
        {
            **{
                "architectures": ["MistralForCausalLM"],
                "bos_token_id": 1,
                "eos_token_id": 2,
                "hidden_act": "silu",
            },
            **{"hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336, "use_cache": True},
            **{"max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32},
            **{
                "num_hidden_layers": 32,
                "num_key_value_heads": 8,
                "rms_norm_eps": 1e-05,
                "rope_theta": 10000.0,
            },
            **{
                "sliding_window": 4096,
                "tie_word_embeddings": False,
                "torch_dtype": "bfloat16",
                "vocab_size": 32000,
            },
        },
        {"sliding_window": 4096, "context_length": 32768, "d_head": 128, "n_kv_heads": 8, "tied_head": False},
    ),
    "Mistral Nemo": (
        {
            **{"architectures": ["MistralForCausalLM"], "attention_dropout": 0.0, "head_dim": 128},
            **{"hidden_act": "silu", "hidden_size": 5120, "intermediate_size": 14336, "rms_norm_eps": 1e-05},
            **{"max_position_embeddings": 131072, "model_type": "mistral", "num_attention_heads": 32},
            **{
                "num_hidden_layers": 40,
                "num_key_value_heads": 8,
                "rope_theta": 1000000.0,
                "vocab_size": 131072,
            },
            **{"sliding_window": None, "tie_word_embeddings": False},
        },
        {"sliding_window": None, "d_head": 128, "rope_theta": 1e6, "qkv_bias": False},
    ),
    "Llama 3.1 8B": (
        {
            **{"architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0},
            **{"bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu"},
            **{"hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 131072},
            **{"mlp_bias": False, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32},
            **{"num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_theta": 500000.0},
            "rope_scaling": {
                **{"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_type": "llama3"},
                "original_max_position_embeddings": 8192,
            },
            **{"tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 128256},
        },
        {
            "rope_scaling": RotaryScaling(8.0, 1.0, 4.0, 8192),
            "context_length": 131072,
            "sliding_window": None,
        },
    ),
    "SmolLM": (
        {
            **{"architectures": ["LlamaForCausalLM"], "attention_bias": False, "hidden_act": "silu"},
            **{
                "hidden_size": 576,
                "intermediate_size": 1536,
                "max_position_embeddings": 2048,
                "mlp_bias": False,
            },
            **{"model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30, "vocab_size": 49152},
            **{"num_key_value_heads": 3, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0},
            **{
                "rope_interleaved": False,
                "is_llama_config": True,
                "tie_word_embeddings": True,
                "pad_token_id": None,
            },
        },
        {"tied_head": True, "rope_scaling": None},
    ),
    "Qwen2.5 with the YaRN of its page": (
        {
            **{"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "hidden_act": "silu"},
            **{"hidden_size": 3584, "intermediate_size": 18944, "max_position_embeddings": 32768},
            **{
                "max_window_layers": 28,
                "model_type": "qwen2",
                "num_attention_heads": 28,
                "vocab_size": 152064,
            },
            **{
                "num_hidden_layers": 28,
                "num_key_value_heads": 4,
                "rms_norm_eps": 1e-06,
                "rope_theta": 1000000.0,
            },
            **{"sliding_window": 131072, "tie_word_embeddings": False, "use_sliding_window": False},
            "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
        },
        {
            **{"sliding_window": None, "context_length": 131072, "qkv_bias": True, "out_bias": False},
            "rope_scaling": RotaryScaling(4.0, original_max_position_embeddings=32768, rope_type="yarn"),
        },
    ),
    "Qwen3 0.6B": (
        {
            **{"architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "head_dim": 128},
            **{"hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072, "max_window_layers": 28},
            **{"max_position_embeddings": 40960, "model_type": "qwen3", "num_attention_heads": 16},
            **{
                "num_hidden_layers": 28,
                "num_key_value_heads": 8,
                "rms_norm_eps": 1e-06,
                "rope_scaling": None,
            },
            **{
                "rope_theta": 1000000,
                "sliding_window": None,
                "tie_word_embeddings": True,
                "vocab_size": 151936,
            },
            "use_sliding_window": False,
        },
        {"d_head": 128, "qk_norm": True, "rope_theta": 1e6, "context_length": 40960},
    ),
    "a Llama with dynamic scaling": (
        {
            **{
                "architectures": ["LlamaForCausalLM"],
                "hidden_size": 64,
                "intermediate_size": 64,
                "vocab_size": 9,
            },
            **{"model_type": "llama", "num_attention_heads": 4, "num_hidden_layers": 2},
            **{"max_position_embeddings": 4096, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
        },
        {
            "context_length": 8192,
            "rope_scaling": RotaryScaling(2.0, original_max_position_embeddings=4096, rope_type="dynamic"),
        },
    ),
}


@pytest.mark.parametrize(("theirs", "fields"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_settings_as_published(theirs, fields):
    family, _ = families.family_of(theirs)
    (config,) = family.read(theirs)
    assert {name: getattr(config, name) for name in fields} == fields
    assert family.read(family.write((config,))) == (config,)
    there = transformers.AutoConfig.for_model(**theirs)
    assert config.d_head == (
        getattr(there, "head_dim", None) or there.hidden_size // there.num_attention_heads
    )


@pytest.mark.parametrize(
    ("model_type", "change", "message"),
    [
        ("llama", {"rope_interleaved": True}, "rope_interleaved=True is not supported"),
        ("llama", {"rope_scaling": {"type": "longrope", "factor": 2.0}}, "scaling of type 'longrope'"),
        (
            "llama",
            {"rope_scaling": {"type": "dynamic", "factor": 2.0, "alpha": 1000}},
            "'alpha' in the rotary",
        ),
        (
            "llama",
            {"rope_scaling": {"type": "yarn", "factor": -2.0}},
            "factor must be a positive number, got -2.0",
        ),
        ("mistral", {"attention_bias": True}, "attention_bias=True is not supported"),
        (
            "mistral",
            {"layer_types": ["full_attention"]},
            "layer_types with 'full_attention' are not supported",
        ),
        ("qwen2", {"use_mrope": True}, "use_mrope=True is not supported"),
        (
            *("qwen2", {"use_sliding_window": True, "layer_types": ["chunked_attention"]}),
            "layer_types must name 1 layers as sliding_attention or full_attention",
        ),
    ],
)
def test_settings_that_would_change_numbers_are_refused_by_name(model_type, change, message):
    theirs = {"vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2} | change
    theirs |= {"num_hidden_layers": 1, "max_position_embeddings": 32, "num_key_value_heads": 1}
    with pytest.raises(ValueError, match=message):
        families.families()[model_type].read(theirs)


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
        r"1 tensors without a place in its config, the first is model.layers.2.bias",
    ),
    "more layers": (settings(num_hidden_layers=3), "lacks 9 of the 30 tensors"),
    "fewer layers": (settings(num_hidden_layers=1), "holds 9 tensors without a place in its config"),
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
