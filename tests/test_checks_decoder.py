"""Answers to the exercises of chapter 6 that are right in another way, and answers that are nearly right."""

import math

import pytest
import torch
from answers import solutions, verdict_of

from lecture_lib import checks

judged = verdict_of("decoder")


def sum_of_a_list(next_probabilities, words):
    factors = [next_probabilities(list(words)[:n]).get(word, 0) for n, word in enumerate(words)]
    return math.fsum(map(math.log, factors)) if all(factors) else float("-inf")


def row_by_row(logits, ids, lengths=None):
    total, n = 0 * logits[..., :0].sum(), 0
    for row, text in enumerate(ids.tolist()):
        for place in range((len(text) if lengths is None else int(lengths[row])) - 1):
            scores = logits[row, place]
            total = total + torch.logsumexp(scores, 0) - scores[text[place + 1]]
            n += 1
    return total / max(n, 1)


def with_torchs_small_number(parameters, gradients, m, v, step, **settings):
    """Clip as torch does, by max_norm / (norm + 1e-6), then step without clipping."""
    max_norm = settings.pop("max_norm", 1.0)
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    if max_norm is not None and norm > max_norm:
        gradients = [g * (max_norm / (norm + 1e-6)) for g in gradients]
    return solutions("decoder")["decoder.adamw_step"](
        parameters, gradients, m, v, step, max_norm=None, **settings
    )


def by_sum(T, belief, token):
    new = (belief[:, None] * T[token]).sum(0)
    if not new.any():
        raise ValueError
    return new / new.sum()


def by_recursion(T, start, n):
    def walk(joint, left):
        after = torch.stack([joint @ table for table in T])
        if left:
            return sum(walk(each, left - 1) for each in after if each.sum() > 0)
        p = after.sum(1) / joint.sum()
        return float(joint.sum() * torch.special.entr(p).sum())

    return walk(start, n - 1)


def four_errors(runs):
    for i, run in enumerate(runs):
        depths = [(f - x) / e for x, e, f in zip(run["loss"], run["error"], run["floor"], strict=True)]
        if max(depths) > 4:
            return i, next(n for n, depth in enumerate(depths) if depth > 4)
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("text_log_probability", sum_of_a_list),
        ("next_token_loss", row_by_row),
        ("adamw_step", with_torchs_small_number),
        ("belief_update", by_sum),
        ("entropy_floor", by_recursion),
        ("leaking_run", four_errors),
    ],
)
def test_a_right_answer_of_another_kind_passes(name, answer, seed):
    verdict = judged(name, answer, seed)
    assert verdict.passed, checks.message.text(verdict)


def in_place(parameters, gradients, m, v, step, **settings):
    for mean, g in zip(m, gradients, strict=True):
        mean.add_(g)
    return parameters, m, v


def two_tensors_only(parameters, gradients, m, v, step, **settings):
    return solutions("decoder")["decoder.adamw_step"](
        parameters[:2], gradients[:2], m[:2], v[:2], step + 1, **settings
    )


def single_precision(T, start, n):
    return solutions("decoder")["decoder.entropy_floor"](T.float(), start.float(), n)


def of_three_states(T, start, n):
    return by_recursion(T, torch.full((T.shape[1],), 1 / T.shape[1], dtype=T.dtype), n)


def three_errors(runs):
    for i, run in enumerate(runs):
        for n, (x, e, f) in enumerate(zip(run["loss"], run["error"], run["floor"], strict=True)):
            if x < f - 2.6 * e:
                return i, n
    return 0, 0


def last_token(runs):
    depth = [(run["floor"][-1] - run["loss"][-1]) / run["error"][-1] for run in runs]
    place = depth.index(max(depth))
    return place, next(n for n in range(10) if runs[place]["loss"][n] < runs[place]["floor"][n])


def without_a_row_of_one(logits, ids, lengths=None):
    lengths = None if lengths is None else lengths.clamp_min(2)
    return row_by_row(logits, ids, lengths)


def left_out_behind_the_softmax(logits, ids, lengths=None):
    """The loss is right; the gradient is 0 times NaN at padding."""
    lengths = torch.full((len(ids),), ids.shape[1]) if lengths is None else lengths
    asked = torch.arange(1, ids.shape[1]) < lengths[:, None]
    logs = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return -torch.where(asked, logs, 0).sum() / asked.sum().clamp(min=1)


def zero_of_nothing(zero):
    def next_token_loss(logits, ids, lengths=None):
        nothing = ids.shape[1] == 1 or (lengths is not None and bool((lengths == 1).all()))
        return zero(logits) if nothing else row_by_row(logits, ids, lengths)

    return next_token_loss


def clipped(gradients, max_norm):
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    return [g * min(1.0, max_norm / max(norm, 1e-300)) if max_norm else g for g in gradients]


