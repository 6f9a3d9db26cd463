"""Training: losses against torch and transformers, the loop against one written by hand, and every way to stop it."""

import errno
import itertools
import json
import math
import os
import pickle
import resource
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import seeded
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed, nn
from torch.nn import functional as F

from lecture_lib.corpora.markov import MarkovSource
from lecture_lib.decoder import Decoder
from lecture_lib.encoder import Encoder, MaskedLanguageModel, TextClassifier, WordClassifier
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.training import (
    Batch,
    TrainingConfig,
    TrainingDivergedError,
    adamw_groups,
    clip_gradients,
    cross_entropy,
    evaluate,
    in_order,
    labelled_batches,
    learning_rate,
    load_checkpoint,
    mask_tokens,
    masked_batches,
    mlm_loss,
    next_token_batches,
    pad,
    random_windows,
    save_checkpoint,
    sequential_windows,
    shift,
    shuffled,
    target_loss,
    train,
    translation_batches,
)
from lecture_lib.training.distributed import replicate, without_averaging
from lecture_lib.transformer import ModelConfig


class Tiny(nn.Module):
    """A model that reads one token: enough to train, with dropout so that random numbers matter."""

    def __init__(self, vocab_size: int = 7, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 5)
        self.norm = nn.LayerNorm(5)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(5, vocab_size)
        for p in self.parameters():
            nn.init.normal_(p, generator=seeded(seed + p.numel()))

    def forward(self, ids, lengths=None):
        return self.head(self.dropout(self.norm(self.embedding(ids))))


TEXT = torch.randint(7, (200,), generator=seeded(0))


def text_windows():
    return sequential_windows(TEXT[:50], 3, 6)


def text_batches(seed: int = 1):
    return random_windows(TEXT, batch_size=4, context_length=6, generator=seeded(seed))


# --- losses ---


def test_the_loss_of_a_sentence_is_the_chain_rule():
    """p(sentence) = p(takes | it) p(great | it takes) p(courage | ...): minus its log is the sum of the losses."""
    probabilities = torch.tensor([[0.1, 0.5, 0.2, 0.2], [0.1, 0.1, 0.25, 0.55], [0.4, 0.1, 0.1, 0.4]])
    inputs, targets = shift(torch.tensor([[0, 1, 2, 3]]))
    assert inputs.tolist() == [[0, 1, 2]] and targets.tolist() == [[1, 2, 3]]
    loss = cross_entropy(probabilities.log()[None], targets)
    assert loss.item() == pytest.approx(-math.log(0.5 * 0.25 * 0.4) / 3)
    assert cross_entropy(torch.zeros(2, 3, 11), torch.ones(2, 3, dtype=torch.int64)).item() == pytest.approx(
        math.log(11)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4)])
def test_cross_entropy_is_torchs_with_its_gradient(shape, smoothing):
    generator = seeded(3)
    logits = (5 * torch.randn(*shape, 6, dtype=torch.float64, generator=generator)).requires_grad_()
    targets = torch.randint(6, shape, generator=generator)
    if len(shape) == 3:
        targets[0, 1] = -100
        targets[1, 2, 3] = -100
    ours = cross_entropy(logits, targets, label_smoothing=smoothing)
    theirs = F.cross_entropy(logits.reshape(-1, 6), targets.reshape(-1), label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (ours, theirs))
    )


def test_cross_entropy_of_large_and_impossible_logits():
    logits = torch.tensor([[1e4, -1e4, 0.0], [-torch.inf, 0.0, 0.0]])
    assert cross_entropy(logits, torch.tensor([0, 1])).item() == pytest.approx(math.log(2) / 2)
    assert cross_entropy(logits, torch.tensor([1, -100])).item() == pytest.approx(2e4)
    nothing = cross_entropy(torch.randn(2, 3).requires_grad_(), torch.tensor([-100, -100]))
    assert nothing.item() == 0
    nothing.backward()


def test_next_token_loss_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=13, n_positions=9, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.randint(13, (3, 7), generator=seeded(0))
    inputs, targets = shift(ids)
    assert cross_entropy(model(inputs).logits, targets).item() == pytest.approx(
        model(ids, labels=ids).loss.item()
    )
    lengths = torch.tensor([7, 4, 1])
    _, targets = shift(ids, lengths)
    assert (targets != -100).sum(dim=1).tolist() == [6, 3, 0]
    labels = ids.masked_fill(torch.arange(7) >= lengths[:, None], -100)
    assert cross_entropy(model(inputs).logits, targets).item() == pytest.approx(
        model(ids, labels=labels).loss.item()
    )


def test_mlm_loss_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=13, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    model = transformers.BertForMaskedLM(config).eval()
    ids, targets = mask_tokens(torch.randint(13, (3, 7), generator=seeded(0)), 12, 13, generator=seeded(1))
    assert mlm_loss(model(ids).logits, targets).item() == pytest.approx(
        model(ids, labels=targets).loss.item()
    )


def test_masking_is_fifteen_of_a_hundred_and_of_these_80_10_10():
    ids = torch.randint(4, 50, (200, 250), generator=seeded(2))
    ids[:, 0] = 1
    shown, targets = mask_tokens(ids, mask_id=3, vocab_size=50, special_ids=(0, 1, 2), generator=seeded(3))
    chosen = targets != -100
    assert (
        not chosen[:, 0].any()
        and (targets[chosen] == ids[chosen]).all()
        and (shown[~chosen] == ids[~chosen]).all()
    )
    n = int(chosen.sum())
    n_ids = ids[:, 1:].numel()

    def is_share(count, total, p):
        assert abs(count - total * p) < 5 * math.sqrt(total * p * (1 - p))

    is_share(n, n_ids, 0.15)
    is_share(int((shown[chosen] == 3).sum()), n, 0.8 + 0.1 / 50)
    is_share(int((shown[chosen] == ids[chosen]).sum()), n, 0.1 + 0.1 / 50)
    swapped = shown[chosen & (shown != ids) & (shown != 3)]
    is_share(len(swapped), n, 0.1 * 48 / 50)
    assert len(swapped.unique()) == 49  # any token of the vocabulary but the mask, special ones included
    again = mask_tokens(ids, 3, 50, (0, 1, 2), generator=seeded(3))
    assert torch.equal(again[0], shown) and torch.equal(again[1], targets)


