"""Exercises of the capstone: more wrong answers than the checks name, and right ones in unusual styles."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lecture_lib import checks

SEEDS = (0, 1, 2)


def passes(name, answer):
    """On fresh cases of several seeds."""
    task = checks.exercise(name)
    verdicts = []
    for seed in SEEDS:
        cases = task.cases(seed)
        verdicts.append(task.judge(cases, task.run(answer, cases)).passed)
    assert len(set(verdicts)) == 1 or not all(verdicts)
    return all(verdicts)


# ----------------------------------------------------------------------------------------------------------- the norm


def by_length(x, gain, eps=1e-6):
    """The root of the mean square is the length over √D; eps goes under the same root."""
    D = x.shape[-1]
    return x * gain * (x.norm(dim=-1, keepdim=True) ** 2 / D + eps).rsqrt()


def by_power(x, gain, eps=1e-6):
    mean = (x**2).sum(-1) / x.size(-1)
    return torch.einsum("...d,...,d->...d", x, (mean + eps) ** -0.5, gain)


def by_rows(x, gain, eps=1e-6):
    rows = [gain * row / (row.dot(row) / len(row) + eps).sqrt() for row in x.reshape(-1, x.shape[-1])]
    return torch.stack(rows).reshape(x.shape)


def norm(x, gain, eps=1e-6):
    return gain * x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps)


def in_place(x, gain, eps=1e-6):
    return x.mul_(gain) / torch.sqrt(x.square().mean(-1, keepdim=True) + eps)


WRONG_NORMS = [
    lambda x, gain, eps=1e-6: norm(x, gain, eps).float(),
    lambda x, gain, eps=1e-6: norm(x.detach(), gain, eps),
    lambda x, gain, eps=1e-6: norm(x, gain.detach(), eps),
    lambda x, gain, eps=1e-6: norm(x, gain, eps) if x.ndim == 2 else x,
    lambda x, gain, eps=1e-6: norm(x, gain[0], eps),
    lambda x, gain, eps=1e-6: gain * x / x.square().mean(-1, keepdim=True).clamp_min(eps).sqrt(),
    lambda x, gain, eps=1e-6: gain * x / (x.abs().mean(-1, keepdim=True) + eps),
    lambda x, gain, eps=1e-6: norm(x, 1 + gain, eps),
    lambda x, gain, eps=1e-6: norm(x, gain, eps**2),
    lambda x, gain, e=1e-6: norm(x, gain, e),
    in_place,
    lambda x, gain, eps=1e-6: F.rms_norm(x, x.shape[-1:], gain, eps),
]


@pytest.mark.parametrize("answer", [by_length, by_power, by_rows])
def test_right_norms_in_other_styles_pass(answer):
    assert passes("transformer.rms_norm", answer)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(WRONG_NORMS)))
def test_wrong_norms_fail(number):
    assert not passes("transformer.rms_norm", WRONG_NORMS[number])


# -------------------------------------------------------------------------------------------------------- the network


def gated(X, W_gate, W_in, W_out):
    return (F.silu(X @ W_gate) * (X @ W_in)) @ W_out


def by_sigmoid(X, W_gate, W_in, W_out):
    a = torch.einsum("...d,df->...f", X, W_gate)
    return torch.einsum("...f,fd->...d", a * torch.sigmoid(a) * torch.matmul(X, W_in), W_out)


def side_by_side(X, W_gate, W_in, W_out):
    a, b = (X @ torch.cat([W_gate, W_in], dim=1)).chunk(2, dim=-1)
    return F.linear(F.silu(a).mul(b), W_out.mT)


def by_modules(*, X, W_gate, W_in, W_out):
    return torch.nn.SiLU()(X @ W_gate).mul(X @ W_in).matmul(W_out)


WRONG_NETWORKS = [
    lambda *parts: gated(*parts).float(),
    lambda X, *maps: gated(X.detach(), *maps),
    lambda X, g, i, o: gated(X, g.detach(), i, o),
    lambda X, g, i, o: gated(X, g, i, o.detach()),
    lambda X, g, i, o: (X @ g) / (1 + torch.exp(-(X @ g)).clamp(max=1e30)) * (X @ i) @ o.T.T + 1e-3,
    lambda X, g, i, o: (F.silu(X @ g) * (X @ i)).clamp(-1e4, 1e4) @ o,
    lambda X, g, i, o: (X @ g) * torch.exp(X @ g) / (1 + torch.exp(X @ g)) * (X @ i) @ o,
    lambda X, g, i, o: F.silu(1.702 * (X @ g)) / 1.702 * (X @ i) @ o,
    lambda X, g, i, o: (F.softplus(X @ g) * (X @ i)) @ o,
    lambda X, g, i, o: (F.hardswish(X @ g) * (X @ i)) @ o,
    lambda X, *maps: gated(X, *maps) if X.ndim > 1 else X,
    lambda X, g, i, o: F.silu((F.silu(X @ g) * (X @ i)) @ o),
    lambda X, *maps: gated(X, *maps)[..., : X.shape[-1]].squeeze(),
]


@pytest.mark.parametrize(
    "answer",
    [
        by_sigmoid,
        side_by_side,
        lambda *p: by_modules(**dict(zip(("X", "W_gate", "W_in", "W_out"), p, strict=True))),
    ],
)
def test_right_networks_in_other_styles_pass(answer):
    assert passes("capstone.gated_feed_forward", answer)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(WRONG_NETWORKS)))
def test_wrong_networks_fail(number):
    assert not passes("capstone.gated_feed_forward", WRONG_NETWORKS[number])


# ----------------------------------------------------------------------------------------------------------- the loop


def by_range(read, choose, ids, max_new_tokens, end_ids=()):
    text, new, past = list(ids), ids, None
    for _ in range(max_new_tokens):
        scores, past = read(new, past)
        new = [choose(scores, text[:])]
        text += new
        if new[0] in set(end_ids):
            break
    return text[len(ids) :]


def by_recursion(read, choose, ids, max_new_tokens, end_ids=()):
    def rest(text, state, left):
        token = choose(state[0], text)
        if left == 1 or token in end_ids:
            return [token]
        return [token, *rest([*text, token], read([token], state[1]), left - 1)]

    return rest([*ids], read([*ids], None), max_new_tokens)


def by_generator(read, choose, ids, max_new_tokens, end_ids=()):
    def tokens():
        text = list(ids)
        scores, past = read(text.copy(), None)
        for left in reversed(range(max_new_tokens)):
            text.append(choose(scores, text))
            yield text[-1]
            if not left or text[-1] in end_ids:
                return
            scores, past = read(text[-1:], past)

    return list(tokens())


def altered_loop(**swaps):
    def loop(read, choose, ids, max_new_tokens, end_ids=()):
        new, (scores, past) = [], read(list(ids), None)
        while True:
            token = choose(scores, swaps.get("seen", lambda ids, new: ids + new)(ids, new))
            new.append(token)
            ends = swaps.get("ends", lambda token, ids, end_ids: token in end_ids)(token, ids + new, end_ids)
            if ends or len(new) == max_new_tokens:
                return swaps.get("result", lambda new: new)(new)
            scores, past = read(swaps.get("next", lambda new: new[-1:])(new), past)

    return loop


def mutates(read, choose, ids, max_new_tokens, end_ids=()):
    start, (scores, past) = len(ids), read(list(ids), None)
    while True:
        ids.append(choose(scores, ids))
        if ids[-1] in end_ids or len(ids) - start == max_new_tokens:
            return ids[start:]
        scores, past = read(ids[-1:], past)


WRONG_LOOPS = [
    mutates,
    altered_loop(result=tuple),
    altered_loop(result=torch.tensor),
    altered_loop(result=np.array),
    altered_loop(result=lambda new: list(dict.fromkeys(new))),
    altered_loop(result=lambda new: new[::-1]),
    altered_loop(seen=lambda ids, new: new + ids[:1]),
    altered_loop(seen=lambda ids, new: ids[-1:] + new),
    altered_loop(seen=lambda ids, new: ids + new[-1:]),
    altered_loop(seen=lambda ids, new: list(dict.fromkeys(ids + new))),
    altered_loop(seen=lambda ids, new: ids + new[-8:]),
    altered_loop(next=lambda new: new[:1]),
    altered_loop(ends=lambda token, text, end_ids: any(each in text for each in end_ids)),
    altered_loop(ends=lambda token, text, end_ids: token != 0 and token in end_ids),
    altered_loop(ends=lambda token, text, end_ids: token in end_ids[:2]),
    lambda read, choose, ids, n, end_ids: by_range(read, choose, ids, n, end_ids),
    lambda read, choose, ids, n, end_ids=(): (
        [] if ids[-1] in end_ids else by_range(read, choose, ids, n, end_ids)
    ),
    altered_loop(next=lambda new: new[-2:]),
    lambda read, choose, ids, n, end_ids=(): by_range(read, choose, ids, n, end_ids[-1:]),
    lambda read, choose, ids, n, end_ids=(): by_range(read, choose, ids, 64, end_ids)[:n],
]


@pytest.mark.parametrize("answer", [by_range, by_recursion, by_generator])
def test_right_loops_in_other_styles_pass(answer):
    assert passes("capstone.write_tokens", answer)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(WRONG_LOOPS)))
def test_wrong_loops_fail(number):
    assert not passes("capstone.write_tokens", WRONG_LOOPS[number])


# --------------------------------------------------------------------------------------------------------- the referee


def parted(run):
    return [n for n, pair in enumerate(zip(run["ours"], run["theirs"], strict=True)) if pair[0] != pair[1]]


def by_worst_ratio(runs):
    ratios = [run["gap"][parted(run)[0]] / run["error"] if parted(run) else 0.0 for run in runs]
    return ratios.index(max(ratios))


def by_arrays(runs):
    for place, run in enumerate(runs):
        differ = np.not_equal(run["ours"], run["theirs"])
        if differ.any() and np.asarray(run["gap"])[differ.argmax()] / 2 > run["error"]:
            return place
    return None


def by_elimination(runs):
    left = set(range(5))
    for place, run in enumerate(runs):
        for mine, their, gap in zip(run["ours"], run["theirs"], run["gap"], strict=True):
            if mine != their:
                left -= set() if gap > 2 * run["error"] else {place}
                break
        else:
            left.discard(place)
    return left.pop()


def where_largest(measure):
    return lambda runs: max(range(5), key=lambda i: measure(runs[i]))


WRONG_REFEREES = [
    where_largest(lambda run: len(parted(run))),
    where_largest(lambda run: -parted(run)[0] if parted(run) else -99),
    where_largest(lambda run: run["gap"][parted(run)[0]] if parted(run) else 0),
    where_largest(lambda run: min(run["gap"]) / run["error"]),
    where_largest(lambda run: max(run["gap"]) / run["error"]),
    where_largest(lambda run: run["error"]),
    where_largest(lambda run: -run["error"]),
    where_largest(lambda run: sum(run["gap"][n] for n in parted(run)) / run["error"]),
    where_largest(lambda run: np.median(run["gap"]) / run["error"]),
    lambda runs: 0,
    lambda runs: float(by_worst_ratio(runs)),
]


@pytest.mark.slow
@pytest.mark.parametrize("answer", [by_worst_ratio, by_arrays, by_elimination])
def test_right_referees_in_other_styles_pass(answer):
    assert passes("capstone.not_rounding", answer)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(WRONG_REFEREES)))
def test_wrong_referees_fail(number):
    assert not passes("capstone.not_rounding", WRONG_REFEREES[number])


def test_the_number_to_predict_is_a_count():
    """Token by token: one program reads all that is there, the other one what is new."""
    again = remembered = 0
    text = 9
    for step in range(40):
        again += text
        remembered += 9 if step == 0 else 1
        text += 1
    task = checks.exercise("capstone.times_fewer")
    assert task.reference() == again / remembered == 23.75
    cases = task.cases(0)
    for guess, right in ((23.75, True), (25, True), (26, False), (21.5, False)):
        assert task.judge(cases, task.run(guess, cases)).passed == right
