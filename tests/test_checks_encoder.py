"""The exercises of the encoder beyond what holds for all: unusual right answers pass, near misses do not."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lecture_lib import checks
from lecture_lib.attention import scaled_dot_product_attention
from lecture_lib.checks.verdict import reason
from lecture_lib.tokenization import longest_match

NAMES = {each.rpartition(".")[2]: each for each in checks.chapter("encoder")}


@functools.cache
def drawn(name, seed):
    task = checks.exercise(NAMES[name])
    cases = task.cases(seed)
    return task, cases, task.expected(cases)


def reasons(name, answer, seed=0):
    """Why each case fails; the hints, which need every known mistake, are not asked for."""
    task, cases, expected = drawn(name, seed)
    rows = zip(cases, task.run(answer, cases), expected, strict=True)
    return [words for row in rows if (words := reason(task, *row, []))]


def masking(choose=None, stand_in=None, kind=None, before=None):
    """An answer to `mask_tokens` of which one part is done in another way."""

    def answer(ids, mask_id, vocab_size, special_ids=(), probability=0.15, generator=None):
        if before:
            generator = before(generator)
        free = torch.tensor([[token not in special_ids for token in row] for row in ids[:1].tolist()])
        free = free.expand_as(ids)
        chosen = free & (torch.rand(ids.shape, generator=generator) < probability)
        chosen = choose(free, probability, generator) if choose else chosen
        how = kind(chosen, generator) if kind else torch.rand(ids.shape, generator=generator)
        tokens = torch.randint(vocab_size, ids.shape, generator=generator)
        tokens = stand_in(ids, mask_id, vocab_size, generator) if stand_in else tokens
        shown = torch.where(chosen & (how < 0.8), mask_id, ids)
        return torch.where(chosen & (how >= 0.9), tokens, shown), torch.where(chosen, ids, -100)

    return answer


def exactly_that_many(free, probability, generator):
    places = free.flatten().nonzero()[:, 0]
    places = places[torch.randperm(len(places), generator=generator)[: round(probability * len(places))]]
    return torch.zeros(free.numel(), dtype=torch.bool).index_fill(0, places, True).reshape(free.shape)


def exactly_eighty_percent(chosen, generator):
    places = chosen.flatten().nonzero()[:, 0]
    places = places[torch.randperm(len(places), generator=generator)]
    how = torch.zeros(chosen.numel())
    how[places] = torch.arange(len(places)) / len(places)
    return how.reshape(chosen.shape)


def never_the_mask(ids, mask_id, vocab_size, generator):
    tokens = torch.randint(vocab_size - 1, ids.shape, generator=generator)
    return tokens + (tokens >= mask_id)


def never_the_same(ids, mask_id, vocab_size, generator):
    return (ids + torch.randint(1, vocab_size, ids.shape, generator=generator)) % vocab_size


def rounded(ids, mask_id, vocab_size, generator):
    return (torch.rand(ids.shape, generator=generator) * (vocab_size - 1)).round().long()


def one_for_a_row(ids, mask_id, vocab_size, generator):
    return torch.randint(vocab_size, (len(ids), 1), generator=generator).expand_as(ids)


def masks_in_place(ids, mask_id, *rest, **named):
    shown, targets = masking()(ids, mask_id, *rest, **named)
    ids[targets >= 0] = mask_id
    return shown, targets


def mask_is_special(ids, mask_id, vocab_size, special_ids=(), **named):
    return masking()(ids, mask_id, vocab_size, (*special_ids, mask_id), **named)


def loss_by_logsumexp(logits, targets):
    asked = targets != -100
    scores, true = logits[asked], targets[asked][:, None]
    return (scores.logsumexp(-1) - scores.gather(-1, true)[:, 0]).sum() / max(len(true), 1)


def loss_without_nan(logits, targets):
    """A value without NaN, a gradient with it."""
    asked = targets != -100
    log_probs = logits.log_softmax(-1).gather(-1, targets.clamp_min(0)[..., None])[..., 0]
    return torch.nan_to_num(-(log_probs * asked).sum() / asked.sum())


def with_penalty(penalty):
    """Attention with a number that is added to the scores of padding."""

    def answer(X, lengths, W_q, W_k, W_v, W_pool, w):
        real = torch.arange(X.shape[1]) < lengths[:, None]
        scores = (X @ W_q) @ (X @ W_k).mT / W_q.shape[1] ** 0.5
        scores = scores + torch.where(real, 0.0, penalty).to(X.dtype)[:, None]
        return torch.sigmoid(torch.tanh((X + scores.softmax(-1) @ (X @ W_v))[:, 0] @ W_pool) @ w)

    return answer


def both_axes(X, lengths, W_q, W_k, W_v, W_pool, w):
    real = torch.arange(X.shape[1]) < lengths[:, None]
    Y = X + scaled_dot_product_attention(X @ W_q, X @ W_k, X @ W_v, real[:, None] & real[:, :, None])
    return torch.sigmoid(torch.tanh(Y[:, 0] @ W_pool) @ w)


def labels_by_marks(words, labels, vocabulary):
    pieces = list(itertools.chain.from_iterable(longest_match(word, vocabulary) for word in words))
    ahead = iter(labels)
    return ["[CLS]", *pieces, "[SEP]"], [
        -100,
        *(-100 if piece.startswith("##") else next(ahead) for piece in pieces),
        -100,
    ]


def labels_by_word(words, labels, vocabulary):
    table = dict(zip(words, labels, strict=True))
    return labels_by_marks(words, [table[word] for word in words], vocabulary)


def posterior(J, s, hidden, shift=np.max, low=-np.inf, digits=15):
    """From the fields of the visible spins and the bonds between hidden ones."""
    n = int(hidden.sum())
    states = np.array([*itertools.product((-1.0, 1.0), repeat=n)]).reshape(2**n, n)
    field = J[hidden][:, ~hidden] @ s[~hidden]
    exponents = states @ field + np.einsum("si,ij,sj->s", states, J[hidden][:, hidden], states) / 2
    weights = np.exp(np.maximum(exponents - shift(exponents), low))
    return (weights / weights.sum() @ (states > 0)).round(digits)


RIGHT = [
    ("mask_tokens", masking()),
    ("masked_loss", loss_by_logsumexp),
    ("text_probability", with_penalty(-1e9)),
    ("text_probability", with_penalty(-math.inf)),
    ("text_probability", both_axes),
    ("align_labels", labels_by_marks),
    ("masked_posterior", posterior),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_an_unusual_right_answer_passes(name, answer, seed):
    assert not reasons(name, answer, seed)


WRONG = [
    ("mask_tokens", masking(choose=exactly_that_many)),
    ("mask_tokens", masking(kind=exactly_eighty_percent)),
    ("mask_tokens", masking(kind=lambda chosen, generator: torch.rand(len(chosen), 1, generator=generator))),
    ("mask_tokens", masking(stand_in=never_the_mask)),
    ("mask_tokens", masking(stand_in=never_the_same)),
    ("mask_tokens", masking(stand_in=rounded)),
    ("mask_tokens", masking(stand_in=one_for_a_row)),
    ("mask_tokens", masking(before=lambda one: torch.Generator().manual_seed(one.initial_seed()))),
    ("mask_tokens", masks_in_place),
    ("mask_tokens", mask_is_special),
    ("masked_loss", loss_without_nan),
    ("masked_loss", lambda z, t: loss_by_logsumexp(z, t) if (t >= 0).any() else torch.tensor(0.0)),
    ("masked_loss", lambda z, t: loss_by_logsumexp(z, t.where(t > 0, -100))),
    ("masked_loss", lambda z, t: F.softmax(z, -1).clamp_min(1e-12).log().mul(-1).mean()),
    ("text_probability", with_penalty(-10.0)),
    ("text_probability", with_penalty(-10_000.0)),
    ("align_labels", labels_by_word),
    ("align_labels", lambda *inputs: tuple(map(tuple, labels_by_marks(*inputs)))),
    ("masked_posterior", functools.partial(posterior, shift=lambda exponents: 0.0)),
    ("masked_posterior", functools.partial(posterior, low=-15.0)),
    ("masked_posterior", functools.partial(posterior, digits=7)),
    ("masked_posterior", lambda *inputs: posterior(*inputs).clip(1e-6, 1 - 1e-6)),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("name", "answer"), WRONG)
def test_a_near_miss_is_rejected(name, answer, seed):
    assert reasons(name, answer, seed)


def test_the_floor_of_a_chain_is_the_mean_loss_of_the_exact_posterior():
    spins = np.array([*itertools.product((-1.0, 1.0), repeat=13)])
    weights = np.exp((spins[:, 1:] * spins[:, :-1]).sum(1))
    p = 1 / (1 + np.exp(-2 * spins[:, 6] * (spins[:, 5] + spins[:, 7])))
    floor = -(weights / weights.sum()) @ np.log(p)
    assert math.isclose(drawn("chain_floor", 0)[0].reference(), floor, rel_tol=1e-9)
    assert not reasons("chain_floor", 0.23) and reasons("chain_floor", 0.25)
