r"""Markov source: the next token depends on the last few; its entropy rate is a floor under every loss.

Axes: N tokens, S symbols (the vocabulary), C = S^order contexts. Entropies in nats per token; / ln 2: bits.
Source: Cover & Thomas (2006), Theorem 4.2.4.
"""

from collections.abc import Sequence

import numpy as np

from lecture_lib.corpora.draws import randomness, size
from lecture_lib.corpora.probabilities import (
    draw_index,
    entropy,
    probability_table,
    random_distributions,
    stationary_distribution,
    token_ids,
)


class MarkovSource:
    """Tokens of which each is drawn from p(next | last `order` tokens); what is no such source is refused.

    `transitions` (C, S) are probabilities of the next token; C = S^order. The row of a context is its tokens read as a number
    in base S, the latest token last. Every context is reached again, so that long texts have common statistics.
    """

    def __init__(self, transitions: np.ndarray) -> None:
        self.transitions = probability_table(transitions, "transitions")
        n_contexts, self.vocab_size = self.transitions.shape
        self.order = next((k for k in range(1, n_contexts + 1) if self.vocab_size**k >= n_contexts), 1)
        if self.vocab_size**self.order != n_contexts:
            raise ValueError(f"transitions need S^order rows for S columns, got {self.transitions.shape}")
        self.stationary = stationary_distribution(self._context_matrix())

    @classmethod
    def random(cls, vocab_size: int, seed: int, order: int = 1, sharpness: float = 3.0) -> "MarkovSource":
        """Make a source with transitions from `random_distributions`."""
        return cls(random_distributions(vocab_size**order, vocab_size, seed, sharpness))

    @property
    def entropy_rate(self) -> float:
        """H = - sum_c P(c) sum_s p(s|c) ln p(s|c), in nats per token: the least possible mean loss."""
        return float(self.stationary @ entropy(self.transitions))

    def sample(self, n_tokens: int, seed: int) -> np.ndarray:
        """Draw a text, (n_tokens,) int64, from a stationary first context; a longer one begins with it."""
        n_tokens, rng = size(n_tokens, "tokens"), randomness(seed)
        context = draw_index(np.cumsum(self.stationary).tolist(), rng)
        heights = np.cumsum(self.transitions, axis=1).tolist()
        ids = np.empty(n_tokens, dtype=np.int64)
        for n in range(n_tokens):
            ids[n] = draw_index(heights[context], rng)
            context = (context * self.vocab_size + ids[n]) % len(heights)
        return ids

    def next_distributions(self, ids: Sequence[int]) -> np.ndarray:
        """p(x_n | x_<n) for every position, (N, S): what an ideal decoder would say; ids that cannot be emitted are refused.

        Row n is the prediction *of* token n, from those before it.
        """
        ids = token_ids(ids, self.vocab_size)
        contexts = self.stationary.copy()  # P(context | tokens so far); known after `order` tokens
        predictions = np.empty((len(ids), self.vocab_size))
        for n, token in enumerate(ids):
            predictions[n] = contexts @ self.transitions
            if predictions[n, token] == 0:
                raise ValueError(f"this source cannot emit token {token} at position {n}, after {ids[:n]}")
            # The oldest token of the context is forgotten, the new one is its last digit.
            kept = (contexts * self.transitions[:, token]).reshape(self.vocab_size, -1).sum(axis=0)
            contexts = np.zeros_like(contexts)
            contexts[token :: self.vocab_size] = kept / kept.sum()
        return predictions

    def _context_matrix(self) -> np.ndarray:
        """Write the walk from context to context as one (C, C) matrix."""
        matrix = np.zeros((len(self.transitions),) * 2)
        for context, row in enumerate(self.transitions):
            first = context * self.vocab_size % len(matrix)
            matrix[context, first : first + self.vocab_size] += row
        return matrix
