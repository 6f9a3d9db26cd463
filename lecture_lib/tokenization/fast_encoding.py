"""`encode_word` fast: short words with their ranks kept, long ones by a queue, very long ones many places at a time."""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np

from lecture_lib.tokenization.merges import Merges

LONG_WORD, VERY_LONG_WORD = 64, 20_000  # tokens from which on the queue, and NumPy, are faster


class MergeTable:
    """The merges of a tokenizer in the forms in which they are looked up; the rank is the place in `pairs`."""

    def __init__(self, merges: Merges) -> None:
        self.merges = merges
        ordered = sorted(merges.items(), key=lambda item: item[1][0])
        self.pairs = [pair for pair, _ in ordered]
        self.news = [new for _, (_, new) in ordered]
        self.ranks: dict[int, dict[int, int]] = {}  # ranks[a][b]
        for rank, (a, b) in enumerate(self.pairs):
            self.ranks.setdefault(a, {})[b] = rank

    @cached_property
    def at_once(self) -> list[bool]:
        """Whether a merge can be made everywhere at once: no pair with its new token was learned before it."""
        first: dict[int, int] = {}
        for rank, pair in enumerate(self.pairs):
            for token in pair:
                first.setdefault(token, rank)
        return [first.get(new, rank + 1) > rank for rank, new in enumerate(self.news)]

    @cached_property
    def keys(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Pairs as sorted numbers `a * base + b`, with base and ranks."""
        pairs = np.array(self.pairs or [(0, 0)], dtype=np.int64)
        base = int(max(pairs.max(), *self.news, 0)) + 1
        keys = pairs[:, 0] * base + pairs[:, 1]
        order = np.argsort(keys)
        return base, keys[order], order

    def find(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The rank of each pair of tokens, -1 where there is none."""
        base, keys, ranks = self.keys
        wanted = np.where((right >= 0) & (right < base), left * base + right, -1)
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where((keys[found] == wanted) & bool(self.pairs), ranks[found], -1)

    def encode(self, ids: list[int]) -> list[int]:
        """Merge the tokens of a word, in place if it is short; the ids that come out are those of `encode_word`."""
        if len(ids) > LONG_WORD:
            return (
                _LongWord(ids, self).encode()
                if len(ids) > VERY_LONG_WORD
                else encode_long_word(ids, self.merges)
            )
        table, never, news = self.ranks.get, len(self.news), self.news
        ranks = [table(a, _EMPTY).get(b, never) for a, b in pairwise(ids)]
        while (rank := min(ranks, default=never)) < never:
            i = ranks.index(rank)
            new = ids[i] = news[rank]
            del ids[i + 1], ranks[i]
            if i:
                ranks[i - 1] = table(ids[i - 1], _EMPTY).get(new, never)
            if i < len(ranks):
                ranks[i] = table(new, _EMPTY).get(ids[i + 1], never)
        return ids

    def whole(self) -> list[int]:
        """Tokens known to be encoded as themselves: nothing merges across the middle before their halves are there.

        Across the middle meet tokens at the right edge of the left half and at the left edge of the right half, each
        from the rank at which it is made to the rank at which it goes into a larger one.
        """
        if not self.pairs:
            return []
        base = self.keys[0]
        (a, b), n = np.array(self.pairs, dtype=np.int64).T, len(self.pairs)
        made, lefts, rights = (np.full(base, -1) for _ in range(3))
        made[self.news], lefts[self.news], rights[self.news] = np.arange(n), a, b
        sound = np.array(self.at_once) & (np.bincount(self.news, minlength=base)[self.news] == 1)
        which, x, until_x = np.arange(n), a, np.arange(n)
        while len(which):
            row, y, until_y = np.arange(len(which)), b[which], which
            while len(row):
                rank, end_x = self.find(x[row], y), until_x[row]
                both = np.maximum(made[x[row]], made[y]) < np.minimum(end_x, until_y)
                # Of two places with the same pair the left one goes first.
                across = both & (rank >= 0) & (rank < end_x) & (rank <= until_y) & (rank < which[row])
                sound[which[row[across]]] = False
                inner = made[lefts[y]] < made[y]
                row, y, until_y = row[inner], lefts[y[inner]], made[y[inner]]
            inner = made[rights[x]] < made[x]
            which, x, until_x = which[inner], rights[x[inner]], made[x[inner]]
        unsound = {new for new, fine in zip(self.news, sound.tolist(), strict=True) if not fine}
        for pair, new in zip(self.pairs, self.news, strict=True):
            if not unsound.isdisjoint(pair):
                unsound.add(new)
        return [new for new in self.news if new not in unsound]


_EMPTY: dict[int, int] = {}


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
    """A word while it is merged: its tokens as a linked list, and where each pair stands.

    A merge is made wherever its pair stands before the next one is looked for. That is the order of `encode_word` as
    long as every pair with the new token was learned after the merge; where it was not, one place at a time is merged.
    """

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
        ranks = self.table.find(self.symbols[starts], self.symbols[self.after[starts]])
        starts, ranks = starts[ranks >= 0], ranks[ranks >= 0]
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
