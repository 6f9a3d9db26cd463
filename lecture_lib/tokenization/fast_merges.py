"""The same merges fast: training that visits only the words that change, encoding by a queue.

`learn_merges` counts every pair anew for each merge; here the counts are kept up to date, so that 30,000 merges
on megabytes of text take seconds. `encode_word` scans the word for each merge; here long words stay O(N log N).
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import add

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
    The queue holds (-count, pair, words with the pair); counts in it grow stale and are renewed when they
    come to the top. Ties: the lowest pair of ids. Where two different merges spell the same token (`aa` `a`
    and `a` `aa`) the second reuses its id, and the count of a pair that was merged is kept. Both are the
    rules of the `tokenizers` library, whose merges come out; `learn_merges` differs in such words alone.

    Args:
        words: frequency of each word.
        tokens: the alphabet in the order of its ids; the new tokens are appended to it.
        vocab_size: stop when `tokens` has this length.
        min_frequency: stop when the most frequent pair is rarer than this.
        join: how two tokens spell a third.
        progress: show a progress bar.

    Returns:
        The merged pairs in order; a pair can come back (the last place counts).
    """
    texts, frequencies = list(words), list(words.values())
    ids = {token: i for i, token in enumerate(tokens)}
    counts, places = _count_pairs(words)
    queue = [(-counts[pair], pair, where) for pair, where in places.items()]
    heapq.heapify(queue)
    merges: list[Pair] = []
    bar = tqdm(total=max(0, vocab_size - len(tokens)), desc="merges", disable=not progress)
    while len(tokens) < vocab_size and queue:
        count, pair, where = queue[0]
        if -count != counts[pair]:
            heapq.heapreplace(queue, (-counts[pair], pair, where))
            continue
        if -count < max(1, min_frequency):
            break
        heapq.heappop(queue)
        a, b = map(ord, pair)
        token = join(tokens[a], tokens[b])
        if token not in ids:
            ids[token] = len(tokens)
            tokens.append(token)
            bar.update()
        merges.append((a, b))
        places = _merge_in_words(texts, frequencies, counts, where, pair, chr(ids[token]))
        for new_pair, where in places.items():
            if counts[new_pair] > 0:
                heapq.heappush(queue, (-counts[new_pair], new_pair, where))
    bar.close()
    return merges


def _count_pairs(words: Mapping[str, int]) -> tuple[defaultdict[str, int], dict[str, list[int]]]:
    """Count each pair, and list the words that hold it."""
    counts: defaultdict[str, int] = defaultdict(int)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for w, (word, frequency) in enumerate(words.items()):
        for pair in map("".join, pairwise(word)):
            counts[pair] += frequency
            places[pair].append(w)
    return counts, places


def _merge_in_words(
    texts: list[str],
    frequencies: list[int],
    counts: defaultdict[str, int],
    where: Iterable[int],
    pair: str,
    new: str,
) -> dict[str, list[int]]:
    """Merge `pair` in the words `where`, update the pair counts; return the words of each pair that is new."""
    first, second = pair
    places: defaultdict[str, list[int]] = defaultdict(list)
    for w in where:
        frequency = frequencies[w]
        done, rest = "", texts[w]
        while True:
            head, found, rest = rest.partition(pair)
            done += head
            if not found:
                break
            if done:
                left = done[-1]
                counts[left + first] -= frequency
                counts[left + new] += frequency
                places[left + new].append(w)
            if rest:
                right = rest[0]
                counts[second + right] -= frequency
                counts[new + right] += frequency
                places[new + right].append(w)
            done += new
        texts[w] = done
    return places


def encode_long_word(ids: Sequence[int], merges: Mapping[Pair, tuple[int, int]]) -> list[int]:
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
    queue = [
        (*merges[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in merges
    ]  # (rank, new id, place): lowest rank first, then leftmost
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
