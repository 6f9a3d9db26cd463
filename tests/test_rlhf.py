"""Learning from preferences: masks, losses and advantages against plain loops, PPO and DPO against the exact optimum."""

import copy
import itertools
import json
import math
from importlib import resources

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from lecture_lib import generation, rlhf
from lecture_lib.decoder import Decoder
from lecture_lib.sampling import SamplingParameters
from lecture_lib.training import TrainingConfig, evaluate, in_order, shuffled, train
from lecture_lib.transformer import ModelConfig

F64 = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def small(seed=0, vocab_size=6, context_length=12, **options):
    config = ModelConfig(
        vocab_size=vocab_size,
        d_model=16,
        n_heads=2,
        n_layers=1,
        context_length=context_length,
        norm_first=True,
        **options,
    )
    return Decoder(config, torch.Generator().manual_seed(seed))


# --- masks ---


def test_only_the_answers_are_asked_for():
    text = "U has roger 5 ? A the answer is 5 . E U and anna ? A 7 . E"
    words = text.split()
    ids = torch.tensor([[sorted(set(words)).index(word) for word in words]])
    begin, end = (sorted(set(words)).index(word) for word in "AE")
    inputs, targets = rlhf.answer_targets(ids, begin, end)
    asked = [words[n + 1] for n in range(len(words) - 1) if targets[0, n] != -100]
    assert " ".join(asked) == "the answer is 5 . E 7 . E"
    assert inputs.equal(ids[:, :-1])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_the_mask_is_that_of_a_reader_who_goes_from_left_to_right(row):
    inside, expected = False, []
    for token in row:
        expected.append(inside)
        if inside and token == 2:
            inside = False
        elif not inside and token == 1:
            inside = True
    assert rlhf.answer_mask(torch.tensor(row), 1, 2).tolist() == expected
    assert rlhf.answer_mask(torch.tensor([row, row[::-1]]), 1, 2)[0].tolist() == expected


# --- reward model ---


def test_the_reward_loss_is_that_of_a_fermi_function():
    a, b = draw(7), draw(7, seed=1)
    expected = sum(math.log1p(math.exp(y - x)) for x, y in zip(a.tolist(), b.tolist(), strict=True)) / 7
    assert rlhf.reward_loss(a, b).item() == pytest.approx(expected, abs=1e-12)
    assert rlhf.reward_loss(1000 * torch.ones(2), torch.zeros(2)) == 0
    assert rlhf.reward_loss(torch.zeros(2), 1000 * torch.ones(2)) == 1000
    two = torch.stack([a, b], dim=1)
    assert F.cross_entropy(two, torch.zeros(7, dtype=torch.long)).item() == pytest.approx(expected, abs=1e-12)
    assert torch.autograd.gradcheck(rlhf.reward_loss, (a.requires_grad_(), b.requires_grad_()))


def test_a_reward_is_read_at_the_last_real_token():
    model = rlhf.RewardModel(small())
    nn.init.normal_(model.value.weight, generator=torch.Generator().manual_seed(1))
    texts = torch.tensor([[[1, 2, 3, 0], [1, 4, 0, 0]], [[2, 2, 2, 2], [5, 0, 0, 0]]])
    lengths = torch.tensor([[3, 2], [4, 1]])
    rewards = model(texts, lengths)
    assert rewards.shape == (2, 2)
    for i, j in itertools.product(range(2), range(2)):
        n = int(lengths[i, j])
        alone = model(texts[i, j, :n][None], torch.tensor([n]))
        torch.testing.assert_close(rewards[i, j], alone[0])
    model(texts, lengths).sum().backward()
    assert model.decoder.embedding.tokens.weight.grad is not None


def test_a_reward_model_learns_what_was_preferred():
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(1, 6, (400, 2, 5), generator=generator)
    preferred = (texts == 3).sum(-1).argmax(1).tolist()
    pairs, model = texts.tolist(), rlhf.RewardModel(small())
    batches = rlhf.preference_batches(pairs, preferred, shuffled(400, 32, generator))
    train(model, batches, TrainingConfig(60, 1e-2, 5), progress=False)
    again = rlhf.preference_batches(pairs, preferred, in_order(400, 100))
    assert evaluate(model, again).loss < 0.35  # ln 2 = 0.69 before


