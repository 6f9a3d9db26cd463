"""The same merges fast: training that visits only the words that change.

`learn_merges` counts every pair anew for each merge; here the counts are kept up to date, so that 30,000 merges
on megabytes of text take seconds.
"""

import gc
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from operator import add

import numpy as np
from tqdm.auto import tqdm

from lecture_lib.tokenization.merges import Pair


def learn_merges_incrementally(
    words: Mapping[str, int],
    tokens: list[str],
    vocab_size: int,
    min_frequency: int = 0,
    join: Callable[[str, str], str] = add,
    progress: bool = False,
) -> list[Pair]:
    """Learn what `learn_merges` learns, visiting after each merge only the words that hold the pair.

    A word is a string with one character `chr(id)` per token, so that Python finds and replaces pairs in C.
    Ties: the lowest pair of ids. Where two different merges spell the same token (`aa` `a`
    and `a` `aa`) the second reuses its id, and the count of a pair that was merged is kept. Both are the
    rules of the `tokenizers` library, whose merges come out; `learn_merges` differs in such words alone.

    `words` holds the frequency of each word, `tokens` the alphabet in the order of its ids; the new tokens, which
    `join` spells, are appended to it until there are `vocab_size` or no pair is as frequent as `min_frequency`.

    Returns:
        The merged pairs in order; a pair can come back (the last place counts).
    """
    texts, frequencies = list(words), list(words.values())
    ids = {token: i for i, token in enumerate(tokens)}
    merges: list[Pair] = []
    bar = tqdm(total=max(0, vocab_size - len(tokens)), desc="merges", disable=not progress)
    with bar, collector_paused():
        counts, places = _count_pairs(words)
        queue = _PairQueue(counts)
        queue.push(places)
        while len(tokens) < vocab_size and (entry := queue.pop()):
            pair, where = entry
            if counts[pair] < min_frequency:
                break
            a, b = map(ord, pair)
            token = join(tokens[a], tokens[b])
            if token not in ids:
                ids[token] = len(tokens)
                tokens.append(token)
                bar.update()
            merges.append((a, b))
            queue.push(_merge_in_words(texts, frequencies, counts, where, pair, chr(ids[token])))
    return merges


class _PairQueue:
    """Pairs by count, highest first, of equals the lowest pair: a heap at the top count, plain lists below it.

    Most pairs are rare and never come to the top, so they are never sorted. The counts change while pairs wait;
    a pair whose count has changed is sent back to its place when it comes out.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.counts = counts
        self.buckets: dict[int, list[tuple[str, list[int]]]] = {}
        self.levels: list[int] = []  # heap of the negative counts that have a bucket
        self.top = 0  # the count whose bucket is a heap

    def push(self, places: Mapping[str, list[int]]) -> None:
        """Add pairs that occur at all, each with the words that hold it."""
        counts, buckets, top = self.counts, self.buckets, self.top
        for entry in places.items():
            count = counts[entry[0]]
            if count < 1:
                continue
            if count not in buckets:
                buckets[count] = [entry]
                heapq.heappush(self.levels, -count)
            elif count == top:
                heapq.heappush(buckets[count], entry)
            else:
                buckets[count].append(entry)

    def pop(self) -> tuple[str, list[int]] | None:
        """Take the first pair, with the words that hold it; None if there is no pair left."""
        counts, buckets, levels = self.counts, self.buckets, self.levels
        while levels:
            count = -levels[0]
            bucket = buckets[count]
            if not bucket:
                heapq.heappop(levels)
                del buckets[count]
                continue
            if count != self.top:
                heapq.heapify(bucket)
                self.top = count
            entry = heapq.heappop(bucket)
            if counts[entry[0]] == count:
                return entry
            self.push(dict([entry]))
        return None


@contextmanager
def collector_paused() -> Iterator[None]:
    """Stop Python's cycle collector: it would walk the lists of places, which hold no cycles, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _count_pairs(words: Mapping[str, int]) -> tuple[defaultdict[str, int], dict[str, list[int]]]:
    """Count each pair, and list the words that hold it (once for each time)."""
    n = len(words)
    ids = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    word = np.repeat(np.arange(n), np.fromiter(map(len, words), dtype=np.int64, count=n))
    inside = np.flatnonzero(word[1:] == word[:-1])
    pairs, word = ids[inside] << 32 | ids[inside + 1], word[inside]
    order = np.argsort(pairs, kind="stable")
    pairs, word = pairs[order], word[order]
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    counts: defaultdict[str, int] = defaultdict(int)
    if not len(starts):
        return counts, {}
    frequencies = np.fromiter(
        words.values(), dtype=object, count=n
    )  # Python's integers: they do not overflow
    sums = np.add.reduceat(frequencies[word], starts).tolist()
    spelled = [chr(pair >> 32) + chr(pair & 0xFFFFFFFF) for pair in pairs[starts].tolist()]
    counts.update(zip(spelled, sums, strict=True))
    places = (where.tolist() for where in np.split(word, starts[1:]))
    return counts, dict(zip(spelled, places, strict=True))


def _merge_in_words(
    texts: list[str],
    frequencies: list[int],
    counts: defaultdict[str, int],
    where: Iterable[int],
    pair: str,
    new: str,
) -> dict[str, list[int]]:
    """Merge `pair` in the words `where`, update the pair counts; return the words of each pair that is new."""
    lefts: defaultdict[str, list[int]] = defaultdict(list)  # words in which this token stands before the pair
    rights: defaultdict[str, list[int]] = defaultdict(list)
    first, second = pair
    for w in where:
        done, found, rest = texts[w].partition(pair)
        if not found:  # one of the two was merged with its other neighbour since
            continue
        if done:
            lefts[done[-1]].append(w)
        while pair in rest:  # seldom; the next to come is merged later, so now it begins with `first`
            between, _, rest = rest.partition(pair)
            rights[between[:1] or first].append(w)
            done = f"{done}{new}{between}"
            lefts[done[-1]].append(w)
        if rest:
            rights[rest[0]].append(w)
        texts[w] = f"{done}{new}{rest}"
    changes = [(left + first, left + new, ws) for left, ws in lefts.items()]
    changes += [(second + right, new + right, ws) for right, ws in rights.items()]
    places: dict[str, list[int]] = {}
    for old_pair, new_pair, ws in changes:
        change = sum(map(frequencies.__getitem__, ws))
        counts[old_pair] -= change
        counts[new_pair] += change
        places[new_pair] = places[new_pair] + ws if new_pair in places else ws
    return places