def test_masking_all_or_nothing():
    ids = torch.arange(12).reshape(3, 4)
    shown, targets = mask_tokens(ids, 0, 20, probability=0.0)
    assert torch.equal(shown, ids) and (targets == -100).all()
    _, targets = mask_tokens(ids, 0, 20, probability=1.0, special_ids=(5,))
    assert (targets == -100).sum() == 1 and targets[1, 1] == -100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_entropy(torch.zeros(2, 3), torch.zeros(3, dtype=int)), r"got \(2, 3\) and \(3,\)"),
        (
            lambda: cross_entropy(torch.zeros(2, 3), torch.tensor([0, 3])),
            "targets must lie in 0 ... 2, got 3",
        ),
        (
            lambda: cross_entropy(torch.zeros(2, 3), torch.tensor([0, -1])),
            "targets must lie in 0 ... 2, got -1",
        ),
        (lambda: cross_entropy(torch.zeros(1, 3), torch.tensor([0]), label_smoothing=1.5), "label_smoothing"),
        (lambda: shift(torch.zeros(3, 1, dtype=int)), r"at least two tokens, got \(3, 1\)"),
        (lambda: mask_tokens(torch.zeros(1, 1, dtype=int), 5, 5), "mask_id must lie in 0 ... 4, got 5"),
        (
            lambda: mask_tokens(torch.zeros(1, 1, dtype=int), 0, 5, probability=15),
            "probability must be a probability, 0 to 1, got 15",
        ),
    ],
)
def test_loss_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- batches ---


def test_windows_are_pieces_of_the_text_shifted_by_one():
    ids = torch.arange(100, 140)
    batch = next(random_windows(ids, batch_size=3, context_length=5, generator=seeded(0)))
    assert batch.inputs[0].shape == batch.targets.shape == (3, 5)
    assert torch.equal(batch.inputs[0] + 1, batch.targets)
    assert batch.n_targets == 15
    starts = [b.inputs[0][:, 0] for b in itertools.islice(random_windows(ids, 9, 38, seeded(1)), 20)]
    assert set(torch.cat(starts).tolist()) == {100, 101}  # the first place and the last place that fits
    again = [b.inputs[0][:, 0] for b in itertools.islice(random_windows(ids, 9, 38, seeded(1)), 20)]
    assert torch.equal(torch.cat(starts), torch.cat(again))


@given(st.integers(2, 40), st.integers(1, 5), st.integers(1, 9))
def test_sequential_windows_ask_for_every_token_once(n_tokens, batch_size, context_length):
    ids = torch.arange(n_tokens)
    batches = sequential_windows(ids, batch_size, context_length)
    assert torch.cat([b.targets.flatten() for b in batches]).tolist() == list(range(1, n_tokens))
    assert torch.cat([b.inputs[0].flatten() for b in batches]).tolist() == list(range(n_tokens - 1))
    assert all(b.inputs[0].shape[0] <= batch_size and b.inputs[0].shape[1] <= context_length for b in batches)


@given(st.integers(1, 7), st.integers(1, 9))
def test_shuffled_deals_every_row_equally_often(n_rows, batch_size):
    dealt = list(itertools.chain(*itertools.islice(shuffled(n_rows, batch_size, seeded(0)), n_rows)))
    assert sorted(dealt) == sorted(list(range(n_rows)) * batch_size)
    assert list(itertools.chain(*in_order(n_rows, batch_size))) == list(range(n_rows))


def test_rows_are_padded_and_padding_is_not_asked_for():
    rows = [[1, 2, 3, 4], [5, 6], [7, 8, 9]]
    (batch,) = next_token_batches(rows, in_order(3, 3), pad_id=0)
    assert batch.inputs[0].tolist() == [[1, 2, 3], [5, 0, 0], [7, 8, 0]]
    assert batch.inputs[1].tolist() == [3, 1, 2]
    assert batch.targets.tolist() == [[2, 3, 4], [6, -100, -100], [8, 9, -100]]
    assert batch.n_targets == 6
    (batch,) = translation_batches([[1], [2, 3], [4, 5, 6]], rows, [[2, 0]])
    source, target, lengths = batch.inputs
    assert source.tolist() == [[4, 5, 6], [1, 0, 0]] and lengths.tolist() == [3, 1]
    assert target.tolist() == [[7, 8, 0], [1, 2, 3]] and batch.targets.tolist() == [[8, 9, -100], [2, 3, 4]]
    (batch,) = labelled_batches(rows, [0, 1, 1], [[1, 2]])
    assert batch.targets.tolist() == [1, 1] and batch.inputs[1].tolist() == [2, 3]
    (batch,) = labelled_batches(rows, [[0, 1, 0, 1], [1, -100], [0, 0, 1]], [[1, 2]])
    assert batch.targets.tolist() == [[1, -100, -100], [0, 0, 1]]
    (batch,) = masked_batches(rows, [[0, 1]], mask_id=9, vocab_size=10, probability=1.0, generator=seeded(0))
    assert batch.targets.tolist() == [[1, 2, 3, 4], [5, 6, -100, -100]]


def test_shares_of_a_batch_are_the_batch():
    batch = Batch((torch.arange(10).reshape(5, 2), None), torch.arange(5))
    shares = [batch.share(rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat([s.inputs[0] for s in shares]), batch.inputs[0])
    assert torch.equal(torch.cat([s.targets for s in shares]), batch.targets)
    with pytest.raises(ValueError, match="a batch of 5 rows cannot be shared by 6 processes"):
        batch.share(0, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_windows([1, 2, 3], 2, 3), r"more than 3 tokens, got \(3,\)"),
        (
            lambda: random_windows(torch.zeros(2, 9), 2, 3),
            r"one row of more than 3 tokens, got \(2, 9\)",
        ),
        (lambda: random_windows([1, 2, 3], 0, 1), "batch_size must be a positive integer, got 0"),
        (lambda: sequential_windows([1], 1, 1), "more than 1 tokens"),
        (lambda: sequential_windows([1, 2], 1, 0), "context_length must be a positive integer, got 0"),
        (lambda: shuffled(0, 2), "n_rows must be a positive integer, got 0"),
        (lambda: pad([[1], []]), r"at least one token in each: got lengths \[1, 0\]"),
        (lambda: pad([]), "there must be rows"),
        (
            lambda: translation_batches([[1]], [[1, 2], [1, 2]], [[0]]),
            "each source needs its target: got 1 and 2",
        ),
        (lambda: labelled_batches([[1]], [], [[0]]), "each row needs its label: got 1 and 0"),
    ],
)
def test_batch_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- steps ---


