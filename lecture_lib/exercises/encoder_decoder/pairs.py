"""Pairs of words out of attention maps, judged on sentences whose true pairs the grammar knows."""

from collections.abc import Callable

import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.corpora import translation


def choose_each_other(weights: Tensor) -> list[tuple[int, int]]:
    """Compare the sum over heads of every pair with all others in its row and column, in plain loops."""
    heads = weights.flatten(0, 1).double().tolist()
    rows, columns = range(weights.shape[2] - 1), range(weights.shape[3])
    total = {(m, n): sum(head[m][n] for head in heads) for m in rows for n in columns}
    return [
        (m, n)
        for m in rows
        for n in columns
        if all(total[m, n] >= total[m, other] for other in columns)
        and all(total[m, n] >= total[other, n] for other in rows)
    ]


def clear(weights: Tensor) -> bool:
    """Whether no row and no column of the mean is so close that rounding decides."""
    mean = weights.mean((0, 1))[:-1]
    best = (mean.topk(2, dim=1).values, mean.topk(2, dim=0).values.mT)
    return all(bool((each[:, 0] - each[:, 1]).min() > 1e-4) for each in best)


def end_matters(weights: Tensor) -> bool:
    """Whether the last row, if it were a word, would take a source word from a pair."""
    last, best = weights.mean((0, 1))[-1], weights.mean((0, 1))[:-1]
    return clear(weights) and any(last[n] > best[m, n] + 1e-4 for m, n in choose_each_other(weights))


def crowd_matters(weights: Tensor) -> bool:
    """Whether a source word that many words look at would lose a pair if weights were divided by the sum of their column."""
    mean = weights.mean((0, 1))[:-1]
    shares = mean**2 / mean.sum(0)
    return end_matters(weights) and choose_each_other(weights) != choose_each_other(
        torch.cat([shares, shares[:1]])[None, None]
    )


def free_words_matter(weights: Tensor) -> bool:
    """Whether a word outside all pairs looks most at a source word outside all pairs, which looks elsewhere."""
    looks = weights.mean((0, 1))[:-1].argmax(1).tolist()
    words, sources = (set(each) for each in zip(*choose_each_other(weights), strict=True))
    return end_matters(weights) and any(m not in words and n not in sources for m, n in enumerate(looks))


def faint(weights: Tensor) -> bool:
    """Whether a pair has hardly more weight than an even look would give it."""
    mean = weights.mean((0, 1))
    pairs = choose_each_other(weights)
    return end_matters(weights) and any(mean[pair] < 1.15 / weights.shape[3] for pair in pairs)


def random_maps(
    draw: Draw, L: int, H: int, M: int, N: int, holds: Callable = end_matters, strength: float = 2.0
) -> Tensor:
    """Draw maps of L layers and H heads for M words and the end, and N source words; each row sums to one."""
    return until(lambda: draw.normal(L, H, M + 1, N).mul(strength).softmax(-1), holds)


def grammars_maps(draw: Draw, L: int, H: int) -> tuple[str, Tensor]:
    """Maps of a good translator for a sentence of the grammar: most heads look at the true word, one at the last word."""
    (english, french), *_ = translation.sentence_pairs(1, seed=draw.size(0, 10**6))
    M, N = len(french), len(english)
    true = torch.zeros(M + 1, N)
    for m, n in translation.alignment(english):
        true[m, n] = 1.0
    true[M, N - 1] = 1.0

    def maps() -> Tensor:
        scores = 3 * true + draw.normal(L, H, M + 1, N)
        scores[0, 0] = draw.normal(M + 1, N)
        scores[0, 0, :, -1] += 2.0
        return scores.softmax(-1)

    return " ".join(english), until(maps, clear)


def alignment_cases(seed: int) -> list[Case]:
    """One head, several, a sentence of the grammar, more words on either side, heads that contradict each other."""
    draw = Draw(seed)
    N = draw.size(4, 5)
    sentences = [grammars_maps(draw, 2, 3), grammars_maps(draw, 3, 2)]

    def drawn(what: str, L: int, H: int, M: int, N: int, *how: object) -> Case:
        return Case(f"{what}: weights ({L}, {H}, {M + 1}, {N})", (random_maps(draw, L, H, M, N, *how),))

    return [
        drawn("one layer, one head", 1, 1, 3, 3),
        drawn("one layer, two heads", 1, 2, 3, N),
        drawn("three layers, one head", 3, 1, N, 3),
        drawn("many source words", 2, 2, 3, N + 4),
        drawn("many target words", 2, 2, N + 4, 3),
        *(Case(f"the look of '{english}'", (weights,)) for english, weights in sentences),
        drawn("many words look at one", 1, 2, N, 4, crowd_matters),
        drawn("two layers, four heads", 2, 4, N + 1, N + 2),
        drawn("looks that are nearly even", 1, 2, 4, N, faint, 0.1),
        drawn("words that nobody chooses", 2, 1, 6, 6, free_words_matter),
    ]