def m_of_another_size(parameters, gradients, m, v, step, betas=(0.9, 0.95), max_norm=1.0, **settings):
    """m is a sum, which the step scales down again: the weights are right."""
    sums = [betas[0] * each + g for each, g in zip(m, clipped(gradients, max_norm), strict=True)]
    right = solutions("decoder")["decoder.adamw_step"]
    scaled = [(1 - betas[0]) * each for each in m]
    new, _, v = right(parameters, gradients, scaled, v, step, betas=betas, max_norm=max_norm, **settings)
    return new, sums, v


def m_and_v_exchanged(parameters, gradients, m, v, step, **settings):
    new, m, v = solutions("decoder")["decoder.adamw_step"](parameters, gradients, v, m, step, **settings)
    return new, v, m


def averages_of_its_own():
    kept = {}

    def adamw_step(parameters, gradients, m, v, step, **settings):
        kept["mv"] = (m, v) if step == 1 else kept["mv"]
        right = solutions("decoder")["decoder.adamw_step"]
        new, *kept["mv"] = right(parameters, gradients, *kept["mv"], step, **settings)
        return new, m, v

    return adamw_step


def first_two_tensors(parameters, gradients, m, v, step, **settings):
    lists = [each[:2] for each in (parameters, gradients, m, v)]
    return solutions("decoder")["decoder.adamw_step"](*lists, step, **settings)


def refuses(improbable):
    def belief_update(T, belief, token):
        new = belief @ T[token]
        if improbable(new):
            raise ValueError
        return new / new.sum()

    return belief_update


def first_below(errors, place_by_depth=False):
    """The first loss so many errors below its floor, in the run that lies deepest or in any."""

    def leaking_run(runs):
        depths = [
            [(f - x) / e for x, e, f in zip(run["loss"], run["error"], run["floor"], strict=True)]
            for run in runs
        ]
        deepest = max(range(5), key=lambda i: max(depths[i]))
        places = [deepest] if place_by_depth else range(5)
        found = [(i, n) for i in places for n, depth in enumerate(depths[i]) if depth > errors]
        return found[0] if found else (0, 0)

    return leaking_run


def never_the_first_token(runs):
    place, token = four_errors(runs)
    return place, max(token, 1)


def two_in_a_row(runs):
    place, token = four_errors(runs)
    return (place, token) if token < 9 else (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "text_log_probability",
            lambda p, words: sum_of_a_list(lambda before: p(" ".join(before).split(" ")), words),
        ),
        (
            "text_log_probability",
            lambda p, words: math.log(math.prod(p(words[:n])[w] for n, w in enumerate(words))),
        ),
        ("text_log_probability", lambda p, words: sum_of_a_list(p, words) / math.log(2)),
        ("next_token_loss", without_a_row_of_one),
        ("next_token_loss", lambda logits, ids, lengths=None: row_by_row(logits.nan_to_num(), ids)),
        ("next_token_loss", left_out_behind_the_softmax),
        ("next_token_loss", zero_of_nothing(lambda logits: torch.tensor(0.0))),
        ("next_token_loss", zero_of_nothing(lambda logits: logits.new_zeros(()))),
        ("adamw_step", m_of_another_size),
        ("adamw_step", m_and_v_exchanged),
        ("adamw_step", averages_of_its_own()),
        ("adamw_step", first_two_tensors),
        ("adamw_step", in_place),
        ("adamw_step", two_tensors_only),
        ("belief_update", lambda T, belief, token: torch.softmax(belief @ T[token], 0)),
        *(("belief_update", refuses(lambda new, p=p: new.sum() < p)) for p in (1e-3, 1e-6, 1e-12)),
        ("belief_update", refuses(lambda new: (new == 0).any())),
        (
            "belief_update",
            lambda T, belief, token: refuses(lambda new: new.sum() == 0)(T + 1e-13, belief, token),
        ),
        ("entropy_floor", single_precision),
        ("entropy_floor", of_three_states),
        ("leaking_run", three_errors),
        ("leaking_run", last_token),
        *(("leaking_run", first_below(errors)) for errors in (2.5, 3.0, 3.3)),
        *(("leaking_run", first_below(errors, True)) for errors in (0.0, 1.0, 2.5, 3.3)),
        ("leaking_run", never_the_first_token),
        ("leaking_run", two_in_a_row),
        ("leaking_run", lambda runs: list(four_errors(runs))),
    ],
)
def test_a_near_miss_is_rejected(name, answer, seed):
    assert not judged(name, answer, seed).passed


@pytest.mark.parametrize("seed", range(10))
def test_leaks_begin_at_every_token_of_every_run(seed):
    places = [case.hidden for case in checks.exercise("decoder.leaking_run").cases(seed)]
    assert {run for run, _ in places} == set(range(5))
    assert {token for _, token in places} == set(range(10))
