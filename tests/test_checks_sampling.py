"""The sampling exercises beyond what holds for all: unusual right answers pass, near misses do not."""

import math

import pytest
import torch
from answers import verdict_of

from lecture_lib import checks, sampling
from lecture_lib.checks.message import text

verdict = verdict_of("sampling")


def capacity_by_pairs(logits, temperature):
    """The variance is half the mean squared difference of two independent draws."""
    p = (logits / temperature).softmax(-1)
    finite = logits.masked_fill(logits == -torch.inf, 0)
    gaps = (finite[..., :, None] - finite[..., None, :]).square()
    return (p[..., :, None] * p[..., None, :] * gaps).sum((-1, -2)) / 2 / temperature**2


def nucleus_by_threshold_and_ties(probs, p):
    """Row by row with Python's sort; of equally likely tokens the last ones stay."""
    rows = []
    for row in probs.reshape(-1, probs.shape[-1]):
        order = sorted(range(len(row)), key=lambda i: (-float(row[i]), -i))
        kept, total = torch.zeros_like(row), 0.0
        for i in order:
            kept[i] = row[i]
            total += float(row[i])
            if total >= p:
                break
        rows.append(kept / kept.sum())
    return torch.stack(rows).reshape(probs.shape)


def nucleus_from_below(probs, p):
    """A token goes if it and all less likely ones hold at most 1 - p."""
    ascending, order = probs.sort(-1)
    gone = ascending.double().cumsum(-1) <= 1 - p + 1e-9
    gone[..., -1] = False
    kept = probs.masked_fill(gone.gather(-1, order.argsort(-1)), 0)
    return kept / kept.sum(-1, keepdim=True)


def k_best_by_sorting(logits, k):
    kth = logits.sort(descending=True, dim=-1).values[..., min(k, logits.shape[-1]) - 1, None]
    return torch.where(logits >= kth, logits, torch.full_like(logits, -torch.inf))


def playground_by_gumbel(logits, ids, generator, temperature=0.7, top_p=0.7, top_k=50, penalty=1.0):
    """Row by row, with the exercise's own nucleus and noise added to the logits."""
    drawn = []
    for row, text_ids in zip(logits.clone(), ids, strict=True):
        for i in set(text_ids.tolist()):
            row[i] = row[i] / penalty if row[i] > 0 else row[i] * penalty
        row = k_best_by_sorting(row / temperature, top_k)
        kept = nucleus_from_below(row.softmax(-1), top_p)
        noise = -torch.rand(len(row), generator=generator).clamp_min(1e-30).log()
        drawn.append((kept / noise).argmax())
    return torch.stack(drawn)


def lookahead_by_powers(P, prefix, temperature, remaining):
    """The transfer matrix, kept from vanishing by dividing each row vector by its largest entry."""
    W = (P.log() / temperature - (P.log() / temperature).amax()).exp()
    Z = torch.ones_like(P[0])
    for _ in range(remaining - 1):
        Z = W @ Z
        Z = Z / Z.max()
    law = (P[prefix[-1]].log() / temperature).softmax(-1) * Z
    return law / law.sum()


def lookahead_by_recursion(P, prefix, temperature, remaining):
    def free(s, n):
        if n == 0:
            return torch.zeros((), dtype=P.dtype)
        return torch.logsumexp(
            torch.stack([P[s, u].log() / temperature + free(u, n - 1) for u in range(len(P))]), 0
        )

    rest = torch.stack([free(t, remaining - 1) for t in range(len(P))])
    law = P[prefix[-1]].log() / temperature + rest
    return (law - law.logsumexp(0)).exp()


