"""The exercises of chapter 10 beyond what holds for all: unusual right answers pass, near misses do not."""

import math

import pytest
import torch
from answers import verdict_of
from torch.nn import functional as F

from lecture_lib.checks.message import text

verdict = verdict_of("rlhf")


def mask_by_last_event(ids, begin_id, end_id):
    """A text of lists: the last begin or end that counts decides."""
    if ids.ndim == 2:
        return torch.stack([mask_by_last_event(row, begin_id, end_id) for row in ids])
    marks, inside = [], False
    for token in ids.tolist():
        marks.append(inside)
        inside = token != end_id if inside else token == begin_id
    return torch.tensor(marks)


def ppo_by_cases(log_probs, old_log_probs, advantages, mask, clip=0.2):
    rho = torch.exp(log_probs[mask] - old_log_probs[mask].detach())
    A = advantages[mask].detach()
    gains = torch.where(A > 0, rho.clamp(max=1 + clip), rho.clamp(min=1 - clip)) * A
    return -gains.sum() / max(len(gains), 1)


def dpo_by_softplus(chosen, rejected, reference_chosen, reference_rejected, beta):
    with torch.no_grad():
        known = reference_chosen - reference_rejected
    return F.softplus(beta * (known - chosen + rejected)).mean()


def best_by_comparing(probs, rewards, n):
    p = probs.double()
    p = p / p.sum()
    worse = ((rewards[None, :] < rewards[:, None]) * p).sum(1)
    level = ((rewards[None, :] == rewards[:, None]) * p).sum(1)
    share = torch.where(level > 0, ((worse + level) ** n - worse**n) / level, 0.0)
    return (p * share).to(probs.dtype)


RIGHT = [
    ("answer_mask", mask_by_last_event),
    ("ppo_loss", ppo_by_cases),
    ("dpo_loss", dpo_by_softplus),
    ("best_of_n_distribution", best_by_comparing),
]


@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("seed", range(6))
def test_unusual_right_answers_pass(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


def mask_by_counting(ids, begin_id, end_id):
    """Begins less ends: a second begin inside an answer counts twice."""
    opened = (ids == begin_id).long().cumsum(-1) - (ids == begin_id).long()
    closed = (ids == end_id).long().cumsum(-1) - (ids == end_id).long()
    return opened > closed


def ppo_with_nan_to_num(log_probs, old_log_probs, advantages, mask, clip=0.2):
    """NaN and inf are swept away behind the exponential; 500 at padding still gives a wrong gradient or value."""
    rho = torch.nan_to_num(torch.exp(log_probs - old_log_probs.detach()))
    A = torch.nan_to_num(advantages)
    return -torch.minimum(rho * A, rho.clamp(1 - clip, 1 + clip) * A)[mask].mean()  # NaN without any token


def ppo_clipped_gain(log_probs, old_log_probs, advantages, mask, clip=0.2):
    rho = torch.exp(log_probs[mask] - old_log_probs[mask].detach())
    gains = (rho * advantages[mask].detach()).clamp(-1 - clip, 1 + clip)
    return -gains.sum() / max(len(gains), 1)


def dpo_clamped(chosen, rejected, reference_chosen, reference_rejected, beta):
    x = beta * (chosen - rejected - (reference_chosen - reference_rejected).detach())
    return -torch.log(torch.sigmoid(x.clamp(-30, 30))).mean()


def dpo_by_exponential(chosen, rejected, reference_chosen, reference_rejected, beta):
    x = beta * (chosen - rejected - (reference_chosen - reference_rejected).detach())
    return torch.log1p(torch.exp(-x)).mean()


def best_in_single_precision(probs, rewards, n):
    return best_by_comparing(probs.float(), rewards, n).to(probs.dtype)


def best_among_rounded(probs, rewards, n):
    return best_by_comparing(probs, rewards.round(), n)


def best_of_at_most_five(probs, rewards, n):
    return best_by_comparing(probs, rewards, min(n, 5))


NEAR_MISSES = [
    ("answer_mask", mask_by_counting),
    ("ppo_loss", ppo_with_nan_to_num),
    ("ppo_loss", ppo_clipped_gain),
    ("dpo_loss", dpo_clamped),
    ("dpo_loss", dpo_by_exponential),
    ("best_of_n_distribution", best_in_single_precision),
    ("best_of_n_distribution", best_among_rounded),
    ("best_of_n_distribution", best_of_at_most_five),
]


@pytest.mark.parametrize(("name", "answer"), NEAR_MISSES, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("seed", range(6))
def test_near_misses_do_not(name, answer, seed):
    assert not verdict(name, answer, seed).passed


@pytest.mark.parametrize("seed", range(5))
def test_the_claim_above_its_frontier_is_found_by_another_way(seed):
    """The bound ⟨r⟩ <= β KL + β ln Z holds for every β; the least bound is the frontier."""

    def by_duality(claims):
        excess = []
        for log_p, r, kl, reward in claims:
            betas = [math.exp(k / 30) for k in range(-150, 150)]
            bound = min(b * kl + b * float(torch.logsumexp(log_p + r / b, 0)) for b in betas)
            start = float(log_p.exp() @ r)
            excess.append((reward - bound) / (bound - start))
        return excess.index(max(excess))

    found = verdict("above_the_frontier", by_duality, seed)
    assert found.passed, text(found)