def one_to_one(weights: Tensor) -> list[tuple[int, int]]:
    """Take the largest weight, strike out its row and column, and go on."""
    mean, pairs = weights.mean((0, 1))[:-1].clone(), []
    for _ in range(min(mean.shape)):
        m, n = divmod(int(mean.argmax()), mean.shape[1])
        pairs.append((m, n))
        mean[m], mean[:, n] = -1, -1
    return sorted(pairs)


MEAN, PAIRED = "weights.mean(dim=(0, 1))[:-1]", "returned[n] == m"

ALIGNMENT = Exercise(
    name="encoder_decoder.alignment",
    points=3, difficulty=1, minutes=15,
    against="all pairs compared in plain loops; a test holds them to the true pairs of the grammar",
    reference=choose_each_other,
    cases=alignment_cases,
    entry="pair",
    mistakes=(
        ("every target word gets its largest weight, whether or not the source word answers. Which target word is "
         "the largest of its column?",
         PAIRED, "True"),
        ("every source word gets a target word, whether or not that one looks at it. Which direction is missing?",
         "[(m, n) for m, n in enumerate(chosen.tolist()) if returned[n] == m]",
         "sorted((m, n) for n, m in enumerate(returned.tolist()))"),
        ("the last row counts as a word. What does the model decide there?",
         MEAN, "weights.mean(dim=(0, 1))"),
        ("the last row counts when columns are compared, and is left out afterwards. When must it go?",
         MEAN, "weights.mean(dim=(0, 1))", PAIRED, "returned[n] == m and m < len(mean) - 1"),
        ("the first row is left out, as if each word were decided where it is read. Which row decides word 0?",
         MEAN, "weights.mean(dim=(0, 1))[1:]"),
        ("the places are shifted by one: row m is taken for word m - 1. Which row decides word m?",
         "[(m, n) for", "[(m + 1, n) for"),
        ("pairs come as (source, target). Which is asked for first?",
         "[(m, n) for", "[(n, m) for"),
        ("the last source word is left out as well. Which axis has a place that is no word, the target or the source?",
         MEAN, "weights.mean(dim=(0, 1))[:-1, :-1]"),
        ("one of two words has chosen the other, not each the other. Are two words a pair if one of them looks elsewhere?",
         "[(m, n) for m, n in enumerate(chosen.tolist()) if returned[n] == m]",
         "sorted({(m, n) for m, n in enumerate(chosen.tolist())} | {(m, n) for n, m in enumerate(returned.tolist())})"),
        ("the largest weights are taken one after the other until a side is used up. Has every word a pair?",
         one_to_one),
        ("only the last layer is used. Over what does the mean run?",
         MEAN, "weights[-1].mean(dim=0)[:-1]"),
        ("only the first head of each layer is used. Over what does the mean run?",
         MEAN, "weights[:, 0].mean(dim=0)[:-1]"),
        ("the largest weight of any head counts, not the mean: one head that looks always at the same word wins.",
         MEAN, "weights.amax(dim=(0, 1))[:-1]"),
        ("the weights of the heads are multiplied. How does a mean treat a head that does not look?",
         MEAN, "weights.clamp_min(1e-30).log().mean(dim=(0, 1))[:-1]"),
        ("weights are divided by the sum of their column as well. Which weights are compared along a row?",
         MEAN, f"({MEAN} ** 2 / {MEAN}.sum(dim=0))"),
        ("places are counted from 1.",
         "[(m, n) for", "[(m + 1, n + 1) for"),
        ("a pair is kept if its weight is above one half. What does it mean that two words choose each other?",
         PAIRED, "mean[m, n] > 0.5"),
        ("each column's choice is sought along the wrong axis: both times the largest of a row.",
         "mean.argmax(dim=0)", "torch.cat([mean.argmax(dim=1), torch.full((weights.shape[3],), -1)])"),
    ),
)  # fmt: skip
