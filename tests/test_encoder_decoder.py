"""The encoder-decoder against torch.nn.Transformer on copied weights; padding, causality, and shared tables."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lecture_lib.attention import causal_mask, padding_mask
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.transformer import ModelConfig, parameter_count

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
