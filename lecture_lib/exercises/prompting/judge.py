"""Which of five runs cannot be gradient descent? Each mode of the error shrinks by its own factor, and a sum lies between them."""

import numpy as np

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.kinds import impossible


def inputs_with(draw: Draw, eigenvalues: list[float], n: int) -> np.ndarray:
    """Inputs (n, d) whose XᵀX/n has these eigenvalues, in a basis that is not that of the components."""
    d = len(eigenvalues)
    Q = np.linalg.qr(draw.normal(n, d).double().numpy())[0]
    R = np.linalg.qr(draw.normal(d, d).double().numpy())[0]
    return np.sqrt(n) * (Q * np.sqrt(eigenvalues)) @ R.T


def run(
    draw: Draw, eigenvalues: list[float], rate: float, shares: list[float], factors: list[float] | None = None
) -> dict:
    """One report of six losses: descent along the eigenvectors, or a loss whose parts change by factors of their own."""
    if factors is None:
        factors = (1 - rate * np.array(eigenvalues)) ** 2
    start, scale = 0.5 + 3 * draw.random.random(), 5 ** draw.random.uniform(-1, 1)
    powers = np.array(factors)[:, None] ** np.arange(6)
    losses = start * (np.array(shares) @ powers)
    X = np.sqrt(scale) * inputs_with(draw, eigenvalues, draw.size(4, 9))
    return {"X": X.tolist(), "rate": rate / scale, "excess": [float(loss) for loss in losses]}


def five_runs(seed: int, turn: int) -> tuple[str, list[dict], int]:
    """Runs that grow, are fast (in half of the rounds) or slow and may be, one along an eigenvector, and one beyond its factors."""
    draw = Draw(1000 * seed + turn)
    u = draw.random.uniform
    low, high = u(0.2, 0.4), u(1.5, 2.2)
    rate = u(1.1, 1.3) * 2 / high  # the other two modes end at once: the mean of the factors says little
    growing = run(draw, [0.9 / rate, 1.15 / rate, high], rate, [0.01, 0.01, 0.98])
    fast = run(draw, [high, 1.1 * high], u(0.85, 0.95) / high, [0.5, 0.5])
    slow = run(draw, [low / 8, high / 2], u(0.4, 0.6) / high, [0.98, 0.02])
    if turn % 4 < 2:
        fast = run(draw, [0.5 * high, high], u(0.4, 0.6) / high, [0.6, 0.4])
    usual = run(draw, [low, high / 2, high], 1 / high, [0.0, 1.0, 0.0])  # not every run is a mixture
    kinds = "too fast", "too slow", "growing though the rate is stable"
    kind = kinds[turn % 3]
    eigenvalues, rate = [u(0.5, 0.7), u(1.5, 1.8)], u(0.3, 0.4)
    factors = [(1 - rate * each) ** 2 for each in eigenvalues]
    beyond = {
        kinds[0]: [0.4 * min(factors), 0.8 * min(factors)],
        kinds[1]: [1.15 * max(factors), 1.35 * max(factors)],
        kinds[2]: [u(1.02, 1.1), u(1.2, 1.3)],
    }[kind]
    five, place = draw.random.sample([growing, fast, slow, usual], 4), (seed + 2 * turn) % 5
    five.insert(place, run(draw, eigenvalues, rate, [0.5, 0.5], beyond))
    return f"round {turn + 1}: one is {kind}", five, place


def no_descent(runs: list[dict]) -> int:
    """Find the run whose loss changes by a factor that no mixture of modes has.

    Args:
        runs: list of five dictionaries with `X`, N rows of D numbers; `rate`, η; and `excess`, the loss above its minimum
            after 0, 1, 2 ... steps.

    Returns:
        Its place in the list, an int from 0 to 4.
    """
    beyond = []
    for run in runs:
        X, excess = np.array(run["X"]), np.array(run["excess"])
        eigenvalues = np.linalg.eigvalsh(X.T @ X / len(X))
        factors = (1 - run["rate"] * eigenvalues) ** 2
        ratios = excess[1:] / excess[:-1]
        beyond.append(max(ratios.max() / factors.max(), factors.min() / ratios.min()))
    return int(np.argmax(beyond))


NO_DESCENT = impossible(
    "prompting.no_descent",
    five_runs,
    no_descent,
    against="the runs as they were made: four by their modes, one with factors of its own",
    points=3, difficulty=3, minutes=20,
    mistakes=(
        ("the factor of the error is compared with that of the loss. How does a squared error shrink?",
         "(1 - run['rate'] * eigenvalues) ** 2", "np.abs(1 - run['rate'] * eigenvalues)"),
        ("1/N is forgotten in the eigenvalues. Is the loss a sum or a mean?", "X.T @ X / len(X)", "X.T @ X"),
        ("XᵀX is divided by the number of components. Over what is the mean of the loss taken?", "/ len(X)", "/ X.shape[1]"),
        ("the eigenvalues of X Xᵀ are taken: some of them are 0, and a factor of 1 belongs to them. Which matrix acts on w?",
         "X.T @ X", "X @ X.T"),
        ("the step is taken to be twice as long, without the 1/2 of the loss. What is the derivative of (w·x − y)²/2?",
         "run['rate'] * eigenvalues", "2 * run['rate'] * eigenvalues"),
        ("only runs that are too slow are found. Can a loss fall too fast?",
         "max(ratios.max() / factors.max(), factors.min() / ratios.min())", "ratios.max() / factors.max()"),
        ("only runs that are too fast are found. Can a loss fall too slowly?",
         "max(ratios.max() / factors.max(), factors.min() / ratios.min())", "factors.min() / ratios.min()"),
        ("the run that grows fastest is chosen. May a loss grow, and when?",
         "max(ratios.max() / factors.max(), factors.min() / ratios.min())", "ratios.max()"),
        ("the run that falls fastest is chosen. Which of them may?",
         "max(ratios.max() / factors.max(), factors.min() / ratios.min())", "-ratios.min()"),
        ("the diagonal is taken for the eigenvalues. Are the components of x independent?",
         "np.linalg.eigvalsh(X.T @ X / len(X))", "np.diag(X.T @ X / len(X))"),
        ("the rate is left out. What does a step multiply the error by?", "run['rate'] * eigenvalues", "eigenvalues"),
        ("singular values of X are taken for eigenvalues of XᵀX/N. What is their square?",
         "np.linalg.eigvalsh(X.T @ X / len(X))", "np.linalg.svd(X / len(X) ** 0.5)[1]"),
    ),
)  # fmt: skip