def test_a_linear_reward_is_a_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    X = draw(200, 4)
    y = (draw(200, seed=1) + X[:, 0] - X[:, 2] > 0).double()
    theirs = LogisticRegression(C=1 / 0.7, fit_intercept=False, tol=1e-10, max_iter=1000).fit(
        X.numpy(), y.numpy()
    )
    torch.testing.assert_close(
        rlhf.fit_linear_reward(X, y, ridge=0.7), torch.from_numpy(theirs.coef_[0]), rtol=1e-5, atol=1e-6
    )


# --- distances, advantages ---


def test_the_distance_per_token_is_the_sum_over_the_vocabulary():
    a, b = draw(3, 5), draw(3, 5, seed=1)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=a), torch.distributions.Categorical(logits=b)
    )
    torch.testing.assert_close(rlhf.kl_per_token(a, b), expected)
    assert rlhf.kl_per_token(a, a).abs().max() < 1e-12
    assert torch.autograd.gradcheck(rlhf.kl_per_token, (a.requires_grad_(), b.requires_grad_()))


def test_the_estimate_has_the_right_mean_and_no_negative_values():
    a, b = draw(5).log_softmax(0), draw(5, seed=1).log_softmax(0)
    estimate = rlhf.kl_estimate(a, b)
    assert (estimate >= 0).all()
    assert (a.exp() * estimate).sum().item() == pytest.approx(rlhf.kl_per_token(a, b).item(), abs=1e-12)


def test_tokens_pay_for_leaving_the_reference_and_the_last_one_gets_the_score():
    log_probs, reference = draw(2, 4), draw(2, 4, seed=1)
    said = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1]]).bool()
    rewards = rlhf.token_rewards(torch.tensor([10.0, 20.0]), log_probs, reference, said, beta=0.5)
    for i, n in itertools.product(range(2), range(4)):
        expected = -0.5 * float(log_probs[i, n] - reference[i, n]) + (10 * (i + 1) if n == (2, 3)[i] else 0)
        assert rewards[i, n].item() == pytest.approx(expected * bool(said[i, n]), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_advantages_are_sums_of_discounted_surprises(n, gamma, lam, seed):
    rewards, values = draw(3, n, seed=seed), draw(3, n, seed=seed + 1)
    found = rlhf.gae(rewards, values, gamma, lam)
    after = torch.cat([values[:, 1:], torch.zeros(3, 1, dtype=F64)], dim=1)
    surprise = rewards + gamma * after - values
    for i in range(n):
        expected = sum((gamma * lam) ** k * surprise[:, i + k] for k in range(n - i))
        torch.testing.assert_close(found[:, i], expected)


def test_the_two_limits_of_lambda():
    rewards, values = draw(2, 5), draw(2, 5, seed=1)
    returns = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(rlhf.gae(rewards, values, 1.0, 1.0), returns - values)
    assert torch.autograd.gradcheck(rlhf.gae, (rewards.requires_grad_(), values.requires_grad_()))


def test_groups_compare_answers_to_one_prompt():
    rewards = draw(3, 4)
    for group, found in zip(rewards.tolist(), rlhf.group_advantages(rewards).tolist(), strict=True):
        mean = sum(group) / 4
        std = math.sqrt(sum((r - mean) ** 2 for r in group) / 3)
        assert found == pytest.approx([(r - mean) / (std + 1e-4) for r in group], abs=1e-12)
    with pytest.raises(ValueError, match="at least two answers"):
        rlhf.group_advantages(torch.ones(3, 1))


# --- losses ---


def places(seed=0, shape=(3, 4)):
    new, old, A = draw(*shape, seed=seed), draw(*shape, seed=seed + 1), draw(*shape, seed=seed + 2)
    mask = draw(*shape, seed=seed + 3) > -0.5
    return 0.3 * new, 0.3 * old, A, mask


def test_the_clipped_loss_token_by_token():
    new, old, A, mask = places()
    gains = []
    for n, o, a, m in zip(*(x.flatten().tolist() for x in (new, old, A, mask)), strict=True):
        ratio = math.exp(n - o)
        if m:
            gains.append(min(ratio * a, min(max(ratio, 0.8), 1.2) * a))
    assert rlhf.ppo_loss(new, old, A, mask).item() == pytest.approx(-sum(gains) / len(gains), abs=1e-12)
    loss = lambda x: rlhf.ppo_loss(x, old, A, mask)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (new.requires_grad_(),))
    assert rlhf.ppo_loss(new, old, A, torch.zeros_like(mask)) == 0


