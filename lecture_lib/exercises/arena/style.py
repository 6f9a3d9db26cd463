"""Scores at equal style."""

import numpy as np

from lecture_lib.arena import SCALE, style_derivatives, win_probability
from lecture_lib.checks.chance import until
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.exercises.arena.votes import battles


def by_autograd(a, b, points, X, n_models) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression on a full design matrix, by torch's L-BFGS; a design of too low rank is refused."""
    import torch

    design = np.hstack([np.eye(n_models)[a] - np.eye(n_models)[b], X])
    if np.linalg.matrix_rank(design) < design.shape[1] - 1:
        raise ValueError("the votes do not fix the coefficients")
    design, points = torch.from_numpy(design), torch.from_numpy(points)
    theta = torch.zeros(design.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [theta], max_iter=1000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> object:
        optimizer.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(design @ theta, points)
        value.backward()
        return value

    optimizer.step(loss)
    scores, beta = theta.detach().numpy()[:n_models] * 400 / np.log(10), theta.detach().numpy()[n_models:]
    return 1000 + scores - scores.mean(), beta.copy()


def styled(draw: np.random.Generator, M: int, B: int, beta: list[float], sway: float = 0.5) -> tuple:
    """Votes that lean on style: models have habits, answers scatter around them; `sway` is the largest share that leans."""
    a, b, s = battles(draw, M, B, ties=0.15)
    F = len(beta)
    habits = draw.normal(size=(M, F))
    X = habits[a] - habits[b] + draw.normal(size=(len(a), F))
    swayed = draw.random(len(a)) < sway * np.tanh(np.abs(X @ np.array(beta)))
    points = np.where(swayed, (X @ np.array(beta) > 0).astype(float), s) if F else s
    return a, b, points, X, M


def without_a_look(a, b, points, X, n_models) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method that leaves it to `solve` to notice a curvature without an inverse."""
    theta = np.zeros(n_models + X.shape[1])
    for _ in range(60):
        z = theta[a] - theta[b] + X @ theta[n_models:]
        p = win_probability(SCALE * z)
        step = np.linalg.solve(*style_derivatives(a, b, points - p, p * (1 - p), X, n_models)[::-1])
        theta += step / max(1, np.abs(step[a] - step[b] + X @ step[n_models:]).max())
    scores = SCALE * theta[:n_models]
    return 1000 + scores - scores.mean(), theta[n_models:]


def unnoticed(*votes: object) -> bool:
    """Whether rounding gives a curvature without an inverse one, all the way."""
    try:
        return len(without_a_look(*votes)) > 0
    except ValueError:
        return False


def style_cases(seed: int) -> list[Case]:
    """One feature and several, none, features of another size, a model's habit, columns that are made of others."""
    draw = np.random.default_rng(seed)
    one, two = styled(draw, 3, 120, [1.0]), styled(draw, 5, 300, [1.2, -0.8])
    a, b, s, X, M = two
    mixed = until(lambda: np.column_stack([X, X @ draw.normal(size=2)]), lambda X: unnoticed(a, b, s, X, M))
    own = until(lambda: draw.normal(size=M), lambda own: unnoticed(a, b, s, (own[a] - own[b])[:, None], M))
    return [
        Case("three models, one feature", one),
        Case("five models, two features", two),
        Case("the same, the features in the other order", (a, b, s, X[:, ::-1].copy(), M)),
        Case("the same, features 40 times as large", (a, b, s, 40 * X, M)),
        Case("the same, no feature: plain Bradley-Terry", (a, b, s, X[:, :0], M)),
        Case("two models, three features", styled(draw, 2, 200, [0.5, 1.0, -1.0])),
        Case("four models, style decides nearly every vote", styled(draw, 4, 400, [30.0], sway=0.97)),
        Case("a feature twice: ValueError", (a, b, s, np.hstack([X, X[:, :1]]), M)),
        Case("a feature made of two others: ValueError", (a, b, s, mixed, M)),
        Case("a feature that is a property of the model: ValueError", (a, b, s, (own[a] - own[b])[:, None], M)),
    ]  # fmt: skip


def in_two_steps(a, b, points, X, n_models) -> tuple[np.ndarray, np.ndarray]:
    """Fit the style alone first, and the scores to what is left."""
    beta, theta, D = np.zeros(X.shape[1]), np.zeros(n_models), np.eye(n_models)[a] - np.eye(n_models)[b]
    if np.linalg.matrix_rank(np.hstack([D, X])) < n_models - 1 + X.shape[1]:
        raise ValueError("not fixed")
    for design, coefficients, rest in ((X, beta, 0.0), (D, theta, None)):
        for _ in range(60):
            z = design @ coefficients + (X @ beta if rest is None else rest)
            p = 1 / (1 + np.exp(-z))
            H = design.T @ (design * (p * (1 - p))[:, None])
            coefficients += np.linalg.pinv(H) @ design.T @ (points - p)
    return 1000 + 400 / np.log(10) * (theta - theta.mean()), beta


STYLE = Exercise(
    name="arena.fit_style",
    points=4, difficulty=2, minutes=25,
    against="logistic regression on the full design matrix, by torch's L-BFGS (1e-5)",
    reference=by_autograd,
    cases=style_cases,
    tolerance=1e-5,
    mistakes=(
        ("style is left out of what is expected. What does a vote owe to x · β?",
         " + SCALE * (X @ beta)", ""),
        ("the style is that of b less a. Whose vote does x · β help?",
         "SCALE * (X @ beta)", "-SCALE * (X @ beta)", "p * (1 - p), X, n_models)", "p * (1 - p), -X, n_models)",
         "+ X @ step", "- X @ step"),
        ("β is in points. In which unit is it asked for?",
         "scores.mean(), beta", "scores.mean(), SCALE * beta"),
        ("β stands with points instead of log-odds inside the sigmoid, and comes out too large. What is SCALE for?",
         "scores.mean(), beta", "scores.mean(), beta * 400"),
        ("the features are divided by their standard deviation, and β is that of the divided ones. To which x does the β that "
         "is asked for belong?",
         "X = np.asarray(X, dtype=float)", "X = np.asarray(X, dtype=float) / np.std(X, axis=0)"),
        ("a penalty draws all coefficients towards 0, as in scikit-learn's LogisticRegression if nothing else is said. Does "
         "maximum likelihood have one?",
         "np.linalg.solve(H, gradient)",
         "np.linalg.solve(H + np.eye(len(H)), gradient - np.concatenate([scores / SCALE, beta]))"),
        ("the mean score is 0. Where should it be?",
         "1000 + scores", "scores"),
        ("the first score is held at 1000 and not the mean.",
         "scores.mean()", "scores[0]"),
        ("one step is taken only. When has Newton's method arrived?",
         "change < 1e-06", "True"),
        ("nobody looks whether the votes fix β: by rounding, a matrix without an inverse gets one. Which rank must it have?",
         without_a_look),
        ("a tie counts as a win of a. How many points does it give?",
         "points - p", "(points > 0) - p"),
        ("the style is fitted first, alone, and takes what the models deserve. Why must both be fitted together?",
         in_two_steps),
        ("the scores are natural log-odds. How many points are a factor e in the odds?",
         "scores - scores.mean()", "(scores - scores.mean()) / SCALE"),
    ),
)  # fmt: skip