def test_only_matrices_decay_and_everything_is_trained_once():
    config = ModelConfig(vocab_size=11, d_model=8, n_heads=2, n_layers=1, context_length=9)
    model = Decoder(config)
    decayed, kept = adamw_groups(model, 0.1)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    embedded = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    assert {id(p) for p in decayed["params"]} == {
        i for i, name in names.items() if name.endswith("weight") and "norm" not in name and i not in embedded
    }
    assert sorted(id(p) for g in (decayed, kept) for p in g["params"]) == sorted(names)
    tied = Tiny()
    tied.head.weight = tied.embedding.weight
    decayed, kept = adamw_groups(tied, 0.1)
    assert decayed["params"] == [] and len(kept["params"]) == 4
    tied.norm.requires_grad_(False)
    assert len(adamw_groups(tied, 0.1)[1]["params"]) == 2
    with pytest.raises(ValueError, match="no parameter to train"):
        adamw_groups(tied.requires_grad_(False), 0.1)


@pytest.mark.parametrize(("warmup", "final"), [(0, 0.1), (1, 0.0), (5, 0.3), (20, 0.5)])
def test_learning_rate_is_that_of_torchs_schedulers(warmup, final):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / max(warmup, 1), total_iters=max(warmup - 1, 1))
    fall = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20 - max(warmup, 1), eta_min=0.3 * final)
        if warmup < 20
        else rise
    )
    parts = [fall] if warmup <= 1 else [rise] if warmup == 20 else [rise, fall]
    scheduler = (
        parts[0] if len(parts) == 1 else torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [warmup - 1])
    )
    if warmup <= 1:
        optimizer.param_groups[0]["lr"] = 0.3
    for step in range(20):
        assert learning_rate(step, 20, 0.3, warmup, final) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-5
        )
        optimizer.step()
        scheduler.step()


def test_learning_rate_landmarks_and_errors():
    rates = [learning_rate(step, 100, peak=2.0, warmup_steps=10, final_fraction=0.25) for step in range(100)]
    assert (
        rates[0] == pytest.approx(0.2)
        and rates[9] == 2.0
        and max(rates) == 2.0
        and rates[99] == pytest.approx(0.5)
    )
    assert learning_rate(0, 1, peak=2.0) == 2.0
    assert {learning_rate(s, 5, 2.0, final_fraction=1.0) for s in range(5)} == {2.0}
    with pytest.raises(ValueError, match="step 100 .* must lie within the 100 steps"):
        learning_rate(100, 100, 1.0)
    with pytest.raises(ValueError, match="a warm-up of 101 must lie within the 100 steps"):
        learning_rate(0, 100, 1.0, warmup_steps=101)


@pytest.mark.parametrize("threshold", [0.5, 50.0, None])
def test_clipping_on_both_sides_of_the_threshold(threshold):
    ours, theirs = ([nn.Parameter(torch.zeros(n)) for n in (3, 4, 2)] for _ in range(2))
    for parameters in (ours, theirs):
        generator = seeded(0)
        for p in parameters[:2]:
            p.grad = torch.randn(p.shape, generator=generator)
    norm = clip_gradients(ours, threshold)
    assert norm.item() == pytest.approx(nn.utils.clip_grad_norm_(theirs, threshold or math.inf).item())
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=0)
    after = clip_gradients(ours, None).item()
    assert after == pytest.approx(min(norm.item(), threshold or math.inf))


def test_clipping_of_nothing_and_errors():
    assert clip_gradients([nn.Parameter(torch.zeros(2))], 1.0).item() == 0
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.zeros(2)
    clip_gradients([p], 1.0)
    assert torch.equal(p.grad, torch.zeros(2))
    with pytest.raises(ValueError, match="max_norm must be positive, or None for no clipping, got 0"):
        clip_gradients([p], 0)


# --- the loop ---