def test_the_first_gradient_is_the_policy_gradient():
    new, _, A, mask = places()
    new.requires_grad_()
    first = torch.autograd.grad(rlhf.ppo_loss(new, new.detach(), A, mask), new)[0]
    policy = torch.autograd.grad(-rlhf.masked_mean(A * new, mask), new)[0]
    torch.testing.assert_close(first, policy)


def test_what_stands_at_padding_reaches_neither_loss_nor_gradient():
    new, old, A, mask = places()
    mask[0, 0] = False
    wild = new.clone()
    wild[0, 0] = 1000.0
    wild.requires_grad_()
    loss = rlhf.ppo_loss(wild, old, A, mask)
    assert loss == rlhf.ppo_loss(new, old, A, mask)
    assert torch.autograd.grad(loss, wild)[0][0, 0] == 0


def test_the_value_loss_token_by_token():
    values, old, returns, mask = places(seed=10)
    terms = []
    for v, o, r, m in zip(*(x.flatten().tolist() for x in (values, old, returns, mask)), strict=True):
        near = o + min(max(v - o, -0.2), 0.2)
        if m:
            terms.append(max((v - r) ** 2, (near - r) ** 2) / 2)
    found = rlhf.value_loss(values, old, returns, mask)
    assert found.item() == pytest.approx(sum(terms) / len(terms), abs=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: rlhf.value_loss(x, old, returns, mask), (values.requires_grad_(),)
    )


def test_dpo_pair_by_pair_and_as_a_reward_loss():
    a, b, c, d = (draw(5, seed=seed) for seed in range(4))
    terms = [
        math.log1p(math.exp(-0.3 * ((w - y) - (x - z))))
        for w, x, y, z in zip(*(t.tolist() for t in (a, b, c, d)), strict=True)
    ]
    found = rlhf.dpo_loss(a, b, c, d, beta=0.3)
    assert found.item() == pytest.approx(sum(terms) / 5, abs=1e-12)
    torch.testing.assert_close(found, rlhf.reward_loss(0.3 * (a - c), 0.3 * (b - d)))
    assert rlhf.dpo_loss(c, d, c, d, 0.3).item() == pytest.approx(math.log(2))
    loss = lambda x, y: rlhf.dpo_loss(x, y, c, d, 0.3)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (a.requires_grad_(), b.requires_grad_()))


def test_what_trl_gives():
    stored = json.loads(resources.files("lecture_lib").joinpath("reference/rlhf/trl.json").read_text())
    for case in stored["cases"]:
        x = {name: torch.tensor(value, dtype=F64) for name, value in case["inputs"].items()}
        mask = x["mask"].bool()
        advantages = rlhf.gae(x["rewards"] * mask, x["values"] * mask, case["gamma"], case["lam"])
        torch.testing.assert_close(
            advantages, torch.tensor(case["advantages"], dtype=F64), rtol=1e-6, atol=1e-6
        )
        losses = (
            rlhf.ppo_loss(x["new"], x["old"], x["A"], mask, 0.2),
            rlhf.value_loss(x["predicted"], x["values"], x["returns"], mask, 0.2),
            rlhf.dpo_loss(*x["pairs"], beta=case["beta"]),
        )
        assert [float(loss) for loss in losses] == pytest.approx(case["losses"], rel=1e-5)


# --- the exact optimum ---


def replies(R=7, seed=0):
    return draw(R, seed=seed).log_softmax(0), draw(R, seed=seed + 1)


def test_no_policy_does_better_than_gibbs():
    log_p, r = replies()
    best = rlhf.gibbs_policy(log_p, r, 0.4)
    gain = lambda q: float((q.exp() * r).sum() - 0.4 * rlhf.distance(q, log_p))  # noqa: E731
    for seed in range(20):
        assert gain((best + 0.1 * draw(7, seed=seed)).log_softmax(0)) < gain(best)
    assert gain(best) == pytest.approx(0.4 * torch.logsumexp(log_p + r / 0.4, 0).item())  # -F = T ln Z


