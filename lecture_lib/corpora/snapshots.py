r"""Snapshots of spins drawn from p(s) = exp(½ s J s) / Z: a text whose hidden words have exact probabilities.

A snapshot is a row of N spins, each +1 or -1. J is symmetric with zeros on its diagonal, so ½ s J s counts each bond once; the
temperature is in J. Who hides some spins and asks for them asks for conditional probabilities of p, as the pseudo-likelihood
does, and these are sums over 2^(number of hidden spins) terms.

Axes: N spins, S snapshots, H hidden spins.
Source: Besag (1975), the pseudo-likelihood; Ravikumar, Wainwright & Lafferty (2010), couplings from it.
"""

import numpy as np

from lecture_lib.corpora.draws import size
from lecture_lib.fields import whole

MOST_SPINS = 16  # of which all 2^N states are listed


def hidden_ring(n_spins: int, seed: int, n_chords: int = 3) -> np.ndarray:
    """Draw couplings J (N, N): a ring through all spins in a random order, and chords; |J| from 0.5 to 1, any sign."""
    n, n_chords = whole("n_spins", n_spins, 3), whole("n_chords", n_chords)
    if n_chords > n * (n - 3) // 2:
        raise ValueError(f"a ring of {n} spins has room for {n * (n - 3) // 2} chords, got {n_chords}")
    rng, J = np.random.RandomState(seed), np.zeros((n, n))
    order = rng.permutation(n)
    bonds = list(zip(order, np.roll(order, -1), strict=True))
    free = [(order[a], order[b]) for a in range(n) for b in range(a + 2, n) if (a, b) != (0, n - 1)]
    bonds += [free[place] for place in rng.permutation(len(free))[:n_chords]]
    for a, b in bonds:
        J[a, b] = J[b, a] = rng.uniform(0.5, 1.0) * rng.choice([-1, 1])
    return J


def all_spins(n_spins: int) -> np.ndarray:
    """List all states of N spins, (2^N, N) of +1 and -1; the first is all -1, and the last spin changes fastest."""
    bits = np.arange(2**n_spins)[:, None] >> np.arange(n_spins)[::-1]  # (2^N, N)
    return 2.0 * (bits & 1) - 1


def boltzmann(J: np.ndarray) -> np.ndarray:
    """p(s) = exp(½ s J s) / Z of all states in the order of `all_spins`, (2^N,), exactly."""
    if len(J) > MOST_SPINS:
        raise ValueError(f"all states of up to {MOST_SPINS} spins can be listed, got {len(J)}")
    states = all_spins(len(J))
    exponents = np.einsum("si,ij,sj->s", states, J, states) / 2
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()


def snapshots(J: np.ndarray, n_snapshots: int, seed: int) -> np.ndarray:
    """Draw S independent snapshots from the exact p(s): (S, N) of +1 and -1; more begin with fewer of the same seed."""
    n = size(n_snapshots, "snapshots")
    heights = np.cumsum(boltzmann(J))
    drawn = np.searchsorted(heights, np.random.RandomState(seed).random_sample(n) * heights[-1], side="right")
    return all_spins(len(J))[drawn]


def masked_posterior(J: np.ndarray, s: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    r"""p(s_i = +1 | visible spins) of each hidden spin, exactly: the sum over all states of the hidden ones.

    Args:
        J: (N, N) symmetric couplings with zeros on the diagonal; p(s) is proportional to exp(½ s J s).
        s: (N,) spins, +1 or -1; what stands at hidden places is not looked at.
        hidden: (N,) bool, True where a spin is hidden.

    Returns:
        (H,) float64, one probability for each hidden spin, in the order of the places.

    Example:
        >>> J = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.5], [0.0, 0.5, 0.0]])
        >>> masked_posterior(J, np.array([1.0, 1.0, -1.0]), np.array([False, True, False])).round(4)
        array([0.7311])
        >>> masked_posterior(J, np.array([1.0, 1.0, -1.0]), np.array([False, True, True])).round(4)
        array([0.8808, 0.676 ])
    """
    n_hidden = int(hidden.sum())
    states = np.tile(s.astype(np.float64), (2**n_hidden, 1))  # (2^H, N), all with the same visible spins
    states[:, hidden] = all_spins(n_hidden)
    exponents = np.einsum("si,ij,sj->s", states, J, states) / 2
    weights = np.exp(exponents - exponents.max())  # the largest is 1: nothing overflows
    return weights / weights.sum() @ (states[:, hidden] > 0)


def masked_floor(J: np.ndarray, spins: np.ndarray, hidden: np.ndarray) -> float:
    """Mean of -ln p(true spin) over all hidden spins of S snapshots, p by `masked_posterior`: the floor of a loss, in nats.

    `spins` (S, N) are +1 or -1, `hidden` (S, N) is True where a spin is hidden.
    """
    losses = [
        -np.log(np.where(s[h] > 0, p, 1 - p))
        for s, h in zip(spins, hidden, strict=True)
        for p in [masked_posterior(J, s, h)]
    ]
    return float(np.concatenate(losses).mean())