def test_the_loop_is_the_one_everybody_writes_by_hand():
    config = TrainingConfig(
        max_steps=12, learning_rate=0.05, warmup_steps=3, weight_decay=0.2, max_grad_norm=0.5
    )
    model, twin = Tiny(), Tiny()
    run = train(model, text_batches(), config)
    optimizer = torch.optim.AdamW(
        [{"params": [twin.head.weight], "weight_decay": 0.2},
         {"params": [twin.embedding.weight, *twin.norm.parameters(), twin.head.bias], "weight_decay": 0.0}],
        betas=(0.9, 0.95),
    )  # fmt: skip
    for step, batch in zip(range(12), text_batches(), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, 12, 0.05, 3)
        loss = F.cross_entropy(twin(batch.inputs[0]).flatten(0, 1), batch.targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        optimizer.step()
        assert run.losses[step] == pytest.approx(loss.item(), rel=1e-4)
        assert run.gradient_norms[step] == pytest.approx(norm.item(), rel=1e-4)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert run.n_targets == 12 * 24 and run.tokens_per_second > 0


@pytest.mark.parametrize("lengths", [[6, 6, 6, 6], [7, 2, 5, 3]])
def test_accumulated_batches_are_one_big_batch(lengths):
    """Also where the parts hold different numbers of targets: every token counts the same."""
    rows = [TEXT[10 * i : 10 * i + n].tolist() for i, n in enumerate(lengths)]
    weights = []
    for batch_size, accumulation in ((4, 1), (2, 2), (1, 4)):
        model = Tiny()
        batches = next_token_batches(
            rows, itertools.chain.from_iterable(itertools.repeat(in_order(4, batch_size)))
        )
        config = TrainingConfig(max_steps=5, learning_rate=0.01, accumulation_steps=accumulation)
        run = train(model, batches, config)
        weights.append((run.losses, torch.cat([p.detach().flatten() for p in model.parameters()])))
    for losses, w in weights[1:]:
        assert losses == pytest.approx(weights[0][0], rel=1e-5)
        torch.testing.assert_close(w, weights[0][1], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_bigram_model_reaches_the_entropy_rate_and_not_less():
    source = MarkovSource.random(6, seed=2)
    text, other = source.sample(30_000, seed=0), source.sample(30_000, seed=1)
    model = nn.Sequential(nn.Embedding(6, 6))
    config = TrainingConfig(max_steps=400, learning_rate=0.05, weight_decay=0.0, max_grad_norm=None)
    validation = sequential_windows(other, 64, 100)
    run = train(model, random_windows(text, 16, 32, seeded(0)), config, validation=validation)
    ideal = (
        -torch.tensor(source.next_distributions(other))
        .log()
        .gather(1, torch.tensor(other)[:, None])[1:]
        .mean()
    )
    assert ideal.item() - 1e-3 < run.evaluations[400] < 1.03 * ideal.item()


def models():
    config = ModelConfig(vocab_size=11, d_model=8, n_heads=2, n_layers=1, context_length=12)
    rows = [[1, *TEXT[10 * i : 10 * i + 3 + i].tolist(), 2] for i in range(4)]
    order = itertools.repeat([0, 1, 2, 3])
    word_labels = [[t % 2 for t in row] for row in rows]
    encoder = lambda: Encoder(config)  # noqa: E731
    yield "decoder", Decoder(config), next_token_batches(rows, order)
    yield (
        "masked",
        MaskedLanguageModel(encoder()),
        masked_batches(rows, order, 10, 11, (1, 2), 0.9, seeded(0)),
    )
    yield "text", TextClassifier(encoder(), 3), labelled_batches(rows, [0, 1, 2, 1], order)
    yield "words", WordClassifier(encoder(), 2), labelled_batches(rows, word_labels, order)
    yield "translation", EncoderDecoder(config), translation_batches(rows, rows[::-1], order)


@pytest.mark.parametrize("name", ["decoder", "masked", "text", "words", "translation"])
def test_every_model_of_the_course_learns(name):
    torch.manual_seed(0)
    model, batches = next((model, batches) for n, model, batches in models() if n == name)
    run = train(model, batches, TrainingConfig(max_steps=60, learning_rate=0.02))
    assert sum(run.losses[-5:]) < 0.8 * sum(run.losses[:5])


def test_other_objectives_and_models_of_other_libraries():
    transformers = pytest.importorskip("transformers")
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=7, n_positions=9, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
        )
    )

    def smooth(model, batch):
        return cross_entropy(model(batch.inputs[0]).logits, batch.targets, label_smoothing=0.1)

    run = train(model, text_batches(), TrainingConfig(max_steps=3, learning_rate=0.01), objective=smooth)
    assert run.losses[0] == pytest.approx(math.log(7), rel=0.1)


def test_the_bar_shows_loss_and_speed_where_someone_watches(capsys, monkeypatch):
    monkeypatch.delattr("builtins.__IPYTHON__", raising=False)  # left by a test that starts IPython
    config = TrainingConfig(max_steps=3, learning_rate=0.01)
    train(Tiny(), text_batches(), config)
    assert capsys.readouterr().err == ""
    train(Tiny(), text_batches(), config, progress=True)
    assert "tokens/s" in (shown := capsys.readouterr().err) and "loss" in shown and "3/3" in shown


# --- evaluation ---


def test_evaluation_is_the_mean_over_tokens():
    model = Tiny(dropout=0.5)
    model.train()
    batches = sequential_windows(TEXT, batch_size=7, context_length=9)
    found = evaluate(model, batches, n_bytes=600)
    with torch.no_grad():
        loss = F.cross_entropy(model.eval()(TEXT[None, :-1])[0], TEXT[1:]).item()
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(loss), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(199 * loss / math.log(2) / 600, rel=1e-5)
    assert found.n_targets == 199
    evaluate(model, batches)
    assert not model.training  # left as it came
    model.train()
    assert evaluate(model, batches).loss == found.loss and model.training
    assert evaluate(model, batches).bits_per_byte is None
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(model, [])


def test_target_loss_is_cross_entropy():
    model = Tiny()
    batch = Batch((TEXT[:6].reshape(2, 3),), torch.tensor([[1, -100, 2], [-100, 0, 3]]))
    torch.testing.assert_close(target_loss(model, batch), cross_entropy(model(*batch.inputs), batch.targets))
    nothing = Batch(batch.inputs, torch.full((2, 3), -100))
    assert target_loss(model, nothing).item() == 0


# --- stopping and going on ---

CONFIG = TrainingConfig(
    max_steps=15, learning_rate=0.05, warmup_steps=2, accumulation_steps=2, checkpoint_every=5
)


def interrupting(batches, at):
    """Press Ctrl-C while batch number `at` is fetched."""
    for i, batch in enumerate(batches):
        if i == at:
            signal.raise_signal(signal.SIGINT)
        yield batch


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("stop", [1, 5, 9, 14])
def test_an_interrupted_run_goes_on_exactly(tmp_path, stop):
    torch.manual_seed(0)
    whole = Tiny(dropout=0.3)
    validation = sequential_windows(TEXT[:50], 3, 6)
    config = TrainingConfig(**{**vars(CONFIG), "evaluate_every": 4})
    expected = train(whole, text_batches(), config, validation=validation)

    torch.manual_seed(0)
    path = tmp_path / "runs" / "tiny.pt"
    with pytest.raises(KeyboardInterrupt, match=rf"stopped after step {stop} of 15; .* of step {stop}"):
        train(
            Tiny(dropout=0.3),
            interrupting(text_batches(), 2 * stop - 1),
            config,
            validation=validation,
            checkpoint=path,
        )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    torch.manual_seed(99)
    resumed = Tiny(dropout=0.3, seed=1)
    run = train(resumed, text_batches(), config, validation=validation, checkpoint=path, resume=True)
    assert run.losses == expected.losses
    assert run.gradient_norms == expected.gradient_norms
    assert run.evaluations == expected.evaluations
    assert torch.equal(weights(resumed), weights(whole))
    assert [p.name for p in path.parent.iterdir()] == ["tiny.pt"]

    done = train(Tiny(dropout=0.3), text_batches(), config, checkpoint=path, resume=True)
    assert done.losses == expected.losses


