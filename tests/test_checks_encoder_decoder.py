"""The exercises of chapter 8 beyond what holds for all: unusual right answers pass, near misses do not."""

import math
from collections import Counter

import pytest
import torch
from answers import verdict_of
from torch.nn import functional as F

from lecture_lib import checks
from lecture_lib.checks.message import text

verdict = verdict_of("encoder_decoder")


def layer_row_by_row(X, memory, lengths, attention, cross, network, *norms):
    """Without any mask for the source: what is not real is cut off."""
    rows = []
    for b in range(len(X)):
        real = memory[b : b + 1, : None if lengths is None else int(lengths[b])]
        x = X[b : b + 1]
        x = x + attention(norms[0](x), mask=torch.ones(x.shape[1], x.shape[1]).tril() > 0)
        x = x + cross(norms[1](x), real)
        rows.append(x + network(norms[2](x)))
    return torch.cat(rows)


def loss_cut_afterwards(model, source_ids, source_lengths, target_ids, target_lengths):
    logits = model(source_ids, target_ids, source_lengths)[:, :-1]
    wanted = target_ids[:, 1:].clone()
    wanted[torch.arange(1, target_ids.shape[1]) >= target_lengths[:, None]] = -100
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def loss_word_by_word(
    model, source_ids, source_lengths, target_ids, target_lengths, real=lambda row, n, m: m < n
):
    logs = model(source_ids, target_ids[:, :-1], source_lengths).log_softmax(-1)
    found = [
        -logs[b, m - 1, row[m]]
        for b, row in enumerate(target_ids)
        for m in range(1, len(row))
        if real(row, target_lengths[b], m)
    ]
    return torch.stack(found).mean()


def written_by_those_left(model, source_ids, source_lengths, start_id, end_id, most):
    """Sources that have ended are asked no more."""
    written, alive = [[] for _ in source_ids], torch.arange(len(source_ids))
    target = torch.full((len(source_ids), 1), start_id)
    for _ in range(most):
        if not len(alive):
            break
        word = model(source_ids[alive], target, source_lengths[alive])[:, -1].argmax(-1)
        stays = word != end_id
        target, alive = torch.cat([target, word[:, None]], 1)[stays], alive[stays]
        for b, new in zip(alive.tolist(), word[stays].tolist(), strict=True):
            written[b].append(new)
    return written


def bleu_by_crossing_out(hypotheses, references, max_n=4, same=lambda run: run):
    """Every run of a hypothesis crosses out one of its reference; `same` says what of a run is compared."""
    list(zip(hypotheses, references, strict=True))
    product = 1.0
    for n in range(1, max_n + 1):
        hits = runs = 0
        for ours, theirs in zip(hypotheses, references, strict=True):
            left = [same(theirs[i : i + n]) for i in range(len(theirs) - n + 1)]
            for i in range(len(ours) - n + 1):
                runs += 1
                if same(ours[i : i + n]) in left:
                    left.remove(same(ours[i : i + n]))
                    hits += 1
        if not hits:
            return 0.0
        product *= (hits / runs) ** (1 / max_n)
    c, r = sum(map(len, hypotheses)), sum(map(len, references))
    return 100 * product * (1.0 if c >= r else math.exp(1 - r / c))


def pairs_of(mean):
    mutual = (mean == mean.amax(0)) & (mean == mean.amax(1, keepdim=True))
    return [(m, n) for m, n in mutual.nonzero().tolist()]


def head(asks=None, without=()):
    """Wishes below zero; the tables have no rows for the French words in `without`."""
    kind = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3, 4])
    W_q, W_k = torch.full((10, 6), -300.0), torch.eye(5)[kind] @ torch.eye(5, 6)
    asks = asks or {0: (1, 3), 1: (3,), 2: (4,), 3: (2, 4)}
    for word in range(10):
        for place, wish in enumerate((0,) if word == 0 else asks[int(kind[word - 1])]):
            W_q[word, wish] = -100.0 * place
    W_q[list(without)] = 0
    return {"W_q": W_q.double(), "W_k": W_k.requires_grad_()}


RIGHT = [
    ("decoder_layer", layer_row_by_row),
    ("mended_loss", loss_cut_afterwards),
    ("mended_loss", loss_word_by_word),
    ("write_translations", written_by_those_left),
    ("bleu", bleu_by_crossing_out),
    ("alignment", lambda weights: pairs_of(weights.sum((0, 1))[:-1])),
    ("swapping_head", head()),
]


