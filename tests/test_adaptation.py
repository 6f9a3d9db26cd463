"""What an adaptation costs and what it is made of: bytes, spectra, the bigram experiment, the card of the tuned gpt."""

import copy
import math

import pytest
import torch
from helpers import seeded
from torch import nn

from lecture_lib import zoo
from lecture_lib.corpora import code
from lecture_lib.lora import add_lora
from lecture_lib.lora.bigrams import count_pairs, excess_loss, fit_update, planted_shift
from lecture_lib.lora.memory import on_meta, training_memory, update_parameters
from lecture_lib.lora.spectrum import (
    energy_shares,
    noise_edge,
    seen_through_noise,
    truncate,
    updates_of,
    with_truncated_updates,
)
from lecture_lib.zoo import tuned


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 4, bias=False))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("r", [None, 3])
def test_bytes_are_those_that_a_step_of_adamw_leaves(dtype, r):
    model = perceptron().to(dtype)
    model = model if r is None else add_lora(model, ["0", "2"], r, 3)
    count = training_memory(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    model(torch.ones(2, 6, dtype=dtype)).sum().backward()
    optimizer.step()
    moments = [t for state in optimizer.state.values() for key, t in state.items() if key != "step"]
    assert count.weights == sum(p.nbytes for p in model.parameters())
    assert count.gradients == sum(p.grad.nbytes for p in trained)
    assert count.optimizer == sum(t.nbytes for t in moments)
    assert count.total == count.weights + count.gradients + count.optimizer
    assert r is None or count.n_trained == update_parameters([(6, 10), (10, 4)], r)


def test_bytes_of_a_model_without_numbers():
    model = on_meta(nn.Linear, 70_000, 80_000, dtype=torch.bfloat16)
    assert model.weight.is_meta and training_memory(model).weights == 2 * (70_000 * 80_000 + 80_000)


def test_truncation_is_eckart_and_youngs():
    D = torch.randn(7, 5, generator=seeded(), dtype=torch.float64)
    s = torch.linalg.svdvals(D)
    for r in range(6):
        E = truncate(D, r)
        assert torch.linalg.matrix_rank(E) == r
        torch.testing.assert_close((D - E).square().sum(), s[r:].square().sum())
        for seed in range(20):  # no other matrix of this rank is closer
            A, B = (
                torch.randn(*shape, generator=seeded(seed), dtype=torch.float64) for shape in ((7, r), (r, 5))
            )
            best = A @ torch.linalg.lstsq(A, D).solution if r else A @ B
            assert (D - best).square().sum() >= (D - E).square().sum() - 1e-12
        torch.testing.assert_close(
            energy_shares(D)[r - 1], E.square().sum() / D.square().sum()
        ) if r else None
    with pytest.raises(ValueError, match="rank r"):
        truncate(D, 6)


def test_noise_ends_at_its_edge_and_a_planted_direction_is_seen_where_theory_says():
    N, M, sigma = 300, 200, 0.5
    noise = sigma * torch.randn(N, M, generator=seeded(), dtype=torch.float64)
    assert torch.linalg.svdvals(noise)[0] == pytest.approx(noise_edge(N, M, sigma), rel=0.03)
    u, v = (
        nn.functional.normalize(torch.randn(k, generator=seeded(k), dtype=torch.float64), dim=0)
        for k in (N, M)
    )
    for s in (15.0, 40.0):
        seen = torch.linalg.svdvals(noise + s * torch.outer(u, v))[0]
        assert seen.item() == pytest.approx(seen_through_noise(torch.tensor(s), N, M, sigma).item(), rel=0.03)
    threshold = sigma * (N * M) ** 0.25
    at = seen_through_noise(torch.tensor([0.5 * threshold, 1.0001 * threshold]), N, M, sigma)
    torch.testing.assert_close(at, torch.full((2,), noise_edge(N, M, sigma)), rtol=1e-5, atol=0)


def test_updates_of_a_model_and_what_is_left_of_them():
    before = perceptron()
    after = copy.deepcopy(before)
    with torch.no_grad():
        after[0].weight += torch.randn(10, 6, generator=seeded())
        after[0].bias += 1
    updates = updates_of(before, after)
    assert list(updates) == ["0.weight"]
    assert updates_of(before, after, r"2\..*") == {}
    full = with_truncated_updates(before, updates.items(), 6)
    torch.testing.assert_close(full[0].weight, after[0].weight)
    assert torch.equal(full[0].bias, before[0].bias)
    low = with_truncated_updates(before, updates.items(), 2)
    assert torch.linalg.matrix_rank(low[0].weight - before[0].weight, rtol=1e-4) == 2
    with pytest.raises(ValueError, match="compare a model with itself"):
        updates_of(before, nn.Linear(2, 2))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_planted_rank_is_the_best_and_costs_what_theory_says(seed):
    shift, n = planted_shift(seed), 50_000
    assert torch.linalg.matrix_rank(shift.planted) == 3
    counts = count_pairs(shift, n, seeded(seed))
    assert counts.sum() == n
    torch.testing.assert_close(excess_loss(shift, shift.planted + torch.randn(48, 1)), 0.0, atol=1e-5, rtol=0)
    fits = {r: fit_update(shift.before, counts, r, generator=seeded(seed)) for r in (1, 2, 3, 6, None)}
    excess = {r: excess_loss(shift, update) for r, update in fits.items()}
    assert excess[1] > excess[2] > 10 * excess[3] > 0 and excess[6] > 2 * excess[3]
    assert excess[3] == pytest.approx(3 * (48 + 47 - 3) / 2 / n, rel=0.2)  # p / 2n, by Wilks
    assert excess[None] == pytest.approx(48 * 47 / 2 / n, rel=0.25)
    assert torch.linalg.matrix_rank(fits[3], rtol=1e-4) <= 3


@pytest.mark.slow
def test_code_is_code_alone_and_its_halves_share_no_file():
    source = '"""Doc."""\nx = 1  # a comment\n\n\ndef f():\n    """Doc."""\n\n\nclass C:\n    "Doc."\n    y = "kept"\n'
    assert code.code_alone(source) == "x = 1\n\ndef f():\n    pass\n\nclass C:\n    y = 'kept'"
    train, held_out = code.python_code("train"), code.python_code("validation")
    assert len(train) > 5 * len(held_out) > 100_000
    assert len(code.python_code()) == len(train) + len(held_out)
    assert '"""' not in held_out[:20_000]


def test_the_card_has_three_seeds_and_says_what_the_page_says():
    card = tuned.card()
    rows = {row["kind"]: row for row in card["kinds"]}
    assert list(rows) == [*tuned.RANKS, "matrices", "everything"]
    assert all(
        len(row[domain]) == 3 for row in (*rows.values(), *card["truncated"]) for domain in ("new", "old")
    )
    for r in tuned.RANKS:
        assert rows[r]["trained"] == update_parameters(
            [(128, 128)] * 24 + [(128, 352)] * 12 + [(352, 128)] * 6, r
        )
    assert all(max(rows[2 * r]["new"]) < min(rows[r]["new"]) for r in (1, 2, 4))
    assert min(min(rows[r]["new"]) for r in (1, 2, 4, 8, 16, 32)) > max(rows["matrices"]["new"])
    for row in card["truncated"]:
        if row["r"] <= 8:
            assert max(rows[row["r"]]["new"]) < min(row["new"])
    whole = card["truncated"][-1]
    assert all(
        math.isclose(a, b, abs_tol=2e-4) for a, b in zip(whole["new"], rows["matrices"]["new"], strict=True)
    )


@pytest.mark.slow
def test_a_short_adaptation_runs():
    for kind, n_trained in (
        (2, 29_568),
        ("matrices", 1_204_224),
        ("everything", zoo.card("gpt")["parameters"]),
    ):
        model, count = tuned.tuned(kind, 1e-3, seed=0, steps=1)
        assert count == n_trained
        assert updates_of(zoo.load("gpt")[0], model) != {}