def test_a_second_interrupt_does_not_wait():
    def pressing_twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        yield next(text_batches())

    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), pressing_twice(), CONFIG)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_masks_and_shuffles_drawn_on_the_way_are_drawn_again(tmp_path):
    def make():
        generator = seeded(5)
        rows = [TEXT[8 * i : 8 * i + 4 + i % 4].tolist() for i in range(20)]
        return masked_batches(rows, shuffled(20, 6, generator), 6, 7, generator=generator, probability=0.4)

    expected = train(Tiny(), make(), CONFIG).losses
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), interrupting(make(), 13), CONFIG, checkpoint=tmp_path / "c.pt")
    assert train(Tiny(), make(), CONFIG, checkpoint=tmp_path / "c.pt", resume=True).losses == expected


def test_dropout_is_on_while_training_and_the_mode_is_given_back():
    losses = []
    for is_training in (True, False):
        model = Tiny(dropout=0.5).train(is_training)
        torch.manual_seed(3)
        losses.append(train(model, text_batches(), CONFIG).losses)
        assert model.training is is_training
    assert losses[0] == losses[1] != train(Tiny(), text_batches(), CONFIG).losses


def diverging(at):
    """An objective that is not a number from batch `at` on."""
    calls = itertools.count()
    return lambda model, batch: target_loss(model, batch) * (math.nan if next(calls) >= at else 1.0)


def test_a_loss_that_is_no_number_stops_before_it_spoils_the_weights(tmp_path):
    path = tmp_path / "c.pt"
    model, twin = Tiny(), Tiny()
    with pytest.raises(
        TrainingDivergedError, match=r"step 8: the loss is nan .* last good checkpoint .* of step 5"
    ):
        train(model, text_batches(), CONFIG, objective=diverging(14), checkpoint=path)
    with pytest.raises(KeyboardInterrupt):
        train(twin, interrupting(text_batches(), 13), CONFIG)
    assert torch.equal(weights(model), weights(twin))
    assert load_checkpoint(path)["step"] == 5
    run = train(Tiny(), text_batches(), CONFIG, checkpoint=path, resume=True)
    assert run.losses == train(Tiny(), text_batches(), CONFIG).losses
    with pytest.raises(TrainingDivergedError, match="there is no checkpoint"):
        train(Tiny(), text_batches(), CONFIG, objective=diverging(0))


def test_an_infinite_gradient_of_a_finite_loss_stops_too():
    class Root(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(3))

    model = Root()
    with pytest.raises(TrainingDivergedError, match="norm (inf|nan)"):
        train(model, text_batches(), CONFIG, objective=lambda model, batch: model.w.sqrt().sum())
    assert torch.equal(model.w, torch.zeros(3))


@pytest.mark.parametrize("fails", ["write", "replace", "size"])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch, fails):
    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), interrupting(text_batches(), 9), CONFIG, checkpoint=path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if fails == "size":  # the system itself refuses to let the file grow
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    else:
        monkeypatch.setattr(*((os, "replace", full) if fails == "replace" else (os, "fsync", full)))
    try:
        with pytest.raises(
            OSError, match=r"at step 10: could not write a checkpoint \(.*unharmed: .*c\.pt"
        ) as caught:
            train(Tiny(), text_batches(), CONFIG, checkpoint=path, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        monkeypatch.undo()
    assert fails == "size" or "No space left on device" in str(caught.value)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    run = train(Tiny(), text_batches(), CONFIG, checkpoint=path, resume=True)
    assert run.losses == train(Tiny(), text_batches(), CONFIG).losses


class Surprise:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    "kind", ["empty", "text", "truncated", "flipped", "pickle", "torch pickle", "other", "folder"]
)
def test_broken_checkpoints_are_refused_and_nothing_in_them_runs(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.pt"
    save_checkpoint(path, {"step": 3, "big": torch.zeros(1000)})
    assert load_checkpoint(path)["step"] == 3
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not a checkpoint")
        case "truncated":
            path.write_bytes(path.read_bytes()[:-600])
        case "flipped":
            damaged = bytearray(path.read_bytes())
            damaged[len(damaged) // 2] ^= 1
            path.write_bytes(damaged)
        case "pickle":
            path.write_bytes(pickle.dumps(Surprise(), protocol=2))
        case "torch pickle":
            torch.save({"format": Surprise()}, path)
        case "other":
            torch.save({"weight": torch.zeros(3)}, path)
        case "folder":
            path.unlink()
            path.mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=r"c\.pt"):
        train(Tiny(), text_batches(), CONFIG, checkpoint=path, resume=True)
    assert not (tmp_path / "executed").exists()


def test_resuming_another_run_is_refused(tmp_path):
    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        train(Tiny(), interrupting(text_batches(), 9), CONFIG, checkpoint=path)
    before = path.read_bytes()

    def resume(model=None, batches=None, **changes):
        config = TrainingConfig(**{**vars(CONFIG), **changes})
        train(model or Tiny(), batches or text_batches(), config, checkpoint=path, resume=True)

    with pytest.raises(ValueError, match=r"other settings: learning_rate 0.05 -> 0.1$"):
        resume(max_steps=20, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"other settings: max_steps 15 -> 10"):
        resume(max_steps=10)
    with pytest.raises(ValueError, match="no checkpoint of a training: it has no config"):
        save_checkpoint(tmp_path / "mine.pt", {"step": 3})
        train(Tiny(), text_batches(), CONFIG, checkpoint=tmp_path / "mine.pt", resume=True)
    with pytest.raises(ValueError, match="not the batches of the run"):
        resume(batches=text_batches(seed=2))
    with pytest.raises(ValueError, match="batches ended after 2 of 15 steps"):
        resume(batches=itertools.islice(text_batches(), 5))
    with pytest.raises(ValueError, match="of another model"):
        resume(model=Tiny(vocab_size=9))
    with pytest.raises(ValueError, match="of another model"):
        resume(model=nn.Sequential(nn.Embedding(7, 7)))
    with pytest.raises(ValueError, match="exists already: resume=True"):
        train(Tiny(), text_batches(), CONFIG, checkpoint=path)
    with pytest.raises(ValueError, match="say from which checkpoint"):
        train(Tiny(), text_batches(), CONFIG, resume=True)
    assert path.read_bytes() == before
    resume(checkpoint_every=3)


def test_a_finished_run_goes_on_for_more_steps(tmp_path):
    """The steps done stay as they are; the others follow the schedule of the longer training."""
    torch.manual_seed(0)
    path, model = tmp_path / "c.pt", Tiny(dropout=0.3)
    first = train(model, text_batches(), CONFIG, checkpoint=path)
    longer = TrainingConfig(**{**vars(CONFIG), "max_steps": np.int64(22), "evaluate_every": 7})
    resumed = Tiny(dropout=0.3, seed=1)
    run = train(resumed, text_batches(), longer, validation=text_windows(), checkpoint=path, resume=True)
    assert run.losses[:15] == first.losses and len(run.losses) == 22 and list(run.evaluations) == [21, 22]

    torch.manual_seed(0)
    twin, stream = Tiny(dropout=0.3), text_batches()
    optimizer = torch.optim.AdamW(adamw_groups(twin, 0.1), betas=(0.9, 0.95))
    for step in range(22):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, 15 if step < 15 else 22, 0.05, 2)
        optimizer.zero_grad()
        for _ in range(2):
            (target_loss(twin.train(), next(stream)) / 2).backward()
        clip_gradients(twin.parameters(), 1.0)
        optimizer.step()
    torch.testing.assert_close(weights(resumed), weights(twin), rtol=1e-4, atol=1e-5)

    again = train(Tiny(dropout=0.3), text_batches(), longer, checkpoint=path, resume=True)
    assert again.losses == run.losses  # finished once more: nothing to do
    with pytest.raises(ValueError, match="max_steps 22 -> 15"):
        train(Tiny(dropout=0.3), text_batches(), CONFIG, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="batches ended after 25 of 40 steps"):
        even_longer = TrainingConfig(**{**vars(CONFIG), "max_steps": 40})
        train(Tiny(), itertools.islice(text_batches(), 51), even_longer, checkpoint=path, resume=True)