def test_fluctuation_and_dissipation():
    log_p, r = replies()
    mean = lambda x: (rlhf.gibbs_policy(log_p, r, 1 / x).exp() * r).sum()  # noqa: E731
    slope = (mean(2.001) - mean(1.999)) / 0.002
    law = rlhf.gibbs_policy(log_p, r, 0.5).exp()
    variance = (law * r**2).sum() - (law * r).sum() ** 2
    assert float(slope) == pytest.approx(float(variance), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 99))
def test_best_of_n_is_what_all_draws_say(rewards, n, seed):
    p = draw(len(rewards), seed=seed).softmax(0)
    expected = torch.zeros(len(rewards), dtype=F64)
    for drawn in itertools.product(range(len(rewards)), repeat=n):
        winner = max(drawn, key=lambda i: rewards[i])  # the first of the best
        expected[winner] += math.prod(float(p[i]) for i in drawn)
    found = rlhf.best_of_n_distribution(p, torch.tensor(rewards, dtype=F64), n)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_the_distance_of_the_best_of_n():
    p, r = torch.full((20_000,), 1 / 20_000, dtype=F64), draw(20_000)
    for n in (1, 4, 64):
        found = rlhf.distance(rlhf.best_of_n_distribution(p, r, n).log(), p.log())
        assert float(found) == pytest.approx(rlhf.best_of_n_distance(n), abs=2e-3)
    tied = rlhf.best_of_n_distribution(p, (r > 0).double(), 64)
    assert rlhf.distance(tied.log(), p.log()) < rlhf.best_of_n_distance(64) / 2


# --- rollouts ---


def test_replies_are_those_of_the_slow_loop_and_end_where_they_should():
    model = small()
    prompts = [[1, 2, 3], [4], [5, 1]]
    drawn = rlhf.rollout(model, prompts, 6, torch.Generator().manual_seed(3), stop=2)
    slow = generation.generate(
        model, prompts, 6, SamplingParameters(), torch.Generator().manual_seed(3), stop=2
    )
    for row, length, text, said, prompt in zip(*drawn[:2], slow, drawn.said, prompts, strict=True):
        assert row[:length].equal(text)
        assert said.nonzero().flatten().tolist() == list(range(len(prompt) - 1, int(length) - 1))


def test_log_probs_of_replies_sum_over_their_tokens():
    model = small()
    drawn = rlhf.rollout(model, [[1, 2], [3]], 4, torch.Generator().manual_seed(0))
    found = rlhf.reply_log_probs(model, *drawn)
    for row, length, prompt, value in zip(*drawn[:2], ([1, 2], [3]), found, strict=True):
        total = 0.0
        for n in range(len(prompt), int(length)):
            total += model(row[None, :n])[0, -1].log_softmax(-1)[row[n]].item()
        assert value.item() == pytest.approx(total, abs=1e-5)


def test_all_replies_together_have_probability_one():
    model, every = small(), rlhf.every_reply([1, 2], 6, 3)
    assert every.ids.shape == (216, 5) and every.ids[7].tolist() == [1, 2, 0, 1, 1]
    assert every.said[0].tolist() == [False, True, True, True]
    with torch.no_grad():
        assert rlhf.reply_log_probs(model, *every).exp().sum().item() == pytest.approx(1, abs=1e-5)


# --- tuning: the one training loop ---


def threes(drawn):
    return ((drawn.ids == 3)[:, 1:] & drawn.said).sum(1).float()


def ppo_run(steps, beta=0.1, **options):
    reference = small(context_length=5)
    learner = rlhf.Learner(copy.deepcopy(reference))
    batches = rlhf.prompt_batches([[0]], ([0] * 64 for _ in itertools.count()), epochs=3)
    config = TrainingConfig(steps, 5e-3, weight_decay=0.0, final_fraction=1.0)
    objective = rlhf.PPO(reference, threes, beta, max_new_tokens=4)
    train(learner, batches, config, objective, progress=False, **options)
    return learner, objective


@pytest.mark.slow
def test_ppo_finds_the_reward_and_pays_for_it():
    learner, objective = ppo_run(90)
    first, last = learner.history[0], learner.history[-1]
    assert len(learner.history) == 30
    assert last["reward"] > first["reward"] + 1 and last["kl"] > 0.5 > abs(first["kl"])
    assert last["entropy"] < first["entropy"]
    assert (
        objective.status.startswith("reward ") and "kl" in objective.status and "entropy" in objective.status
    )