RIGHT = [
    ("heat_capacity", capacity_by_pairs),
    ("nucleus", nucleus_by_threshold_and_ties),
    ("nucleus", nucleus_from_below),
    ("k_best", k_best_by_sorting),
    ("playground", playground_by_gumbel),
    ("lookahead_probs", lookahead_by_recursion),
    ("lookahead_probs", lookahead_by_powers),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_an_unusual_right_answer_passes(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


def capacity_with_a_floor(floor):
    """A finite logit in the place of -inf."""
    return lambda z, T: capacity_by_pairs(z.masked_fill(z == -torch.inf, floor), T)


def capacity_without_columns(logits, temperature):
    """What is ruled out somewhere is left out everywhere."""
    kept = (logits > -torch.inf).flatten(0, -2).all(0) if logits.ndim > 1 else logits > -torch.inf
    return capacity_by_pairs(logits[..., kept], temperature)


def nucleus_with_crumbs(probs, p):
    kept = nucleus_from_below(probs, p) + 1e-12
    return kept / kept.sum(-1, keepdim=True)


def k_best_nearly(logits, k):
    kth = logits.topk(min(k, logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < kth - 1e-6, -torch.inf)


def playground_by_initial_seed(logits, ids, generator, **knobs):
    again = torch.Generator().manual_seed(generator.initial_seed())
    return playground_by_gumbel(logits, ids, again, **knobs)


def lookahead_greedy_when_cold(P, prefix, temperature, remaining):
    if temperature > 0.01:
        return lookahead_by_recursion(P, prefix, temperature, remaining)
    return torch.eye(len(P), dtype=P.dtype)[P[prefix[-1]].argmax()]


def for_two_levels_only(logits, temperature):
    gap = (logits.amax(-1) - logits.amin(-1)) / temperature
    p = torch.sigmoid(gap)
    return p * (1 - p) * gap.square()


def nucleus_of_one_text(probs, p):
    if probs.ndim > 1:
        probs = probs.flatten(0, -2)
    return nucleus_from_below(probs, p)


def nucleus_by_library(probs, p):
    return sampling.top_p(probs.log(), p).softmax(-1)


def nucleus_smooth(probs, p):
    """Right tokens, probabilities to the power 1/T."""
    kept = nucleus_from_below(probs, p).sqrt()
    return kept / kept.sum(-1, keepdim=True)


def k_best_with_ties_at_the_top_only(logits, k):
    best = logits.topk(min(k, logits.shape[-1])).indices
    gone = torch.ones_like(logits, dtype=torch.bool).scatter(-1, best, False)
    return logits.masked_fill(gone & (logits < logits.amax(-1, keepdim=True)), -torch.inf)


def playground_with_library(logits, ids, generator, temperature=0.7, top_p=0.7, top_k=50, penalty=1.0):
    setting = sampling.SamplingParameters(temperature, top_k, top_p, repetition_penalty=penalty)
    return sampling.sample(logits, setting, ids, generator)


def playground_same_noise_for_all(logits, ids, generator, temperature=0.7, top_p=0.7, top_k=50, penalty=1.0):
    one = playground_by_gumbel(logits[:1], ids[:1], generator, temperature, top_p, top_k, penalty)
    return one.expand(len(logits)).clone()


def playground_as_column(*inputs, **knobs):
    return playground_by_gumbel(*inputs, **knobs)[:, None]


def lookahead_two_steps_at_most(P, prefix, temperature, remaining):
    return lookahead_by_recursion(P, prefix, temperature, min(remaining, 2))


def lookahead_viterbi(P, prefix, temperature, remaining):
    best = torch.zeros_like(P[0])
    for _ in range(remaining - 1):
        best = (P.log() + best).amax(-1)
    return ((P[prefix[-1]].log() + best) / temperature).softmax(-1)


WRONG = [
    ("heat_capacity", for_two_levels_only),
    ("heat_capacity", lambda z, T: capacity_by_pairs(z, T).float()),
    ("heat_capacity", capacity_with_a_floor(-100.0)),
    ("heat_capacity", capacity_with_a_floor(-1e4)),
    ("heat_capacity", capacity_without_columns),
    ("nucleus", nucleus_with_crumbs),
    ("nucleus", lambda probs, p: nucleus_from_below(probs, max(p - 1e-3, 0))),
    ("nucleus", nucleus_of_one_text),
    ("nucleus", nucleus_by_library),
    ("nucleus", nucleus_smooth),
    ("nucleus", lambda probs, p: nucleus_from_below(probs, p).float()),
    ("k_best", k_best_with_ties_at_the_top_only),
    ("k_best", k_best_nearly),
    ("k_best", lambda logits, k: k_best_by_sorting(logits.float(), k)),
    ("playground", playground_by_initial_seed),
    ("playground", playground_with_library),
    ("playground", playground_same_noise_for_all),
    ("playground", playground_as_column),
    ("lookahead_probs", lookahead_two_steps_at_most),
    ("lookahead_probs", lambda P, s, T, n: lookahead_by_recursion(P, s, T, min(n, 6))),
    ("lookahead_probs", lambda P, s, T, n: lookahead_by_recursion(P.clamp_min(1e-30), s, T, n)),
    ("lookahead_probs", lambda P, s, T, n: lookahead_by_recursion(P, s, max(T, 0.01), n)),
    ("lookahead_probs", lookahead_greedy_when_cold),
    ("lookahead_probs", lookahead_viterbi),
    ("lookahead_probs", lambda *inputs: lookahead_by_recursion(*inputs).float()),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("name", "answer"), WRONG)
def test_a_near_miss_is_rejected(name, answer, seed):
    assert not verdict(name, answer, seed).passed


def test_the_clean_share_is_that_of_independent_draws():
    draws = torch.rand(20_000, 387, generator=torch.Generator().manual_seed(0))
    measured = (draws > 0.005).all(1).double().mean().item()
    task = checks.exercise("sampling.clean_share")
    assert math.isclose(task.reference(), measured, rel_tol=0.15)
    assert verdict("clean_share", 0.14).passed and not verdict("clean_share", 0.28).passed


def nucleus_that_is_empty_at_0(probs, p):
    """From below, in another order among equals than the check's mistakes."""
    ascending, order = probs.sort(-1)
    gone = ascending.double().cumsum(-1) <= 1 - p + 1e-9
    kept = probs.masked_fill(gone.gather(-1, order.argsort(-1)), 0)
    return kept / kept.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("nucleus", nucleus_that_is_empty_at_0, "no token is left when p is 0"),
        ("clean_share", 0.86, "that is the share of texts with at least one"),
    ],
)
def test_a_mistake_is_recognised_in_an_answer_with_other_right_numbers(name, answer, hint):
    assert verdict(name, answer).hint.startswith(f"This is what comes out when {hint}")
