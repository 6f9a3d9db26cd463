"""The encoder-decoder against torch.nn.Transformer on copied weights; padding, causality, and shared tables."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import lecture_lib
from lecture_lib.attention import Context, causal_mask, padding_mask
from lecture_lib.corpora import translation
from lecture_lib.encoder_decoder import (
    EncoderDecoder,
    alignment,
    bleu,
    cross_attention_weights,
    forced_translation,
)
from lecture_lib.generation import translate
from lecture_lib.transformer import ModelConfig, make_context, parameter_count

REFERENCE = Path(lecture_lib.__file__).parent / "reference" / "encoder_decoder"

VASWANI = ModelConfig(
    vocab_size=11,
    d_model=12,
    n_heads=3,
    n_layers=2,
    context_length=9,
    d_ff=20,
    activation="relu",
    positions="sinusoidal",
    scale_embedding=True,
    init_std=0.3,
)
SOURCE, LENGTHS = torch.tensor([[1, 4, 2, 9, 5], [1, 7, 3, 0, 0]]), torch.tensor([5, 3])
TARGET = torch.tensor([[6, 2, 8, 4], [6, 9, 9, 1]])


def make(config=VASWANI, decoder_config=None, shared=True):
    return EncoderDecoder(config, decoder_config, shared, torch.Generator().manual_seed(0)).eval()


# --- the paper's base model -----------------------------------------------------------------------------------------
def test_vaswanis_base_model_has_about_65_million_parameters():
    base = dataclasses.replace(
        VASWANI, vocab_size=37_000, d_model=512, n_heads=8, n_kv_heads=None, d_head=None
    )
    base = dataclasses.replace(base, n_layers=6, d_ff=2048, context_length=512)
    layers = 6 * (4 * (512 * 513) + 512 * 2048 * 2 + 2560 + 2 * 1024)
    layers += 6 * (8 * (512 * 513) + 512 * 2048 * 2 + 2560 + 3 * 1024)
    assert parameter_count(EncoderDecoder, base) == layers + 37_000 * 512 == 63_082_496


# --- independent oracle ---------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm_first", [False, True])
def test_equals_torchs_transformer(norm_first):
    ours = make(dataclasses.replace(VASWANI, norm_first=norm_first))
    theirs = nn.Transformer(12, 3, 2, 2, 20, 0.0, batch_first=True, norm_first=norm_first).eval()
    if not norm_first:  # torch norms once more after the last layer, also with post-LN
        theirs.encoder.norm = theirs.decoder.norm = None

    def copy(a, b):
        maps = (a.W_q, a.W_k, a.W_v)
        b.in_proj_weight.data = torch.cat([m.weight.data for m in maps])
        b.in_proj_bias.data = torch.cat([m.bias.data for m in maps])
        b.out_proj.load_state_dict(a.W_o.state_dict())

    stacks = ((ours.encoder, theirs.encoder), (ours.decoder, theirs.decoder))
    for a, b in (
        pair for ours_, theirs_ in stacks for pair in zip(ours_.layers, theirs_.layers, strict=True)
    ):
        copy(a.attention, b.self_attn)
        if a.cross_attention is not None:
            copy(a.cross_attention, b.multihead_attn)
        b.linear1.load_state_dict(a.feed_forward.W_in.state_dict())
        b.linear2.load_state_dict(a.feed_forward.W_out.state_dict())
    hidden = ~padding_mask(LENGTHS)[:, 0, 0]
    features = theirs(
        ours.source(SOURCE),
        ours.target(TARGET),
        tgt_mask=~causal_mask(4),
        src_key_padding_mask=hidden,
        memory_key_padding_mask=hidden,
    )
    assert_close(ours(SOURCE, TARGET, LENGTHS), features @ ours.head.weight.T, atol=1e-5, rtol=0)


# --- properties -----------------------------------------------------------------------------------------------------
def test_encode_once_then_decode_is_forward():
    model = make()
    memory = model.encode(SOURCE, LENGTHS)
    logits = model(SOURCE, TARGET, LENGTHS)
    assert logits.shape == (2, 4, 11)
    for m in range(1, 5):
        assert_close(model.decode(TARGET[:, :m], memory, LENGTHS), logits[:, :m], atol=1e-5, rtol=0)


def test_source_padding_changes_nothing_and_the_source_matters():
    model = make()
    alone = model(SOURCE[1:, :3], TARGET[1:])
    assert_close(model(SOURCE, TARGET, LENGTHS)[1:], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(model(SOURCE, TARGET)[1:], alone, atol=1e-3)
    other = SOURCE.clone()
    other[:, 1] = 10
    assert (model(other, TARGET, LENGTHS) - model(SOURCE, TARGET, LENGTHS)).abs().amax(-1).min() > 1e-4


def test_the_future_of_the_target_is_hidden():
    model = make()
    changed = TARGET.clone()
    changed[:, 2] = 0
    before, after = model(SOURCE, TARGET, LENGTHS), model(SOURCE, changed, LENGTHS)
    assert_close(after[:, :2], before[:, :2], atol=1e-5, rtol=0)
    assert (after[:, 2] - before[:, 2]).abs().max() > 1e-3


def test_one_table_serves_source_target_and_head():
    model = make()
    table = model.source.tokens.weight
    assert model.target.tokens.weight is table and model.head.weight is table


def test_encoder_and_decoder_may_differ():
    decoder_config = dataclasses.replace(
        VASWANI, vocab_size=7, n_layers=1, n_heads=2, d_head=4, n_kv_heads=1, d_ff=8
    )
    model = make(VASWANI, decoder_config, shared=False)
    assert model(SOURCE, TARGET % 7, LENGTHS).shape == (2, 4, 7)
    assert len(model.decoder.layers) == 1 and model.head.weight.shape == (7, 12)
    assert model.config is decoder_config


# --- errors ---------------------------------------------------------------------------------------------------------
def test_wrong_calls_get_one_sentence():
    model = make()
    wide = dataclasses.replace(VASWANI, d_model=24, d_head=None, n_kv_heads=None)
    for call, message in (
        (lambda: make(VASWANI, wide), "share d_model: got 12 and 24"),
        (
            lambda: make(VASWANI, dataclasses.replace(VASWANI, vocab_size=7)),
            "one vocabulary, got 11 source, 7 target",
        ),
        (
            lambda: model(SOURCE, TARGET[:1], LENGTHS),
            "2 sources need as many targets, got 1",
        ),
        (lambda: model(SOURCE, TARGET, torch.tensor([9, 9])), "every length"),
        (lambda: model(SOURCE + 9, TARGET), "token id 18"),
        (lambda: model(SOURCE, TARGET + 9), "token id 18"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# --- where it looks, and how good it is -------------------------------------------------------------------------------
def test_cross_attention_weights_are_those_of_the_forward():
    model = make(dataclasses.replace(VASWANI, norm_first=True))
    weights = cross_attention_weights(model, SOURCE, TARGET, LENGTHS)
    assert weights.shape == (2, 2, 3, 4, 5)  # layers, texts, heads, target, source
    assert_close(weights.sum(-1), torch.ones(2, 2, 3, 4))
    assert weights[:, 1, :, :, 3:].eq(0).all()  # padding
    layer, memory = model.decoder.layers[0], model.encode(SOURCE, LENGTHS)
    here = make_context(model.config, TARGET, is_causal=True)
    X = model.target(TARGET, here.positions)
    X = X + layer.attention(layer.attention_norm(X), here)
    read = layer.cross_attention
    V = read.W_v(memory).unflatten(-1, (3, -1)).transpose(1, 2)
    by_weights = read.W_o((weights[0] @ V).transpose(1, 2).flatten(2))
    there = Context(memory=memory, mask=padding_mask(LENGTHS))
    assert_close(by_weights, read(layer.cross_attention_norm(X), there))
    before = model(SOURCE, TARGET, LENGTHS)
    assert not any(each.cross_attention._forward_pre_hooks for each in model.decoder.layers)
    assert_close(before, model(SOURCE, TARGET, LENGTHS))


def test_a_forced_look_changes_what_it_decides_and_nothing_before():
    model, (source,) = make(dataclasses.replace(VASWANI, norm_first=True)), SOURCE[:1]
    free = forced_translation(model, source, 99, [], 6, 0, 8)
    assert free == translate(model, source[None], 8, 6, 0)[0].tolist()
    assert forced_translation(model, source, 2, range(5), 6, 0, 8) == free
    for word in range(3):
        forced = forced_translation(model, source, word, [1], 6, 0, 8)
        assert forced[:word] == free[:word]
        one_vector = Context(memory=model.encode(source[None])[:, 1:2])
        if word == 0:  # one token of the source is all there is
            logits = model.decode(torch.tensor([[6]]), one_vector)
            assert forced[:1] == [logits[0, -1].argmax().item()]


def test_alignment_finds_the_true_pairs_in_clean_maps():
    for english, french in translation.sentence_pairs(200, 5):
        true = translation.alignment(english)
        clean = torch.zeros(1, 1, len(french) + 1, len(english))
        for n, (f, e) in enumerate(true):  # an earlier pair wins where a word has several
            clean[0, 0, f, e] = max(float(clean[0, 0, f, e]), 1 - n / 100)
        found = alignment(clean)
        assert set(found) <= set(true)
        alone = [(f, e) for f, e in true if sum(f == g or e == d for g, d in true) == 1]
        assert set(alone) <= set(found)


def test_bleu_is_sacrebleus():
    stored = json.loads((REFERENCE / "bleu.json").read_text(encoding="utf-8"))["corpora"]
    assert len(stored) >= 50
    for each in stored:
        hypotheses, references = ([t.split() for t in each[side]] for side in ("hypotheses", "references"))
        assert bleu(hypotheses, references, each["max_n"]) == pytest.approx(each["bleu"], abs=1e-9)


def test_bleu_by_hand_and_what_it_refuses():
    assert bleu([["a", "b"]], [["a", "b", "c", "d"]], max_n=2) == pytest.approx(100 * math.exp(-1))
    assert bleu([], []) == bleu([[]], [["a"]]) == 0.0
    with pytest.raises(ValueError, match="2 hypotheses need as many references: got 1"):
        bleu([["a"], ["b"]], [["a"]])
