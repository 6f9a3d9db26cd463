"""Unigram, the other rule of SentencePiece: every piece has a probability, and the likeliest cut is taken (Kudo, 2018)."""

import math
from collections.abc import Mapping


def best_cut(text: str, log_probs: Mapping[str, float]) -> list[str]:
    r"""Cut a text so that its pieces are likeliest: $\arg\max \sum_k \ln p(\text{piece}_k)$ over all cuts.

    Args:
        text: n characters; there are 2**(n - 1) cuts, and the time is n times the length of the longest piece.
        log_probs: ln p of each piece.

    Returns:
        The pieces in order; none for an empty text.

    Raises:
        ValueError: no cut has all its pieces in the vocabulary.

    Example:
        >>> best_cut("lower", {"low": -2.3, "er": -2.5, "lowe": -3.9, "r": -3.0})
        ['low', 'er']

    Source: Kudo (2018), section 3.2; Viterbi (1967).
    """
    best: list[tuple[float, int]] = [
        (0.0, 0)
    ]  # of each beginning: ln p of its best cut, where the last piece starts
    longest = max(map(len, log_probs), default=0)
    for end in range(1, len(text) + 1):
        cuts = [
            (best[start][0] + log_probs[text[start:end]], start)
            for start in range(max(0, end - longest), end)
            if text[start:end] in log_probs
        ]
        best.append(max(cuts, default=(-math.inf, 0)))
    if best[-1][0] == -math.inf:
        raise ValueError(f"{text!r} cannot be cut into pieces of this vocabulary")
    pieces, end = [], len(text)
    while end:
        start = best[end][1]
        pieces.append(text[start:end])
        end = start
    return pieces[::-1]