@pytest.mark.slow
def test_ppo_cannot_beat_the_exact_optimum():
    learner, objective = ppo_run(240, beta=1.0)
    every = rlhf.every_reply([0], 6, 4)
    with torch.no_grad():
        before, after = (
            rlhf.reply_log_probs(model, *every).double() for model in (objective.reference, learner.policy)
        )
    r = threes(every).double()
    gain = lambda q: float((q.exp() * r).sum() - rlhf.distance(q, before))  # noqa: E731
    best = gain(rlhf.gibbs_policy(before, r, 1.0))
    assert gain(before) + 0.5 * (best - gain(before)) < gain(after) < best


@pytest.mark.parametrize("stop", [4, 6])  # between two updates on the same replies, and after the last
def test_ppo_is_resumed_exactly(tmp_path, stop):
    whole, _ = ppo_run(9)
    path = tmp_path / "ppo.pt"
    ppo_run(stop, checkpoint=path)
    resumed, _ = ppo_run(9, checkpoint=path, resume=True)
    assert resumed.history == whole.history
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert a.equal(b)


def test_dpo_prefers_what_was_preferred_and_starts_at_ln_2():
    reference, generator = small(), torch.Generator().manual_seed(0)
    answers = torch.randint(1, 6, (200, 2, 4), generator=generator)
    preferred = (answers == 3).sum(-1).argmax(1).tolist()
    pairs = [([0, 1], *both) for both in answers.tolist()]
    model = rlhf.DPO(copy.deepcopy(reference), beta=0.5)
    held = list(rlhf.answer_pairs(pairs, preferred, reference, in_order(200, 50)))
    assert evaluate(model, held).loss == pytest.approx(math.log(2), abs=1e-6)
    ids, lengths, said, log_probs = held[0].inputs
    copied = small(seed=1)
    a, b = (rlhf.reply_log_probs(copied, ids[:, k], lengths[:, k], said[:, k]) for k in (0, 1))
    swap = held[0].targets.bool()
    chosen, rejected = torch.where(swap, b, a), torch.where(swap, a, b)
    order = torch.where(swap, 1, 0)[:, None]
    before = log_probs.gather(1, order)[:, 0], log_probs.gather(1, 1 - order)[:, 0]
    loss = evaluate(rlhf.DPO(copied, 0.5), held[:1]).loss
    assert loss == pytest.approx(rlhf.dpo_loss(chosen, rejected, *before, beta=0.5).item(), abs=1e-5)
    batches = rlhf.answer_pairs(pairs, preferred, reference, shuffled(200, 32, generator))
    train(model, batches, TrainingConfig(40, 5e-3), progress=False)
    assert evaluate(model, held).loss < 0.45


# --- errors ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rlhf.reward_loss(torch.ones(2), torch.ones(3)), "same shape"),
        (lambda: rlhf.ppo_loss(*[torch.ones(2, 2)] * 3, torch.ones(2, 2).bool(), clip=0), "clip must be"),
        (lambda: rlhf.dpo_loss(*[torch.ones(2)] * 4, beta=0), "beta must be a positive"),
        (lambda: rlhf.gibbs_policy(torch.ones(2), torch.ones(2), 0), "beta must be a positive"),
        (lambda: rlhf.best_of_n_distribution(torch.ones(2), torch.ones(2), 0), "n must be a positive integer"),
        (lambda: rlhf.gae(torch.ones(2), torch.ones(2), 1.5), "gamma must be a probability"),
        (lambda: rlhf.answer_mask(torch.ones(2), 1, 2), "integers"),
        (lambda: rlhf.token_rewards(torch.ones(1), *[torch.ones(1, 2)] * 2, torch.zeros(1, 2).bool(), 1.0), "at least one"),
        (lambda: next(rlhf.preference_batches([([1], [2])], [], [[0]])), "its preference"),
        (lambda: next(rlhf.answer_pairs([([1], [2], [3])], [], small(), [[0]])), "its preference"),
        (lambda: rlhf.every_reply([0], 10, 7), "too many to list"),
        (lambda: rlhf.token_log_probs(torch.ones(1, 2, 3), torch.ones(1, 3).long()), "need ids"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
