r"""Hidden Markov source: an unseen state walks and emits tokens, so that the whole past matters.

Its entropy rate has no closed form, but exact bounds that close in on it; what an ideal decoder
(`next_distributions`) or an ideal encoder (`masked_distributions`) would say is exact.

Axes: N tokens, S symbols (the vocabulary), K hidden states. Entropies in nats per token; / ln 2: bits.
Source: Rabiner (1989), the forward and backward recursions; Cover & Thomas (2006), Theorem 4.5.1; Shai et al. (2024).
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
from lecture_lib.fields import chance, whole


class HiddenMarkovSource:
    """Tokens emitted by a hidden state that walks as a Markov chain; what is no such chain is refused.

    `transitions` (K, K) are p(next state | state), every state being reached again; `emissions` (K, S) are p(token | state).
    """

    def __init__(self, transitions: np.ndarray, emissions: np.ndarray) -> None:
        self.transitions = probability_table(transitions, "transitions")
        self.emissions = probability_table(emissions, "emissions")
        n_states, self.vocab_size = self.emissions.shape
        if self.transitions.shape != (n_states, n_states):
            raise ValueError(
                "K states need (K, K) transitions and (K, S) emissions: "
                f"got {self.transitions.shape} and {self.emissions.shape}"
            )
        self.stationary = stationary_distribution(self.transitions)

    @classmethod
    def random(
        cls, n_states: int, vocab_size: int, seed: int, sharpness: float = 3.0
    ) -> "HiddenMarkovSource":
        """Make a source of `random_distributions`: emissions from seed, transitions from seed + 1."""
        emissions = random_distributions(n_states, vocab_size, seed, sharpness)
        return cls(random_distributions(n_states, n_states, seed + 1, sharpness), emissions)

    @classmethod
    def symmetric(cls, n_states: int = 3, stay: float = 0.9, right: float = 0.85) -> "HiddenMarkovSource":
        """Make a source of equal states, each with a token of its own: Mess3 of Shai et al. (2024) by default.

        `stay`: probability that the next state is the same; the others share the rest. `right`: probability that a state
        emits its own token; the others share the rest.
        """
        n_states = whole("the number of states", n_states, 2)

        def table(name: str, diagonal: float) -> np.ndarray:
            others = (1 - chance(name, diagonal)) / (n_states - 1)
            return np.where(np.eye(n_states, dtype=bool), diagonal, others)

        return cls(table("stay", stay), table("right", right))

    def sample(self, n_tokens: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw a text and the states behind it, (n_tokens,) int64 each, the first state from the stationary distribution.

        The same seed gives the same text; a longer text begins with the shorter one.
        """
        n_tokens, rng = size(n_tokens, "tokens"), randomness(seed)
        walk, emit = np.cumsum(self.transitions, axis=1).tolist(), np.cumsum(self.emissions, axis=1).tolist()
        ids, states = np.empty((2, n_tokens), dtype=np.int64)
        state = draw_index(np.cumsum(self.stationary).tolist(), rng)
        for n in range(n_tokens):
            states[n], ids[n] = state, draw_index(emit[state], rng)
            state = draw_index(walk[state], rng)
        return ids, states

    def next_distributions(self, ids: Sequence[int]) -> np.ndarray:
        """As `MarkovSource.next_distributions`, by the forward recursion: (N, S) probabilities."""
        return self._forward(token_ids(ids, self.vocab_size)) @ self.emissions

    def beliefs(self, ids: np.ndarray) -> np.ndarray:
        """p(state n | tokens up to n) by Bayes' rule, (..., N, K): what a perfect reader of `ids` (..., N) knows.

        The first state is from the stationary distribution. A text that cannot be emitted is refused.
        """
        ids = np.asarray(ids)
        token_ids(ids.ravel(), self.vocab_size)
        beliefs = np.empty((*ids.shape, len(self.transitions)))
        state = np.broadcast_to(self.stationary, (*ids.shape[:-1], len(self.transitions)))
        for n in range(ids.shape[-1]):
            joint = state * self.emissions.T[ids[..., n]]  # P(state n, token n | tokens before)
            if not (total := joint.sum(-1, keepdims=True)).all():
                raise ValueError(f"this source cannot emit one of the texts up to position {n}")
            beliefs[..., n, :] = joint / total
            state = beliefs[..., n, :] @ self.transitions
        return beliefs

    def masked_distributions(self, ids: Sequence[int], masked: Sequence[bool]) -> np.ndarray:
        """p(x_n | the unmasked tokens other than n) by forward and backward: what an ideal encoder would say.

        `masked` (N,) is True where a token is hidden; what stands there is not looked at. The (N, S) probabilities are of unmasked
        positions too, as if the token there were hidden.
        """
        masked = np.asarray(masked, dtype=bool)
        if masked.shape != np.shape(ids):
            raise ValueError(f"ids and mask must have one shape, got {np.shape(ids)} and {masked.shape}")
        ids = token_ids(np.where(masked, 0, ids), self.vocab_size)
        before = self._forward(ids, masked)
        after = np.ones((len(ids), len(self.transitions)))  # P(what follows n | state n), up to a factor
        for n in range(len(ids) - 2, -1, -1):
            seen = 1.0 if masked[n + 1] else self.emissions[:, ids[n + 1]]
            after[n] = self.transitions @ (seen * after[n + 1])
            after[n] /= after[n].sum()
        states = before * after
        return states / states.sum(axis=1, keepdims=True) @ self.emissions

    def entropy_bounds(self, n: int) -> tuple[float, float]:
        """H(X_n | X_<n, first state) <= entropy rate <= H(X_n | X_<n), in nats per token, both exact.

        All S^(n-1) texts are summed over, so few symbols allow a longer look; more than a million are refused. n counts the
        tokens that the bounds look at, the predicted one included; as it grows, the bounds meet.
        """
        n = whole("n", n, 1)
        if self.vocab_size ** (n - 1) > 1_000_000:
            raise ValueError(f"S^(n-1) may be up to a million texts: got S={self.vocab_size}, n={n}; lower n")
        starts = np.diag(self.stationary)  # (texts, K): P(text, state); here one row for each first state
        return (
            sum(self._conditional_entropy(start, n) for start in starts),
            self._conditional_entropy(self.stationary, n),
        )

    def _conditional_entropy(self, start: np.ndarray, n: int) -> float:
        """Sum over texts of P(text) H(next | text), for P(first state) = start, which need not sum to 1."""
        joint = start[None]  # (texts, K)
        for _ in range(n - 1):
            joint = (joint[:, None, :] * self.emissions.T) @ self.transitions  # (texts, S, K)
            joint = joint.reshape(-1, len(self.transitions))
        mass = joint.sum(axis=1)
        beliefs = joint[mass > 0] / mass[mass > 0, None]
        return float(mass[mass > 0] @ entropy(beliefs @ self.emissions))

    def _forward(self, ids: np.ndarray, masked: np.ndarray | None = None) -> np.ndarray:
        """Give the (N, K) probabilities of each state, from the tokens before it; what cannot be emitted is refused."""
        beliefs = np.empty((len(ids), len(self.transitions)))
        belief = self.stationary
        for n, token in enumerate(ids):
            beliefs[n] = belief
            if masked is None or not masked[n]:
                belief = belief * self.emissions[:, token]
            belief = belief @ self.transitions
            if belief.sum() == 0:
                raise ValueError(f"this source cannot emit token {token} at position {n}")
            belief = belief / belief.sum()
        return beliefs
