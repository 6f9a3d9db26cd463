"""Chapter 1's checks beyond the generic ones: unusual right answers pass, near misses do not."""

import math
from itertools import pairwise

import pytest
from answers import verdict_of

from lecture_lib.checks.message import text
from lecture_lib.tokenization import learn_merges

verdict = verdict_of("tokenization")


def merge_by_recursion(ids, pair, new_id):
    if len(ids) < 2:
        return list(ids)
    if (ids[0], ids[1]) == pair:
        return [new_id, *merge_by_recursion(ids[2:], pair, new_id)]
    return [ids[0], *merge_by_recursion(ids[1:], pair, new_id)]


def judged_by_training(lists):
    """Train on a text of each list's own tokens, the earlier the more often, and compare."""
    for place, merges in enumerate(lists):
        spelled, words = {i: (i,) for i in range(256)}, {}
        for rank, (left, right) in enumerate(merges):
            if not {left, right} <= set(spelled):
                return place
            spelled[256 + rank] = spelled[left] + spelled[right]
            words[spelled[256 + rank]] = 1000 ** (len(merges) - rank)
        if learn_merges(words, len(merges)) != merges:
            return place
    return None


def encoded_rank_by_rank(ids, merges):
    for pair in sorted(merges, key=merges.get):
        ids = merge_by_recursion(ids, pair, merges[pair][1])
    return list(ids)


def cut_forwards(text, log_probs):
    reached = {0: (0.0, [])}
    for start in range(len(text)):
        for piece, value in log_probs.items() if start in reached else ():
            total, end = reached[start][0] + value, start + len(piece)
            if text.startswith(piece, start) and total > reached.get(end, (-math.inf,))[0]:
                reached[end] = total, [*reached[start][1], piece]
    if len(text) not in reached:
        raise ValueError("no cut")
    return reached[len(text)][1]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("merge", merge_by_recursion),
        ("impossible_merges", judged_by_training),
        ("encode_word", encoded_rank_by_rank),
        ("best_cut", cut_forwards),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_an_unusual_right_answer_passes(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


def merged_from_the_right_unless_equal(ids, pair, new_id):
    if pair[0] == pair[1]:
        return merge_by_recursion(ids, pair, new_id)
    ids = list(ids)
    for i in reversed(range(len(ids) - 1)):
        if tuple(ids[i : i + 2]) == pair:
            ids[i : i + 2] = [new_id]
    return ids


def encoded_below(highest_rank=math.inf, most=math.inf, same=False):
    """Encode by ranks below a number, with so many merges at most; `same`: the caller's list where nothing merges."""

    def encode_word(ids, merges):
        done, made = ids if same else list(ids), 0
        while made < most:
            known = [
                (merges[pair], i)
                for i, pair in enumerate(pairwise(done))
                if merges.get(pair, (math.inf,))[0] < highest_rank
            ]
            if not known:
                break
            (_, new_id), i = min(known)
            done, made = [*done[:i], new_id, *done[i + 2 :]], made + 1
        return done

    return encode_word


def judged(is_wrong):
    """Judge merge by merge: `is_wrong(rank, pair, merges before)`."""

    def impossible_merges(lists):
        wrong = (
            place
            for place, merges in enumerate(lists)
            if any(is_wrong(rank, pair, merges[:rank]) for rank, pair in enumerate(merges))
        )
        return next(wrong, 0)

    return impossible_merges


class CountedPlaces:
    """Guess by counting calls, as if the places followed a rule."""

    def __init__(self):
        self.calls = -1

    def __call__(self, lists):
        self.calls += 1
        return 3 * self.calls % 5


def longest_match_up_to(letters):
    def longest_match(word, vocabulary, prefix="##", unknown="[UNK]"):
        pieces, start = [], 0
        while start < len(word):
            mark = prefix if start else ""
            ends = range(min(len(word), start + letters), start, -1)
            end = next((end for end in ends if mark + word[start:end] in vocabulary), None)
            if end is None:
                return [unknown]
            pieces.append(mark + word[start:end])
            start = end
        return pieces

    return longest_match


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("merge", merged_from_the_right_unless_equal),
        ("merge", lambda ids, pair, new: ids if len(ids) < 2 else merge_by_recursion(ids, pair, new)),
        ("impossible_merges", judged(lambda r, pair, before: max(pair) >= 256 + r or pair in before[-1:])),
        ("impossible_merges", judged(lambda r, pair, before: max(pair) >= 256 + r or pair in before[:1])),
        ("impossible_merges", judged(lambda r, pair, before: pair[0] >= 256 + r or pair in before)),
        ("impossible_merges", judged(lambda r, pair, before: r and max(pair) >= 256 + r or pair in before)),
        (
            "impossible_merges",
            judged(lambda r, pair, before: r < 5 and (max(pair) >= 256 + r or pair in before)),
        ),
        (
            "impossible_merges",
            judged(lambda r, pair, before: max(pair) >= 256 + r or {*pair} in map(set, before)),
        ),
        (
            "impossible_merges",
            judged(lambda r, pair, before: max(pair) - r not in range(258) or pair in before),
        ),
        ("impossible_merges", CountedPlaces()),
        ("encode_word", encoded_below(highest_rank=10**5)),
        ("encode_word", encoded_below(most=50)),
        ("encode_word", encoded_below(same=True)),
        ("longest_match", longest_match_up_to(20)),
        (
            "longest_match",
            lambda word, *rest, **named: longest_match_up_to(99)(word.strip("#"), *rest, **named),
        ),
        ("best_cut", lambda text, log_probs: cut_forwards(text, {p: v for p, v in log_probs.items() if v})),
        ("best_cut", lambda text, log_probs: cut_forwards(text.strip(), log_probs)),
        ("best_cut", lambda text, log_probs: cut_forwards(text.lower(), log_probs)),
        (
            "best_cut",
            lambda text, log_probs: cut_forwards(text, {p: v for p, v in log_probs.items() if len(p) <= 20}),
        ),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_near_miss_is_rejected(name, answer, seed):
    assert not verdict(name, answer, seed).passed
