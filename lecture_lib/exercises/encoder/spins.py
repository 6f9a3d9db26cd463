"""Spins: the exact posterior of hidden ones, and the floor of the loss on a long chain, to be predicted."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import predict
from lecture_lib.corpora.snapshots import hidden_ring, masked_posterior


def chain_of(rng: "np.random.RandomState", n: int, strength: float = 1.0) -> np.ndarray:
    """Couplings (n, n) of a chain, of any sign."""
    bonds = strength * rng.uniform(0.4, 1.0, n - 1) * rng.choice([-1, 1], n - 1)
    return np.diag(bonds, 1) + np.diag(bonds, -1)


def posterior_cases(seed: int) -> list[Case]:
    """One hidden spin, neighbours hidden together, all, none; a chain too long to list; couplings that overflow."""
    draw, rng = Draw(seed), np.random.RandomState(seed)
    n, chain = draw.size(6, 8), partial(chain_of, rng)

    def spins(n: int) -> np.ndarray:
        return rng.choice([-1.0, 1.0], n)

    def places(n: int, *chosen: int) -> np.ndarray:
        return np.isin(np.arange(n), chosen)

    def case(what: str, J: np.ndarray, hidden: np.ndarray, s: np.ndarray | None = None) -> Case:
        s = spins(len(J)) if s is None else s
        return Case(f"{what}, N={len(J)}, {hidden.sum()} hidden", (J, s, hidden))

    # Weak bonds of the hidden spins 2 and 5 only, so that spin 8 is certain; the visible ones all agree with theirs.
    strong = chain(9, 1000.0)
    for a in (1, 2, 4, 5):
        strong[a, a + 1] = strong[a + 1, a] = np.sign(strong[a, a + 1]) * rng.uniform(0.2, 0.6)
    settled = np.cumprod([1.0, *np.sign(np.diag(strong, 1))])
    pair = chain(4, 0.6)  # the two in the middle are always alike, and no constant carries this away
    pair[1, 2] = pair[2, 1] = 1000.0
    pulled = rng.choice([-1.0, 1.0]) * np.sign([pair[0, 1], 1.0, 1.0, pair[2, 3]])
    ring, apart = hidden_ring(n, seed), rng.permutation(n)
    erased, few = spins(n), places(n, *apart[:3])
    erased[few] = 0.0
    alike = np.ones(n)
    alike[apart[0]] = -1.0
    return [
        case("three spins, the middle one", chain(3), places(3, 1)),
        case("three spins, two neighbours", chain(3), places(3, 0, 1)),
        case("a ring with chords, one spin", ring, places(n, apart[0]), alike),
        case("a ring with chords, four spins", ring, places(n, *apart[:4])),
        case("a ring with chords, zeros at the hidden places", ring, few, erased),
        case("a ring with chords, all spins", ring, places(n, *range(n))),
        case("a ring with chords, no spin", ring, places(n)),
        case("spins as integers", ring, places(n, *apart[-2:]), spins(n).astype(np.int64)),
        case("a long chain, neighbours and others", chain(60), places(60, 0, 7, 8, 9, 30, 59)),
        case("a chain, five neighbours", chain(11), places(11, 3, 4, 5, 6, 7)),
        case("a chain with couplings up to 1000, most of them between visible spins", strong, places(9, 2, 5, 8), settled),
        case("a coupling of 1000 between two hidden spins", pair, places(4, 1, 2), pulled),
    ]  # fmt: skip


def summed(J: np.ndarray, s: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """A transfer matrix along a chain; for other graphs the table of all states of all spins, pair by pair."""
    bonds = np.argwhere(np.triu(J))
    if all(b == a + 1 for a, b in bonds):
        return transfer_matrix(np.diag(J, 1), s, hidden)
    terms: dict[tuple, float] = {}
    for states in product((-1, 1), repeat=int(hidden.sum())):
        full = s.astype(float)
        full[hidden] = states
        terms[states] = math.fsum(J[a, b] * full[a] * full[b] for a, b in bonds)
    top = max(terms.values())
    weights = {states: math.exp(value - top) for states, value in terms.items()}
    whole = math.fsum(weights.values())
    ups = [math.fsum(w for states, w in weights.items() if states[i] == 1) for i in range(int(hidden.sum()))]
    return np.array([up / whole for up in ups])


def transfer_matrix(bonds: np.ndarray, s: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Messages from both ends of a chain: the work grows with its length, not with the number of states."""
    allowed = np.where(hidden[:, None], 1.0, np.stack([s < 0, s > 0], axis=1))  # (N, 2): down, up
    links = [np.exp(J * np.array([[1.0, -1.0], [-1.0, 1.0]]) - abs(J)) for J in bonds]
    left, right = np.ones((2, len(s), 2))
    for i, link in enumerate(links):
        left[i + 1] = (left[i] * allowed[i]) @ link
        left[i + 1] /= left[i + 1].sum()
    for i, link in reversed(list(enumerate(links))):
        right[i] = link @ (right[i + 1] * allowed[i + 1])
        right[i] /= right[i].sum()
    both = (left * right)[hidden]
    return both[:, 1] / both.sum(axis=1)


