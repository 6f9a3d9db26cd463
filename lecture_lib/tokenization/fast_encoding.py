"""`encode_word` fast: short words by C's string functions, long ones by a queue, very long ones many places at a time.

In the first and the last, a merge is applied wherever its pair stands before the next one is looked for. That is the
order of `encode_word` as long as every pair with the new token was learned after the merge; where it was not, one
place at a time is merged.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise, repeat
from operator import add

import numpy as np

from lecture_lib.tokenization.merges import Merges

LONG_WORD, VERY_LONG_WORD = 16, 20_000  # tokens from which on the queue, and NumPy, are faster


class MergeTable:
    """The merges of a tokenizer in the forms in which they are looked up."""

    def __init__(self, merges: Merges) -> None:
        self.merges = merges
        ordered = sorted(merges.items(), key=lambda item: item[1][0])
        first: dict[int, int] = {}  # token: rank at which a pair with it is first merged
        for rank, (pair, _) in enumerate(ordered):
            for token in pair:
                first.setdefault(token, rank)
        # Whether a merge can be made everywhere at once: no pair with its token comes before it.
        self.at_once = [first.get(new, rank + 1) > rank for rank, (_, (_, new)) in enumerate(ordered)]
        self.pairs = [pair for pair, _ in ordered]
        self.news = [new for _, (_, new) in ordered]

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Rank of each pair, written as two characters `chr(id)`."""
        return {chr(a) + chr(b): rank for rank, (a, b) in enumerate(self.pairs)}

    @cached_property
    def steps(self) -> list[tuple[str, str, int]]:
        """What `str.replace` is told at each rank: the pair, its token, and how many places at most."""
        counts = [-1 if at_once else 1 for at_once in self.at_once]
        return list(zip(self.ranks, map(chr, self.news), counts, strict=True))

    @cached_property
    def keys(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Pairs as sorted numbers `a * base + b`, with base and ranks."""
        pairs = np.array(self.pairs or [(0, 0)], dtype=np.int64)
        base = int(pairs.max()) + 1
        keys = pairs[:, 0] * base + pairs[:, 1]
        order = np.argsort(keys)
        return base, keys[order], order

    def encode(self, word: str) -> list[int]:
        """Merge the tokens of a word, given as one character `chr(id)` each."""
        if len(word) > VERY_LONG_WORD:
            return _LongWord(list(map(ord, word)), self).encode()
        if len(word) > LONG_WORD:
            return encode_long_word(list(map(ord, word)), self.merges)
        rank_of, steps, never = self.ranks.get, self.steps, repeat(len(self.steps))
        while (rank := min(map(rank_of, map(add, word, word[1:]), never), default=len(steps))) < len(steps):
            word = word.replace(*steps[rank])
        return list(map(ord, word))


def encode_long_word(ids: Sequence[int], merges: Merges) -> list[int]:
    """Do what `encode_word` does in O(N log N): a queue of possible merges over a doubly linked list.

    Args:
        ids: (N,) token ids of a word.
        merges: (rank, new id) of each pair.

    Returns:
        (M,) token ids of the word.
    """
    symbols: list[int | None] = list(ids)
    n = len(symbols)
    before, after = list(range(-1, n - 1)), list(range(1, n + 1))
    # (rank, new id, place): lowest rank first, then leftmost.
    queue = [(*merges[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in merges]
    heapq.heapify(queue)
    while queue:
        rank, new_id, i = heapq.heappop(queue)
        j = after[i]
        if j >= n or merges.get((symbols[i], symbols[j])) != (rank, new_id):
            continue  # one of the two has been merged since
        symbols[i], symbols[j] = new_id, None
        after[i] = after[j]
        if after[i] < n:
            before[after[i]] = i
        for k in (before[i], i):
            if k >= 0 and after[k] < n and (symbols[k], symbols[after[k]]) in merges:
                heapq.heappush(queue, (*merges[symbols[k], symbols[after[k]]], k))
    return [symbol for symbol in symbols if symbol is not None]


class _LongWord:
    """A word while it is merged: its tokens as a linked list, and where each pair stands."""

    def __init__(self, ids: Sequence[int], table: MergeTable) -> None:
        n = len(ids)
        self.table = table
        self.symbols = np.array([*ids, -1], dtype=np.int64)  # -1: merged into the token before; the end
        self.after = np.minimum(np.arange(1, n + 2), n)
        self.before = np.arange(-1, n)
        self.places: defaultdict[int, list[np.ndarray]] = defaultdict(list)  # of each rank
        self.queue: list[int] = []  # heap of the ranks that have places
        self._note(np.arange(n))

    def encode(self) -> list[int]:
        """Merge until no pair is left."""
        while self.queue:
            self._merge(heapq.heappop(self.queue))
        return self.symbols[self.symbols >= 0].tolist()

    def _note(self, starts: np.ndarray) -> None:
        """File the pairs that begin at some places under their ranks."""
        base, keys, ranks = self.table.keys
        left, right = self.symbols[starts], self.symbols[self.after[starts]]
        wanted = np.where((right >= 0) & (right < base), left * base + right, -1)
        found = np.searchsorted(keys, wanted)
        found[found == len(keys)] = 0
        known = keys[found] == wanted
        starts, ranks = starts[known], ranks[found[known]]
        order = np.argsort(ranks, kind="stable")
        starts, ranks = starts[order], ranks[order]
        cuts = [0, *(np.flatnonzero(ranks[1:] != ranks[:-1]) + 1).tolist(), len(ranks)] if len(ranks) else [0]
        for low, high in zip(cuts, cuts[1:], strict=False):
            rank = int(ranks[low])
            if rank not in self.places:
                heapq.heappush(self.queue, rank)
            self.places[rank].append(starts[low:high])

    def _merge(self, rank: int) -> None:
        """Merge the pair of a rank, everywhere or, where that could forestall an earlier pair, at its first place."""
        symbols, after, before = self.symbols, self.after, self.before
        a, b = self.table.pairs[rank]
        chunks = self.places.pop(rank)
        starts = np.unique(np.concatenate(chunks) if len(chunks) > 1 else chunks[0])
        starts = starts[(symbols[starts] == a) & (symbols[after[starts]] == b)]
        if a == b:
            starts = _every_other(starts, after[starts])
        if not self.table.at_once[rank] and len(starts) > 1:
            self.places[rank] = [starts[1:]]
            heapq.heappush(self.queue, rank)
            starts = starts[:1]
        seconds = after[starts]
        ends = after[seconds]
        symbols[starts], symbols[seconds] = self.table.news[rank], -1
        after[starts], before[ends] = ends, starts
        previous = before[starts]
        self._note(np.concatenate([previous[previous >= 0], starts]))


def _every_other(starts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """In runs like `aaaa` keep the pairs that do not overlap, from the left."""
    place = np.arange(len(starts))
    begins = np.ones(len(starts), dtype=bool)
    begins[1:] = seconds[:-1] != starts[1:]
    run = np.maximum.accumulate(np.where(begins, place, 0))
    return starts[(place - run) % 2 == 0]
