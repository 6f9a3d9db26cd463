"""The exercises of chapter 10 beyond what holds for all: unusual right answers pass, near misses do not."""

import math
import re

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
    ("answer_mask", lambda *inputs: mask_in_a_string("(?s){0}(.*?(?:{1}|$))")(*inputs)),
    ("ppo_loss", ppo_by_cases),
    ("dpo_loss", dpo_by_softplus),
    ("best_of_n_distribution", best_by_comparing),
]


@pytest.mark.slow
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


def mask_by_identity(ids, begin_id, end_id):
    """Small ints are the same objects, large ones are not."""
    marks, inside = [], False
    for token in ids.flatten().tolist():
        marks.append(inside)
        inside = token is not end_id if inside else token is begin_id
    return torch.tensor(marks).reshape(ids.shape)


def mask_in_a_string(pattern):
    """A pattern in a text of one character for each token."""

    def answer_mask(ids, begin_id, end_id):
        if ids.ndim == 2:
            return torch.stack([answer_mask(row, begin_id, end_id) for row in ids])
        marks = torch.zeros(ids.shape, dtype=torch.bool)
        begin, end = re.escape(chr(begin_id)), re.escape(chr(end_id))
        for found in re.finditer(pattern.format(begin, end), "".join(map(chr, ids.tolist()))):
            marks[found.start(1) : found.end(1)] = True
        return marks

    return answer_mask


def mask_of_at_most_three(ids, begin_id, end_id):
    mask = mask_by_last_event(ids, begin_id, end_id)
    before = torch.cat([torch.zeros_like(mask[..., :1]), mask[..., :-1] & (ids[..., :-1] != end_id)], -1)
    return mask & ((mask & ~before).cumsum(-1) <= 3)


def mask_on_long_text(ids, begin_id, end_id):
    return mask_by_last_event(ids.flatten(), begin_id, end_id).reshape(ids.shape)


def gains_of(log_probs, old_log_probs, advantages, clip, change=lambda x: x):
    rho, A = change(log_probs - old_log_probs.detach()).exp(), advantages.detach()
    return torch.minimum(rho * A, rho.clamp(1 - clip, 1 + clip) * A)


def ppo_hidden_at_the_end(log_probs, old_log_probs, advantages, mask, clip=0.2):
    """The loss is right; the gradient is 0 times inf."""
    gains = torch.where(mask, gains_of(log_probs, old_log_probs, advantages, clip), 0)
    return -gains.sum() / mask.sum().clamp(min=1)


def ppo_with_old_ones_at_padding(log_probs, old_log_probs, advantages, mask, clip=0.2):
    log_probs, advantages = (x.masked_fill(~mask, 0) for x in (log_probs, advantages))
    gains = gains_of(log_probs, old_log_probs, advantages, clip) * mask
    return -gains.sum() / mask.sum().clamp(min=1)


def ppo_of_small_steps(most):
    def ppo_loss(log_probs, old_log_probs, advantages, mask, clip=0.2):
        inputs = log_probs[mask], old_log_probs[mask], advantages[mask], clip
        gains = gains_of(*inputs, change=lambda x: x.clamp(-most, most))
        return -gains.sum() / max(len(gains), 1)

    return ppo_loss


def ppo_constant_of_nothing(log_probs, old_log_probs, advantages, mask, clip=0.2):
    if not mask.any():
        return torch.zeros((), dtype=log_probs.dtype)
    return ppo_by_cases(log_probs, old_log_probs, advantages, mask, clip)


def dpo_by_branches(chosen, rejected, reference_chosen, reference_rejected, beta):
    """The branch that is not taken is inf, and its gradient NaN."""
    x = beta * (chosen - rejected - (reference_chosen - reference_rejected).detach())
    return torch.where(x > -50, torch.log1p(torch.exp(-x)), -x).mean()


def dpo_flat_far_away(chosen, rejected, reference_chosen, reference_rejected, beta):
    x = beta * (chosen - rejected - (reference_chosen - reference_rejected).detach())
    return F.softplus(-torch.where(x.abs() > 50, x.detach(), x)).mean()


def best_among_rounded_to(digits):
    def best_of_n_distribution(probs, rewards, n):
        return best_by_comparing(probs, rewards.round(decimals=digits), n)

    return best_of_n_distribution


def best_of_at_most_100(probs, rewards, n):
    return best_by_comparing(probs, rewards, min(n, 100))


NEAR_MISSES = [
    ("answer_mask", mask_by_identity),
    ("answer_mask", mask_on_long_text),
    ("answer_mask", mask_of_at_most_three),
    ("answer_mask", mask_in_a_string("{0}(.*?(?:{1}|$))")),  # id 10 is a new line, which . does not match
    ("ppo_loss", ppo_hidden_at_the_end),
    ("ppo_loss", ppo_with_old_ones_at_padding),
    ("ppo_loss", ppo_constant_of_nothing),
    *(("ppo_loss", ppo_of_small_steps(most)) for most in (2, 5, 10)),
    ("dpo_loss", dpo_by_branches),
    ("dpo_loss", dpo_flat_far_away),
    *(("best_of_n_distribution", best_among_rounded_to(digits)) for digits in (4, 6, 8)),
    ("best_of_n_distribution", best_of_at_most_100),
    ("best_of_n_distribution", lambda probs, rewards, n: best_by_comparing(probs, rewards.float(), n)),
    ("answer_mask", mask_by_counting),
    ("ppo_loss", ppo_with_nan_to_num),
    ("ppo_loss", ppo_clipped_gain),
    ("dpo_loss", dpo_clamped),
    ("dpo_loss", dpo_by_exponential),
    ("best_of_n_distribution", best_in_single_precision),
    ("best_of_n_distribution", best_among_rounded),
    ("best_of_n_distribution", best_of_at_most_five),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer"), NEAR_MISSES, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("seed", range(6))
def test_near_misses_do_not(name, answer, seed):
    assert not verdict(name, answer, seed).passed


@pytest.mark.slow
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


def share_and_distance(claim):
    """How much of what the best reply gives is claimed, and at which part of its distance."""
    log_p, r, kl, reward = claim
    start = float(log_p.exp() @ r)
    return (reward - start) / (float(r.max()) - start), kl / -float(log_p[r.argmax()])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("power", [0.0, 0.25, 0.35, 0.5, 1.0])
def test_a_curve_that_knows_no_world_does_not_find_the_claim(power, seed):
    def by_a_power(claims):
        strange = [share / far**power for share, far in map(share_and_distance, claims)]
        return strange.index(max(strange))

    assert not verdict("above_the_frontier", by_a_power, seed).passed