class Halved(nn.Module):
    """A model with a compiled part inside."""

    def __init__(self, seed: int = 0, compiled: bool = False) -> None:
        super().__init__()
        tiny = Tiny(dropout=0.3, seed=seed)
        self.inside = torch.compile(tiny, backend="eager") if compiled else tiny

    def forward(self, ids, lengths=None):
        return self.inside(ids)


WRAPPINGS = {
    "plain": lambda seed: Tiny(dropout=0.3, seed=seed),
    "compiled": lambda seed: torch.compile(Tiny(dropout=0.3, seed=seed), backend="eager"),
    "DataParallel": lambda seed: nn.DataParallel(Tiny(dropout=0.3, seed=seed)),
    "both": lambda seed: torch.compile(nn.DataParallel(Tiny(dropout=0.3, seed=seed)), backend="eager"),
    "inside": lambda seed: Halved(seed),
    "compiled inside": lambda seed: Halved(seed, compiled=True),
}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *itertools.permutations(("plain", "compiled", "DataParallel"), 2),
        ("both", "plain"),
        ("plain", "both"),
        ("compiled", "compiled"),
        ("inside", "compiled inside"),
        ("compiled inside", "inside"),
    ],
)
def test_wrapped_models_go_on_in_plain_ones_and_back(tmp_path, before, after):
    torch.manual_seed(0)
    expected = train(WRAPPINGS[before](0), text_batches(), CONFIG)
    torch.manual_seed(0)
    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        train(WRAPPINGS[before](0), interrupting(text_batches(), 13), CONFIG, checkpoint=path)
    assert not any(
        "_orig_mod" in name or name.startswith("module.") for name in load_checkpoint(path)["model"]
    )
    model = WRAPPINGS[after](1)
    run = train(model, text_batches(), CONFIG, validation=text_windows(), checkpoint=path, resume=True)
    assert run.losses == pytest.approx(expected.losses, rel=1e-5)
    assert math.isfinite(run.evaluations[15])


@pytest.mark.slow
def test_wrapped_by_distributed_data_parallel(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        expected = train(Tiny(), text_batches(), CONFIG)
        path = tmp_path / "c.pt"
        model = nn.parallel.DistributedDataParallel(Tiny())
        assert train(model, text_batches(), CONFIG, checkpoint=path).losses == pytest.approx(expected.losses)
        assert list(load_checkpoint(path)["model"]) == list(Tiny().state_dict())
        assert replicate(model, 2) is model and replicate(compiled := torch.compile(model), 2) is compiled
        with without_averaging(compiled, True):
            assert not model.require_backward_grad_sync
        assert model.require_backward_grad_sync
    finally:
        distributed.destroy_process_group()


@pytest.fixture
def settings_of_the_reader():
    """Whatever a test says about device, dtype and gradients is taken back."""
    yield
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


@pytest.mark.parametrize(
    "said",
    [
        lambda: torch.set_default_device("meta"),  # as good as a GPU for seeing who makes tensors where
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.bfloat16),
        lambda: torch.set_default_dtype(torch.float16),
        lambda: torch.set_grad_enabled(False),
    ],
    ids=["device", "float64", "bfloat16", "float16", "no gradients"],
)
def test_what_the_reader_set_before_does_no_harm(said, settings_of_the_reader, tmp_path):
    rows = [TEXT[9 * i : 9 * i + 3 + i % 3].tolist() for i in range(8)]
    word_labels = [[t % 2 for t in row] for row in rows]

    def outcome(name):
        model = models_made[name]
        generator = seeded(4)
        order = shuffled(8, 3, generator)
        masked = masked_batches(rows, order, 6, 7, generator=generator, probability=0.5)
        labelled = list(itertools.islice(labelled_batches(rows, word_labels, shuffled(8, 3, seeded(1))), 2))
        translated = list(translation_batches(rows, rows, in_order(8, 3)))
        config = TrainingConfig(max_steps=4, learning_rate=0.1)
        path = tmp_path / f"{name}.pt"
        run = train(model, masked, config, validation=text_windows(), checkpoint=path)
        more = TrainingConfig(max_steps=6, learning_rate=0.1)
        generator.manual_seed(4)
        again = masked_batches(rows, shuffled(8, 3, generator), 6, 7, generator=generator, probability=0.5)
        return (
            run.losses,
            run.gradient_norms,
            run.evaluations,
            train(model, again, more, checkpoint=path, resume=True).losses,
            evaluate(model, text_windows()).loss,
            [batch.targets.tolist() for batch in (*labelled, *translated)],
        )

    models_made = {"before": Tiny(), "after": Tiny()}
    expected = outcome("before")
    said()
    assert outcome("after") == expected


