"""The encoder and its heads: torch's own encoder on copied weights, padding, and what each head reads."""

import dataclasses

import pytest
import torch
from helpers import seeded
from torch import nn
from torch.testing import assert_close

from lecture_lib.attention import padding_mask
from lecture_lib.encoder import Encoder, MaskedLanguageModel, TextClassifier, WordClassifier
from lecture_lib.transformer import ModelConfig, TransformerStack, parameter_count

TINY = ModelConfig(
    vocab_size=11,
    d_model=12,
    n_heads=3,
    n_layers=2,
    context_length=9,
    d_ff=20,
    n_segments=2,
    embedding_norm=True,
)
IDS = torch.tensor([[1, 4, 2, 9, 5], [1, 7, 3, 0, 0]])
LENGTHS = torch.tensor([5, 3])


# --- the lecture's numbers ------------------------------------------------------------------------------------------
def test_bert_large_has_335_million_parameters():
    bert_large = ModelConfig(
        vocab_size=30_522,
        d_model=1024,
        n_heads=16,
        n_layers=24,
        context_length=512,
        n_segments=2,
        embedding_norm=True,
    )
    assert parameter_count(lambda c: TextClassifier(Encoder(c), 1), bert_large) == 335_141_888 + 1025
    assert parameter_count(lambda c: MaskedLanguageModel(Encoder(c)), bert_large) == 335_174_458


# --- independent oracle ---------------------------------------------------------------------------------------------
def test_encoder_is_the_sum_of_tables_then_torchs_encoder():
    model = Encoder(TINY, seeded()).eval()
    layer = nn.TransformerEncoderLayer(12, 3, 20, 0.0, "gelu", batch_first=True)
    theirs = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    for a, b in zip(model.stack.layers, theirs.layers, strict=True):
        maps = (a.attention.W_q, a.attention.W_k, a.attention.W_v)
        b.self_attn.in_proj_weight.data = torch.cat([m.weight.data for m in maps])
        b.self_attn.in_proj_bias.data = torch.cat([m.bias.data for m in maps])
        b.self_attn.out_proj.load_state_dict(a.attention.W_o.state_dict())
        b.linear1.load_state_dict(a.feed_forward.W_in.state_dict())
        b.linear2.load_state_dict(a.feed_forward.W_out.state_dict())
    segments = torch.tensor([[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]])
    tables = model.embedding
    X = tables.tokens.weight[IDS] + tables.positions.weight[:5] + tables.segments.weight[segments]
    expected = theirs(
        nn.functional.layer_norm(X, (12,)), src_key_padding_mask=~padding_mask(LENGTHS)[:, 0, 0]
    )
    out = model(IDS, LENGTHS, segments)
    assert out.shape == (2, 5, 12)
    assert_close(out[0], expected[0], atol=1e-5, rtol=0)
    assert_close(out[1, :3], expected[1, :3], atol=1e-5, rtol=0)


def test_heads_number_by_number():
    encoder = Encoder(TINY, seeded()).eval()
    X = encoder(IDS, LENGTHS)
    mlm = MaskedLanguageModel(encoder, seeded(1)).eval()
    nn.init.normal_(mlm.head.bias)
    hidden = nn.functional.layer_norm(nn.functional.gelu(X @ mlm.dense.weight.T + mlm.dense.bias), (12,))
    assert_close(mlm(IDS, LENGTHS), hidden @ encoder.embedding.tokens.weight.T + mlm.head.bias)
    text = TextClassifier(encoder, 4, seeded(2)).eval()
    pooled = torch.tanh(X[:, 0] @ encoder.pooler.weight.T + encoder.pooler.bias)
    assert_close(text(IDS, LENGTHS), pooled @ text.classifier.weight.T + text.classifier.bias)
    word = WordClassifier(encoder, 6, seeded(3)).eval()
    assert_close(word(IDS, LENGTHS), X @ word.classifier.weight.T + word.classifier.bias)
    assert mlm(IDS).shape == (2, 5, 11) and text(IDS).shape == (2, 4) and word(IDS).shape == (2, 5, 6)


# --- properties -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_padding_changes_nothing(positions):
    config = dataclasses.replace(TINY, positions=positions)
    model = WordClassifier(Encoder(config, seeded()), 3, seeded()).eval()
    alone = model(IDS[1:, :3])
    assert_close(model(IDS, LENGTHS)[1:, :3], alone, atol=1e-5, rtol=0)
    other = IDS.clone()
    other[1, 3:] = 8
    assert_close(model(other, LENGTHS)[1:, :3], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(model(IDS)[1:, :3], alone, atol=1e-5)


def test_every_token_sees_every_other():
    model = Encoder(TINY, seeded()).double().eval()
    X = model.embedding(IDS).detach().requires_grad_()
    for n in range(5):
        (grad,) = torch.autograd.grad(model.stack(X)[0, n, 0], X, retain_graph=True)
        assert (grad[0].abs().amax(-1) > 0).all() and grad[1].abs().max() == 0


def test_a_second_head_keeps_the_encoder_and_its_pooler():
    encoder = Encoder(TINY, seeded())
    first = TextClassifier(encoder, 2)
    second = TextClassifier(encoder, 5)
    assert second.encoder is first.encoder and second.encoder.pooler is first.encoder.pooler


def test_a_tied_head_is_the_token_table_and_an_untied_is_not():
    encoder = Encoder(TINY, seeded())
    assert MaskedLanguageModel(encoder).head.weight is encoder.embedding.tokens.weight
    untied = Encoder(dataclasses.replace(TINY, tied_head=False), seeded())
    assert MaskedLanguageModel(untied).head.weight is not untied.embedding.tokens.weight


def test_a_generator_decides_the_weights():
    a, b = (Encoder(TINY, seeded(5)).state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_gated_activations_serve_the_head_too():
    config = dataclasses.replace(TINY, activation="swiglu", norm="rms")
    assert torch.isfinite(MaskedLanguageModel(Encoder(config, seeded()))(IDS)).all()


# --- errors ---------------------------------------------------------------------------------------------------------
def test_wrong_calls_get_one_sentence():
    encoder = Encoder(TINY)
    for call, message in (
        (
            lambda: encoder(torch.zeros(2, 10, dtype=torch.long)),
            "text has 10 tokens, but the context of the model is 9",
        ),
        (lambda: encoder(IDS + 5), "token id 14 is outside the vocabulary of 11"),
        (lambda: encoder(IDS, torch.tensor([5])), r"one length a text: got \(1,\) for texts \(2, 5"),
        (lambda: encoder(IDS, torch.tensor([6, 2])), r"0 ... 5, got \[6, 2\]"),
        (lambda: encoder(IDS, segments=IDS), "segment id 9 is outside the 2 segments"),
        (
            lambda: encoder(IDS, segments=IDS[:, :3] * 0),
            r"one segment a token: \(2, 3\) for ids \(2, 5\)",
        ),
        (lambda: TextClassifier(encoder, 0), "n_classes must be a positive integer, got 0"),
        (lambda: WordClassifier(encoder, 2.5), "n_classes must be a positive integer, got 2.5"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_stack_alone_counts_as_its_formula():
    d, f = TINY.d_model, TINY.d_ff
    layer = 4 * (d * d + d) + (d * f + f) + (f * d + d) + 2 * 2 * d
    assert parameter_count(TransformerStack, TINY) == 2 * layer