def by_field(factor: float, filled: Callable) -> Callable:
    """Answers that put numbers in the place of the hidden spins and take the field of the others."""

    def wrong_posterior(J: np.ndarray, s: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        field = (J @ filled(J, s.astype(float), hidden))[hidden]
        return 0.5 * (1 + np.tanh(0.5 * factor * field))

    return wrong_posterior


def erased(J: np.ndarray, s: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Zeros at the hidden places."""
    return np.where(hidden, 0.0, s)


def mean_field(J: np.ndarray, s: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Means at the hidden places, each from the means of the others."""
    filled = np.where(hidden, 0.0, s)
    for _ in range(100):
        filled = np.where(hidden, np.tanh(J @ filled), s)
    return filled


MASKED_POSTERIOR = Exercise(
    name="encoder.masked_posterior",
    points=4, difficulty=3, minutes=30,
    against="a transfer matrix on chains, sums over states bond by bond on other graphs (1e-9)",
    reference=summed,
    right=masked_posterior,
    cases=posterior_cases,
    owned=("lecture_lib.corpora.snapshots.boltzmann",),
    mistakes=(
        ("hidden spins are set to 0 instead of summed over. Which values can a hidden spin have?",
         by_field(2.0, erased)),
        ("the other hidden spins are replaced by their means (mean field). What must be summed, states or means?",
         by_field(2.0, mean_field)),
        ("a factor 2 is missing. By how much does the exponent change when a spin goes from -1 to +1?",
         "/ 2\n", "/ 4\n"),
        ("every bond is counted twice. How often does s J s contain the bond of spins 1 and 2?",
         "/ 2\n", "/ 1\n"),
        ("the hidden spins are left visible to one another: what stands at their places is used.",
         by_field(2.0, lambda J, s, hidden: s)),
        ("the answer is read off from the spins themselves. Is what stands at a hidden place known?",
         "states[:, hidden] = all_spins(n_hidden)", "pass"),
        ("the sign of the exponent is wrong: unlike neighbours are favoured where J is positive.",
         "J, states) / 2", "J, states) / -2"),
        ("these are probabilities of -1. Which value was asked for?",
         "[:, hidden] > 0)", "[:, hidden] < 0)"),
        ("these are mean values, between -1 and 1. How is the probability of +1 made of them?",
         "@ (states[:, hidden] > 0)", "@ states[:, hidden]"),
        ("the likeliest state of all hidden spins together is given, not a probability for each.",
         "weights / weights.sum() @ (states[:, hidden] > 0)", "(states[weights.argmax()][hidden] > 0) * 1.0"),
        ("the weights are not divided by their sum.",
         "weights / weights.sum()", "weights"),
        ("the exponentials overflow. Which number can be subtracted from all exponents?",
         "exponents - exponents.max()", "exponents"),
        ("all N probabilities come back, those of the visible spins too. Which ones were asked for?",
         "(states[:, hidden] > 0)", "(states > 0)"),
        ("all states of the hidden spins count alike. What is the weight of a state?",
         "np.exp(exponents - exponents.max())", "np.ones(len(states))"),
    ),
)  # fmt: skip


def two_sided(J: float, factor: float = 2.0, equal: float | None = None) -> float:
    """Mean entropy of a spin between two others, in nats, whose product has the mean tanh² J."""
    p = 1 / (1 + math.exp(-2 * factor * J))
    unsure = -p * math.log(p) - (1 - p) * math.log(1 - p)
    equal = (1 + math.tanh(J) ** 2) / 2 if equal is None else equal
    return equal * unsure + (1 - equal) * math.log(2)


STRENGTH = 1.0  # so that no two of the wrong numbers below are alike
CHAIN_FLOOR = predict(
    "encoder.chain_floor",
    lambda: two_sided(STRENGTH),
    1.1,
    "a sum over the two neighbours of the spin",
    misses=(
        ("that is ln 2, a spin of which nothing is known. How much do the neighbours tell?", math.log(2)),
        ("the two neighbours are taken to be always alike. How often are they not, and what is known then?",
         two_sided(STRENGTH, equal=1.0)),
        ("the two neighbours are taken to be independent of each other. What is the mean of their product?",
         two_sided(STRENGTH, equal=0.5)),
        ("a factor 2 is missing in the logit.", two_sided(STRENGTH, factor=1.0)),
        ("the mean of p was taken first (one neighbour alone gives the same number). Of what is a loss the mean?",
         two_sided(STRENGTH / 2, equal=1.0)),
        ("tanh² J is taken for the share of the chains in which the neighbours are alike. It is the mean of a product of signs.",
         two_sided(STRENGTH, equal=math.tanh(STRENGTH) ** 2)),
        ("that is the number of bits.", two_sided(STRENGTH) / math.log(2)),
    ),
    points=1, difficulty=2, minutes=10,
)  # fmt: skip
