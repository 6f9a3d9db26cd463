"""Bradley-Terry on a million battles of 130 models: Newton on counts, against logistic regression on rows.

    python benchmarks/arena.py --save

Every side starts from the same raw columns (model a, model b, half points of a) and must end with the same scores, within a
point: L-BFGS stops by scipy's own criterion. In the first row some models are met far more often than others, as in the real
arena, and L-BFGS needs many steps; in the second row all pairs are equally frequent, its best case.
`rows` is logistic regression as a library does it: one row a battle in a sparse design matrix, L-BFGS. `rows by hand` writes the two products with that matrix as indexing and
counting; `counted rows` first counts equal rows and gives them weights, as public code of the arena does;
`scikit-learn` and `its Newton` fit the same counted rows, as that library's default and its best solver here; `MM` is the algorithm of
Hunter (2004) on the same counts as ours.
"""

from collections.abc import Callable
from functools import partial

from harness import Benchmark, median_ratio  # before numpy: it sets the number of threads

# isort: split
import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from lecture_lib import arena
from lecture_lib.arena import Battles

BATTLES, MODELS, ROUNDS = 1_000_000, 130, 100


def columns(uneven: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The raw columns: scores with a spread of 120 points, log-normal frequencies of the models, 25 % ties among equals."""
    generator = np.random.default_rng(0)
    scores, share = generator.normal(1000, 120, MODELS), generator.lognormal(0, uneven, MODELS)
    a, b = (generator.choice(MODELS, int(1.1 * BATTLES), p=share / share.sum()) for _ in "ab")
    a, b = (side[a != b][:BATTLES].astype(np.int32) for side in (a, b))
    p = arena.win_probability(scores[a] - scores[b])
    tie, height = 0.25 * 4 * p * (1 - p), generator.random(BATTLES)
    return a, b, (height < p + tie / 2).astype(np.int8) + (height < p - tie / 2)


def named(a: np.ndarray, b: np.ndarray, half_points: np.ndarray) -> Battles:
    return Battles(tuple(f"model {i}" for i in range(MODELS)), a, b, half_points)


def newton(a: np.ndarray, b: np.ndarray, half_points: np.ndarray) -> np.ndarray:
    return arena.fit_bradley_terry(named(a, b, half_points).wins)


def logistic(
    ahead: Callable, back: Callable, points: np.ndarray, weight: np.ndarray | float = 1.0
) -> np.ndarray:
    """L-BFGS on rows, each with its weight; `ahead` and `back` are the products with the design matrix and its transpose."""

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        z = ahead(theta)
        p = 1 / (1 + np.exp(-z))
        return float((weight * (np.logaddexp(0, z) - points * z)).sum()), back(weight * (p - points))

    theta = minimize(loss, np.zeros(MODELS), jac=True, method="L-BFGS-B").x
    return 1000 + arena.SCALE * (theta - theta.mean())


def by_hand(a: np.ndarray, b: np.ndarray) -> tuple[Callable, Callable]:
    return (
        lambda theta: theta[a] - theta[b],
        lambda residual: np.bincount(a, residual, MODELS) - np.bincount(b, residual, MODELS),
    )


def on_rows(a: np.ndarray, b: np.ndarray, half_points: np.ndarray) -> np.ndarray:
    rows = np.arange(0, 2 * len(a) + 1, 2)
    signs = np.tile([1.0, -1.0], len(a))
    design = csr_matrix((signs, np.stack([a, b], axis=1).ravel(), rows), (len(a), MODELS))
    return logistic(design.__matmul__, design.T.__matmul__, half_points / 2)


def on_rows_by_hand(a: np.ndarray, b: np.ndarray, half_points: np.ndarray) -> np.ndarray:
    return logistic(*by_hand(a, b), half_points / 2)


def on_counted_rows(a: np.ndarray, b: np.ndarray, half_points: np.ndarray) -> np.ndarray:
    counts = named(a, b, half_points).counts
    first, second, taken = np.nonzero(counts)
    return logistic(*by_hand(first, second), taken / 2, counts[first, second, taken])


def scikit_learn(
    a: np.ndarray, b: np.ndarray, half_points: np.ndarray, solver: str = "lbfgs", tol: float = 1e-7
) -> np.ndarray:
    wins = named(a, b, half_points).wins
    first, second = np.triu_indices(MODELS, 1)
    design = np.eye(MODELS)[first] - np.eye(MODELS)[second]
    fit = LogisticRegression(C=np.inf, fit_intercept=False, solver=solver, tol=tol, max_iter=10_000)
    weights = np.concatenate([wins[first, second], wins[second, first]])
    design = np.vstack([design, design])[:, 1:]  # the first score is 0: only differences count
    fit.fit(design, np.repeat([1, 0], len(first)), sample_weight=weights)
    theta = np.append(0, fit.coef_[0])
    return 1000 + arena.SCALE * (theta - theta.mean())


def mm(a: np.ndarray, b: np.ndarray, half_points: np.ndarray) -> np.ndarray:
    wins = named(a, b, half_points).wins
    met, points, strength = wins + wins.T, wins.sum(1), np.ones(MODELS)
    for _ in range(500):
        before = strength
        strength = points / (met / np.add.outer(strength, strength)).sum(1)
        strength /= np.exp(np.log(strength).mean())
        if np.abs(strength / before - 1).max() < 1e-7:
            break
    return 1000 + arena.SCALE * np.log(strength)


def main() -> None:
    bench = Benchmark("arena")
    sides = {
        "rows": on_rows,
        "rows by hand": on_rows_by_hand,
        "counted rows": on_counted_rows,
        "scikit-learn": scikit_learn,
        "its Newton": partial(scikit_learn, solver="newton-cholesky"),
        "MM": mm,
        "own": newton,
    }
    timing, even = (
        bench.measure(
            f"Bradley-Terry from raw columns, {BATTLES:,} battles of {MODELS} models, {words}",
            {name: lambda side=side, raw=raw: side(*raw) for name, side in sides.items()},
            tolerance=1.0,  # points
            work=BATTLES / 1e6,
            unit="M votes/s",
        )
        for words, raw in (("some met often", columns(1.0)), ("all met alike", columns(0.0)))
    )
    raw = columns(1.0)
    battles = named(*raw)
    rounds = bench.measure(
        f"{ROUNDS} rounds of the bootstrap, counted once",
        {"own": lambda: arena.bootstrap(battles, ROUNDS, np.random.default_rng(0))},
        work=ROUNDS,
        unit="rounds/s",
    )
    style = np.random.default_rng(1).normal(size=(BATTLES, 2))
    bench.measure(
        "style control with two features, on rows",
        {"own": lambda: arena.fit_style(battles.a, battles.b, battles.points, style, MODELS)[1]},
        work=BATTLES / 1e6,
        unit="M votes/s",
        rounds=5,
    )
    counting = bench.measure(
        "of this, counting", {"own": lambda: named(*raw).counts}, work=BATTLES / 1e6, unit="M votes/s"
    )
    share = counting["own"].process / timing["own"].process
    bench.note(f"counting is {100 * share:.0f} % of the fit from raw columns")
    bench.goal(
        "rows / own, Bradley-Terry, some models met often",
        median_ratio(timing["rows"], timing["own"]),
        at_least=100,
    )
    bench.note(f"if all are met alike: rows / own {median_ratio(even['rows'], even['own']):.0f}")
    for side in ("scikit-learn", "its Newton"):
        bench.note(f"{side} / own, from raw columns: {median_ratio(timing[side], timing['own']):.0f}")
    bench.goal("own fit from raw columns, ms", 1e3 * timing["own"].process, at_most=20)
    bench.goal(f"{ROUNDS} rounds of the bootstrap, s", rounds["own"].process, at_most=1)
    bench.finish()


if __name__ == "__main__":
    main()