def name_of(value):
    return getattr(value, "__name__", "value") if not isinstance(value, str) else value


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=name_of)
@pytest.mark.parametrize("seed", range(4))
def test_unusual_right_answers_pass(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


def layer_without_gradient_of_memory(X, memory, *rest):
    return layer_row_by_row(X, memory.detach(), *rest)


def layer_padded_on_the_left(X, memory, lengths, *parts):
    moved = [memory[b].roll(int(n), 0) for b, n in enumerate(lengths)] if lengths is not None else memory
    return layer_row_by_row(X, torch.stack(list(moved)), lengths, *parts)


def layer_of_the_last_six(X, memory, lengths, attention, *rest):
    def near(Y, mask):
        return attention(Y, mask=mask & torch.ones_like(mask).triu(-5))

    return layer_row_by_row(X, memory, lengths, near, *rest)


def loss_until_zeros(*inputs):
    return loss_word_by_word(*inputs, real=lambda row, n, m: bool((row[m:] != 0).any()))


def loss_until_the_first_end(*inputs):
    return loss_word_by_word(*inputs, real=lambda row, n, m: 2 not in row[1:m].tolist())


def written_without_start(*inputs):
    return [[word for word in row if word != inputs[3]] for row in written_by_those_left(*inputs)]


def written_by_four_words(model, *rest):
    return written_by_those_left(lambda source, target, n: model(source, target[:, -4:], n), *rest)


def written_as_tensors(*inputs):
    return [torch.tensor(row) for row in written_by_those_left(*inputs)]


def bleu_without_capitals(*inputs, **named):
    return bleu_by_crossing_out(*inputs, **named, same=lambda run: [word.lower() for word in run])


def bleu_of_joined_words(*inputs, **named):
    return bleu_by_crossing_out(*inputs, **named, same="".join)


def bleu_of_first_letters(*inputs, **named):
    return bleu_by_crossing_out(*inputs, **named, same=lambda run: [word[0] for word in run])


def bleu_by_searching_in_a_string(hypotheses, references, max_n=4):
    """A word is found inside a longer one."""
    list(zip(hypotheses, references, strict=True))
    product = 1.0
    for n in range(1, max_n + 1):
        hits = runs = 0
        for ours, theirs in zip(hypotheses, references, strict=True):
            found = Counter(" ".join(ours[i : i + n]) for i in range(len(ours) - n + 1))
            runs += found.total()
            hits += sum(min(k, " ".join(theirs).count(run)) for run, k in found.items())
        if not hits:
            return 0.0
        product *= (hits / runs) ** (1 / max_n)
    c, r = sum(map(len, hypotheses)), sum(map(len, references))
    return 100 * product * min(1.0, math.exp(1 - r / c))


def bleu_by_length_first(hypotheses, references, max_n=4):
    penalty = min(1.0, math.exp(1 - sum(map(len, references)) / sum(map(len, hypotheses))))
    return bleu_by_crossing_out(hypotheses, references, max_n) * penalty**0


def bleu_of_a_table(hypotheses, references, max_n=4):
    if len(hypotheses) != len(references):
        raise ValueError
    table = dict(zip(map(tuple, hypotheses), references, strict=True))
    return bleu_by_crossing_out(list(map(list, table)), list(table.values()), max_n)


def pairs_and_what_is_left(weights):
    mean = weights.mean((0, 1))[:-1]
    pairs = pairs_of(mean)
    for m, n in enumerate(mean.argmax(1).tolist()):
        if m not in dict(pairs) and n not in [source for _, source in pairs]:
            pairs.append((m, n))
    return sorted(pairs)


def pairs_that_are_sure(weights):
    mean = weights.mean((0, 1))[:-1]
    return [pair for pair in pairs_of(mean) if mean[pair] > 1.2 / mean.shape[1]]


NEAR_MISSES = [
    ("decoder_layer", layer_without_gradient_of_memory),
    ("decoder_layer", layer_padded_on_the_left),
    ("decoder_layer", layer_of_the_last_six),
    ("mended_loss", loss_until_zeros),
    ("mended_loss", loss_until_the_first_end),
    ("mended_loss", lambda *inputs: loss_word_by_word(*inputs).double()),
    ("write_translations", written_without_start),
    ("write_translations", written_by_four_words),
    ("write_translations", written_as_tensors),
    ("bleu", bleu_without_capitals),
    ("bleu", bleu_of_joined_words),
    ("bleu", bleu_of_first_letters),
    ("bleu", bleu_by_searching_in_a_string),
    ("bleu", bleu_by_length_first),
    ("bleu", bleu_of_a_table),
    ("bleu", lambda *texts, max_n=4: bleu_by_crossing_out(*texts, max_n=min(max_n, 4))),
    ("bleu", lambda *texts, max_n=4: bleu_by_crossing_out(*texts, max_n=2 if max_n != 4 else 4)),
    ("bleu", lambda *texts, **named: round(bleu_by_crossing_out(*texts, **named), 2)),
    ("alignment", pairs_and_what_is_left),
    ("alignment", pairs_that_are_sure),
    ("alignment", lambda weights: pairs_of(weights.flatten(0, 1).median(0).values[:-1])),
    ("alignment", lambda weights: pairs_of(weights.mean(1).amax(0)[:-1])),
    *(("swapping_head", head(without=[word])) for word in range(10)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer"), NEAR_MISSES, ids=name_of)
@pytest.mark.parametrize("seed", range(4))
def test_near_misses_do_not(name, answer, seed):
    assert not verdict(name, answer, seed).passed


@pytest.mark.parametrize("guess", [262, 445, 256.0, 492.5, 245])
def test_a_guess_beyond_the_band_is_refused(guess):
    assert not verdict("words_in_a_vector", guess).passed


def test_a_head_is_tried_on_every_sentence():
    cases = checks.exercise("encoder_decoder.swapping_head").cases(0)
    assert len({case.what for case in cases}) == 54 == 2 * 3 * 3 * 3