def test_inside_inference_mode_a_model_from_outside_is_trained():
    expected, model = train(Tiny(), text_batches(), CONFIG), Tiny()
    with torch.inference_mode():
        assert train(model, text_batches(), CONFIG).losses == expected.losses


def test_numbers_and_tables_of_numpy():
    config = TrainingConfig(
        max_steps=np.arange(5)[3], learning_rate=np.float32(0.5), warmup_steps=np.int32(1), weight_decay=np.float64(0),
        accumulation_steps=np.uint8(2), checkpoint_every=np.int64(0),
    )  # fmt: skip
    kinds = [type(value) for value in vars(config).values()]
    assert set(kinds) == {int, float, bool} and config == TrainingConfig(
        3, 0.5, 1, 0.1, 0.0, accumulation_steps=2
    )
    n, two = np.int64(6), np.int16(2)
    by_python = list(itertools.islice(random_windows(TEXT, 2, 6, seeded(1)), 3))
    for text in (TEXT.numpy(), TEXT.numpy().astype(np.uint16), TEXT.tolist(), TEXT.int()):
        for found, expected in zip(random_windows(text, two, n, seeded(1)), by_python, strict=False):
            assert torch.equal(found.targets, expected.targets) and found.targets.dtype == torch.int64
        assert sum(batch.n_targets for batch in sequential_windows(text, two, n)) == 199
    rows = [np.array([1, 2, 3]), np.array([4, 5])]
    order = [np.array([1, 0])]
    assert [b.targets.tolist() for b in next_token_batches(rows, order, np.int64(0))] == [[[5, -100], [2, 3]]]
    for labels in (np.array([3, 4]), torch.tensor([3, 4]), [np.int64(3), np.int64(4)], [3, 4]):
        assert next(labelled_batches(rows, labels, order)).targets.tolist() == [4, 3]
    assert next(shuffled(np.int64(3), np.int64(3), seeded(0))) == next(shuffled(3, 3, seeded(0)))
    assert in_order(np.int64(3), np.int64(2)) == [[0, 1], [2]]
    assert (
        train(Tiny(), text_batches(), config).losses
        == train(Tiny(), text_batches(), TrainingConfig(**vars(config))).losses
    )


