"""Replies of six words, so few that all can be listed: one "please" or two are good, many are awful.

A source writes a reply word by word; the last word decides the next. The true value of a reply depends on how often it
says "please", and turns down where no typical reply goes. So a reward that was learned from typical replies can be wrong there.

Axes: R = 15,625 replies, N = 6 words of each, V = 5 words of the vocabulary.
"""

import itertools

import numpy as np

from lecture_lib.corpora.probabilities import random_distributions

WORDS = ("please", "open", "the", "door", "now")
LENGTH, START = 6, 4  # words of a reply; the word behind which it begins
PLEASE_SHARE = 0.15
VALUES = (0.0, 1.0, 1.3, 0.6, -0.8, -2.5, -4.5)  # of replies with 0 ... 6 times "please"


def transitions(seed: int) -> np.ndarray:
    """Draw p(next word | last word), (V, V): "please" has 15 % in every row, the others what chance gives them."""
    others = random_distributions(len(WORDS), len(WORDS) - 1, seed, sharpness=0.7)
    return np.column_stack([np.full(len(WORDS), PLEASE_SHARE), (1 - PLEASE_SHARE) * others])


def replies() -> np.ndarray:
    """List all replies, (R, N) ids: `WORDS[i]` is word i, and the last word changes fastest."""
    return np.array(list(itertools.product(range(len(WORDS)), repeat=LENGTH)))


def log_probs(P: np.ndarray, replies: np.ndarray) -> np.ndarray:
    """Logarithm of the probability of replies, (R,), (R, N) ids, under the source with transitions P (V, V)."""
    before = np.column_stack([np.full(len(replies), START), replies[:, :-1]])
    return np.log(P[before, replies]).sum(1)


def true_values(replies: np.ndarray) -> np.ndarray:
    """Value of replies, (R,), (R, N) ids: that of their number of "please" in `VALUES`."""
    return np.array(VALUES)[(replies == 0).sum(1)]


def counts(replies: np.ndarray) -> np.ndarray:
    """Count words and pairs of neighbours of replies (R, N): (R, V + V V) features of a linear reward."""
    V = len(WORDS)
    pairs = V * replies[:, :-1] + replies[:, 1:]
    words = (replies[:, :, None] == np.arange(V)).sum(1)
    return np.concatenate([words, (pairs[:, :, None] == np.arange(V * V)).sum(1)], axis=1).astype(float)


def text(reply: np.ndarray) -> str:
    """Write a reply, (N,) ids, in words."""
    return " ".join(WORDS[i] for i in reply)
