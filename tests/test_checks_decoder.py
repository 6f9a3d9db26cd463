"""Answers to the exercises of chapter 6 that are right in another way, and answers that are nearly right."""

import math

import pytest
import torch
from answers import solutions

from lecture_lib import checks


def judged(name, answer, seed=0):
    task = checks.exercise(name)
    cases = task.cases(seed)
    return task.judge(cases, task.run(answer, cases))


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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("decoder.text_log_probability", sum_of_a_list),
        ("decoder.next_token_loss", row_by_row),
        ("decoder.adamw_step", with_torchs_small_number),
        ("decoder.belief_update", by_sum),
        ("decoder.entropy_floor", by_recursion),
        ("decoder.leaking_run", four_errors),
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


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "decoder.text_log_probability",
            lambda p, words: math.log(math.prod(p(words[:n])[w] for n, w in enumerate(words))),
        ),
        ("decoder.text_log_probability", lambda p, words: sum_of_a_list(p, words) / math.log(2)),
        ("decoder.next_token_loss", without_a_row_of_one),
        ("decoder.next_token_loss", lambda logits, ids, lengths=None: row_by_row(logits.nan_to_num(), ids)),
        ("decoder.adamw_step", in_place),
        ("decoder.adamw_step", two_tensors_only),
        ("decoder.belief_update", lambda T, belief, token: torch.softmax(belief @ T[token], 0)),
        ("decoder.entropy_floor", single_precision),
        ("decoder.entropy_floor", of_three_states),
        ("decoder.leaking_run", three_errors),
        ("decoder.leaking_run", last_token),
        ("decoder.leaking_run", lambda runs: list(four_errors(runs))),
    ],
)
def test_a_near_miss_is_rejected(name, answer, seed):
    assert not judged(name, answer, seed).passed