def test_a_text_mapped_from_a_file_is_read_without_a_warning(tmp_path):
    np.arange(60_000, 60_040, dtype=np.uint16).tofile(tmp_path / "t.bin")
    ids = np.memmap(tmp_path / "t.bin", dtype=np.uint16, mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = next(random_windows(ids, 64, 8, seeded(0)))
    assert torch.equal(batch.targets, batch.inputs[0] + 1) and int(batch.targets.max()) <= 60_039


# --- sums in single precision or better ---


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_losses_are_summed_in_single_precision_or_better(dtype):
    generator = seeded(1)
    logits = (4 * torch.randn(3000, 11, generator=generator)).to(dtype).requires_grad_()
    targets = torch.randint(11, (3000,), generator=generator)
    exact, n = 0.0, 0
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        exact += math.log(sum(math.exp(z - row[target]) for z in row))
        n += 1
    batch = Batch((logits,), targets)
    for loss in (cross_entropy(logits, targets), target_loss(nn.Identity(), batch)):
        assert loss.dtype == torch.promote_types(dtype, torch.float32)
        assert loss.item() == pytest.approx(exact / n, rel=2e-6)
        gradient = torch.autograd.grad(loss, logits)[0]
        assert gradient.dtype == dtype and gradient.isfinite().all()
    smooth = cross_entropy(logits, targets, label_smoothing=0.1).item()
    reference = F.cross_entropy(logits.double(), targets, label_smoothing=0.1).item()
    assert smooth == pytest.approx(reference, rel=2e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_long_sums_neither_stall_nor_overflow(dtype):
    """70,000 targets of 11 nats: their sum is beyond float16, and bfloat16 would stop counting at 4,096."""
    logits = torch.zeros(70_000, 2, dtype=dtype)
    logits[:, 1] = 11.0
    targets = torch.zeros(70_000, dtype=torch.int64)
    for loss in (cross_entropy(logits, targets), target_loss(nn.Identity(), Batch((logits,), targets))):
        assert loss.item() == pytest.approx(11.0000167, rel=1e-6)
    found = evaluate(Constant(dtype), [Batch((logits[:7],), targets[:7])] * 300, n_bytes=700)
    assert found.loss == pytest.approx(11.0000167, rel=1e-6) and found.n_targets == 2100
    assert found.bits_per_byte == pytest.approx(2100 * 11.0000167 / math.log(2) / 700, rel=1e-6)


class Constant(nn.Module):
    """A model of a dtype that gives back what it is given."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, dtype=dtype))

    def forward(self, logits):
        return logits + self.w


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parts_of_a_step_are_added_up_in_double_precision(dtype):
    """Many small batches: in the model's dtype their weighted losses would get lost, and large ones overflow."""
    parts = [Batch((torch.tensor([[0.0, 7.0 + i % 5]], dtype=dtype),), torch.tensor([0])) for i in range(500)]
    config = TrainingConfig(max_steps=1, learning_rate=1e-3, accumulation_steps=500)
    run = train(Constant(dtype), parts, config)
    exact = sum(math.log1p(math.exp(7 + i % 5)) for i in range(500)) / 500
    assert run.losses[0] == pytest.approx(exact, rel=1e-6)
    half = lambda model, batch: target_loss(model, batch).to(dtype)  # an objective of the reader's own  # noqa: E731
    assert train(Constant(dtype), parts, config, objective=half).losses[0] == pytest.approx(exact, rel=4e-3)


def test_the_norm_of_gradients_in_half_precision():
    ours = [nn.Parameter(torch.zeros(n, dtype=dtype)) for n, dtype in ((3000, torch.float16), (50, torch.bfloat16), (4, torch.float32))]  # fmt: skip
    for p in ours:
        p.grad = torch.randn(p.shape, generator=seeded(p.numel())).to(p.dtype) * 2000
    exact = math.sqrt(sum(float(g) ** 2 for p in ours for g in p.grad))
    assert exact > 65504  # the largest number of float16
    norm = clip_gradients(ours, None)
    assert norm.dtype == torch.float32 and norm.item() == pytest.approx(exact, rel=1e-5)
    clip_gradients(ours, 1.0)
    assert math.sqrt(sum(float(g) ** 2 for p in ours for g in p.grad)) == pytest.approx(1, rel=1e-3)


def test_training_errors():
    with pytest.raises(ValueError, match="the batches ended after 2 of 15 steps"):
        train(Tiny(), itertools.islice(text_batches(), 5), CONFIG)
    for wrong in (
        {"max_steps": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"warmup_steps": 16},
        {"accumulation_steps": 0},
        {"max_grad_norm": 0.0},
        {"weight_decay": -1.0},
    ):
        name = next(iter(wrong)).split("_")[0]
        with pytest.raises(ValueError, match=name.replace("warmup", "warm-up")):
            TrainingConfig(**{**vars(CONFIG), **wrong})


# --- several processes, and a GPU ---

SCRIPT = """
import json, sys, torch
sys.path.insert(0, {tests!r})
from test_training import CONFIG, Tiny, interrupting, text_batches, uneven_batches, weights
from lecture_lib.training import process_rank, train
torch.set_num_threads(1)
model = Tiny()
run = train(model, uneven_batches(), CONFIG)
rank, n_processes = process_rank()
resumed = Tiny(dropout=0.3)
torch.manual_seed(rank)
whole = train(resumed, text_batches(), CONFIG).losses
model_1 = Tiny(dropout=0.3)
torch.manual_seed(rank)
try:
    train(model_1, interrupting(text_batches(), 13 if rank else 10**9), CONFIG, checkpoint={path!r})
except KeyboardInterrupt:
    pass
model_2 = Tiny(dropout=0.3)
again = train(model_2, text_batches(), CONFIG, checkpoint={path!r}, resume=True).losses
same = torch.equal(weights(resumed), weights(model_2))
print(json.dumps([rank, n_processes, run.losses, run.gradient_norms, weights(model).tolist(), whole == again, same]), flush=True)
"""


def uneven_batches():
    rows = [TEXT[9 * i : 9 * i + 2 + 3 * (i % 3)].tolist() for i in range(20)]
    return next_token_batches(rows, shuffled(20, 5, seeded(4)))


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent), path=str(tmp_path / "c.pt")))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        str(script),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    results = sorted(line for line in done.stdout.splitlines() if line.startswith("["))
    assert len(results) == 2
    model = Tiny()
    expected = train(model, uneven_batches(), CONFIG)

    for rank, line in enumerate(results):
        found_rank, n_processes, losses, norms, w, resumed_equal, weights_equal = json.loads(line)
        assert (found_rank, n_processes) == (rank, 2)
        assert losses == pytest.approx(expected.losses, rel=1e-5)
        assert norms == pytest.approx(expected.gradient_norms, rel=1e-4)  # Adam does not see their scale
        torch.testing.assert_close(torch.tensor(w), weights(model), rtol=1e-3, atol=1e-5)
        assert resumed_equal and weights_equal


def test_mixed_precision_is_for_the_products_only(monkeypatch):
    """What a GPU does by itself, tried on the CPU: bfloat16 inside, float32 weights, gradients and loss."""
    seen = []

    def objective(model, batch):
        seen.append(model.head(model.embedding(batch.inputs[0])).dtype)
        return target_loss(model, batch)

    expected = train(Tiny(), text_batches(), CONFIG, objective=objective)
    assert set(seen) == {torch.float32}
    seen.clear()
    monkeypatch.setattr("lecture_lib.training.state.TrainingState.is_mixed", lambda self: True)
    model = Tiny()
    run = train(model, text_batches(), CONFIG, objective=objective)
    assert set(seen) == {torch.bfloat16} and {p.dtype for p in model.parameters()} == {torch.float32}
    assert run.losses != expected.losses and run.losses == pytest.approx(expected.losses, rel=0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_products_are_bfloat16_and_the_run_goes_on_exactly(tmp_path):
    seen = []

    def objective(model, batch):
        seen.append((model.head(model.embedding(batch.inputs[0])).dtype, batch.targets.device.type))
        return target_loss(model, batch)

    cpu, gpu = Tiny(), Tiny().cuda()
    expected = train(cpu, text_batches(), CONFIG)
    run = train(gpu, text_batches(), CONFIG, objective=objective)
    assert set(seen) == {(torch.bfloat16, "cuda")}
    assert run.losses == pytest.approx(expected.losses, rel=0.05)
    exact = TrainingConfig(**{**vars(CONFIG), "mixed_precision": False})
    assert train(Tiny().cuda(), text_batches(), exact).losses == pytest.approx(expected.losses, rel=1e-4)
    torch.manual_seed(0)
    whole = train(Tiny(dropout=0.3).cuda(), text_batches(), CONFIG).losses
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        train(
            Tiny(dropout=0.3).cuda(), interrupting(text_batches(), 13), CONFIG, checkpoint=tmp_path / "c.pt"
        )
    again = train(Tiny(dropout=0.3).cuda(), text_batches(), CONFIG, checkpoint=tmp_path / "c.pt", resume=True)
    assert again.losses == whole
