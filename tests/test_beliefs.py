"""The decoder of chapter 6: sums over all texts against the source's own bounds, and a mask that leaks."""

import math

import pytest
import torch
from torch import nn

from lecture_lib.zoo.recipes import beliefs


class PerfectReader(nn.Module):
    """Says of the next token what the source says; its features are the beliefs, turned and shifted."""

    def __init__(self):
        super().__init__()
        self.config = beliefs.new_model(0, 4).config

    def features(self, ids):
        turn = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return torch.from_numpy(beliefs.SOURCE.beliefs(ids.numpy())) @ turn + 2

    def forward(self, ids, here=None):
        known = beliefs.SOURCE.beliefs(ids.numpy())
        return torch.from_numpy(known @ beliefs.SOURCE.transitions @ beliefs.SOURCE.emissions).log() + 7


def test_texts_have_all_the_probability():
    ids, chances = beliefs.all_texts()
    assert ids.shape == (6561, 8)
    assert len(ids.unique(dim=0)) == 6561
    assert chances.sum().item() == pytest.approx(1)
    assert chances[0].item() == pytest.approx(chances[-1].item())  # AAAAAAAA and CCCCCCCC
    first = [chances[ids[:, 0] == token].sum().item() for token in range(3)]
    assert first == pytest.approx([1 / 3] * 3)


def test_a_perfect_reader_has_the_loss_of_the_floor():
    floors = beliefs.floors()
    assert beliefs.exact_losses(PerfectReader()).tolist() == pytest.approx(floors)
    assert math.log(3) > floors[0] and floors == sorted(floors, reverse=True)


def test_a_model_that_guesses_has_ln_3():
    model = beliefs.new_model(0, 4)
    nn.init.zeros_(model.stack.final_norm.weight)
    nn.init.zeros_(model.stack.final_norm.bias)
    assert beliefs.exact_losses(model).tolist() == pytest.approx([math.log(3)] * 8)


def test_a_linear_map_reads_what_is_there():
    read, true, r2 = beliefs.read_beliefs(PerfectReader())
    assert r2 == pytest.approx(1)
    assert torch.allclose(read, true)
    _, _, untrained = beliefs.read_beliefs(beliefs.new_model(0))
    assert 0.9 < untrained < 0.98


@pytest.mark.parametrize(("leaks", "reach"), [(False, 4), (True, 2)])
def test_the_leaking_mask_shows_one_token_more_a_layer(leaks, reach):
    model = beliefs.new_model(1)
    ids = torch.zeros(1, 8, dtype=torch.int64)
    other = ids.clone()
    other[0, 4] = 1
    with torch.no_grad():
        here = beliefs.sight(model, ids, leaks)
        change = (model(ids, here=here) - model(other, here=here)).abs().amax(-1)[0]
    assert (change > 1e-6).nonzero().flatten().tolist() == list(range(reach, 8))


@pytest.mark.slow
def test_training_goes_towards_the_floor_and_a_leak_below_it():
    text, floors = beliefs.text(100_000), torch.tensor(beliefs.floors())
    model = beliefs.train_model(beliefs.new_model(0, 8), text, seed=0, steps=150)
    above = beliefs.exact_losses(model) - floors
    assert (above >= 0).all() and above.mean() < 0.05
    cheat = beliefs.train_model(beliefs.new_model(0, 8), text, seed=0, steps=150, leaks=True)
    below = beliefs.exact_losses(cheat, leaks=True) - floors
    assert (below[:-1] < -0.1).all() and below[-1] >= 0
