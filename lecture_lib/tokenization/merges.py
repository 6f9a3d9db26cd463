"""Byte-pair encoding proper: count pairs, merge the most frequent one, repeat (Sennrich, Haddow & Birch, 2016).

`learn_merges` and `encode_word` are the definitions, written to be read; `fast_training` and
`fast_encoding` hold what `BytePairTokenizer` calls where speed counts, and tests hold both equal.

A word is a sequence of token ids; a merge is a pair of ids and the id that replaces it. No axes: plain lists.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]
Words = Mapping[tuple[int, ...], int]  # frequency of each word, a word being a tuple of ids
Merges = Mapping[Pair, tuple[int, int]]  # (rank, new id) of each pair; rank 0 was learned first


def pair_counts(words: Words) -> dict[Pair, int]:
    """Count of each pair of neighbours: sum over words of frequency times occurrences in the word.

    Args:
        words: frequency of each word, a word being a tuple of token ids.

    Returns:
        The count of each pair of adjacent ids.

    Example:
        >>> pair_counts({(1, 2, 3): 5, (1, 2): 1})
        {(1, 2): 6, (2, 3): 5}
    """
    counts: defaultdict[Pair, int] = defaultdict(int)
    for word, frequency in words.items():
        for pair in pairwise(word):
            counts[pair] += frequency
    return dict(counts)


def merge(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    """Replace each occurrence of `pair` by `new_id`, left to right, no id used twice.

    Args:
        ids: (N,) token ids of a word.
        pair: two neighbouring ids.
        new_id: the id that stands for both.

    Returns:
        (M,) ids of the shorter word, M <= N.

    Example:
        >>> merge([1, 2, 3, 1, 2], (1, 2), 4)
        [4, 3, 4]
        >>> merge([1, 1, 1], (1, 1), 2)
        [2, 1]
    """
    merged: list[int] = []
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def learn_merges(words: Words, n_merges: int, first_new_id: int = 256) -> list[Pair]:
    """Merge the most frequent pair, n_merges times; of equals the lowest (a, b) first.

    Args:
        words: frequency of each word, a word being a tuple of ids below `first_new_id`.
        n_merges: how many pairs to merge; fewer are returned when no pair is left.
        first_new_id: id given to the first merged pair; the next ones count on.

    Returns:
        The merged pairs in order.

    Example:
        >>> learn_merges({(1, 2, 3): 5, (1, 2): 1}, n_merges=2, first_new_id=4)
        [(1, 2), (4, 3)]

    Source: Sennrich, Haddow & Birch (2016), Algorithm 1.
    """
    merges: list[Pair] = []
    while len(merges) < n_merges and (counts := pair_counts(words)):
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        new_id = first_new_id + len(merges)
        words = {tuple(merge(word, best, new_id)): n for word, n in words.items()}
        merges.append(best)
    return merges


def encode_word(ids: Sequence[int], merges: Merges) -> list[int]:
    """Merge, while any pair can be, the one learned first (of equals the leftmost).

    Args:
        ids: (N,) token ids of a word, at first one for each byte.
        merges: (rank, new id) of each pair; rank 0 was learned first.

    Returns:
        (M,) token ids of the word, M <= N.

    Example:
        >>> encode_word([1, 2, 3], {(2, 3): (0, 4), (1, 2): (1, 5), (1, 4): (2, 6)})
        [6]

    Source: Sennrich, Haddow & Birch (2016), section 3.2.
    """
    ids = list(ids)
    never = (math.inf, -1)
    while len(ids) > 1:
        ranked = [merges.get(pair, never) for pair in pairwise(ids)]
        best = min(ranked)
        if best is never:
            break
        i = ranked.index(best)
        ids[i : i + 2] = [best[1]]
    return ids
