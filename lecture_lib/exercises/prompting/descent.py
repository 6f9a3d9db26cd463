"""A layer of linear attention to set by hand, so that it is a step of gradient descent; against descent in NumPy."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case
from lecture_lib.checks.kinds import by_hand
from lecture_lib.prompting import gradient_step_weights, linear_attention

D, N, RATE, TOLERANCE = 3, 8, 0.4, 1e-6


def layers(given: dict[str, Tensor], X: Tensor, y: Tensor, x_q: Tensor, n_layers: int) -> Tensor:
    """Let the layer act so often on the examples and the question; the last components of all tokens after each, (n_layers, N + 1)."""
    question = torch.cat([x_q, x_q.new_zeros(1)])
    E = torch.cat([torch.cat([X, y[:, None]], 1), question[None]])
    seen = []
    for _ in range(n_layers):
        E = E + linear_attention(E, given["W_q"], given["W_k"], given["W_v"])
        seen.append(E[:, -1])
    return torch.stack(seen)


def descended(X: np.ndarray, y: np.ndarray, x_q: np.ndarray, n_steps: int) -> np.ndarray:
    """Residuals of the examples and minus the prediction, after each step of gradient descent from w = 0."""
    w, seen = np.zeros(D), []
    for _ in range(n_steps):
        w = w - RATE * sum((w @ x - target) * x for x, target in zip(X, y, strict=True)) / N
        seen.append([*(y - X @ w), -(w @ x_q)])
    return np.array(seen)


def descent_cases(seed: int) -> list[Case]:
    """One to five layers, tasks with and without noise, a question that is an example, large and small inputs."""
    draw = Draw(seed)

    def case(what: str, n_layers: int, spread: float = 1.0, known: bool = False) -> Case:
        X, w = spread * draw.normal(N, D, dtype=F64), draw.normal(D, dtype=F64)
        y = X @ w + 0.3 * draw.normal(N, dtype=F64)
        x_q = X[draw.size(0, N - 1)].clone() if known else draw.normal(D, dtype=F64)
        return Case(f"{what}: {n_layers} layer{'s' if n_layers > 1 else ''}", (X, y, x_q, n_layers))

    return [
        case("one step", 1),
        case("one step", 1),
        case("two steps", 2),
        case(f"{(k := draw.size(3, 4))} steps", k),
        case("a question that is an example", 5, known=True),
        case("small inputs", 3, 0.3),
        case("large inputs", 2, 1.5),
    ]


def is_descent(case: Case, output: object, _asked: list) -> str | None:
    """Compare with gradient descent, every token after every layer."""
    X, y, x_q, n = case.inputs
    wanted = descended(X.numpy(), y.numpy(), x_q.numpy(), n)
    values = getattr(output, "values", None)
    if getattr(values, "shape", None) != wanted.shape:
        return f"the last components are {getattr(values, 'shape', output)!r:.60}, not {wanted.shape}"
    far = np.abs(values - wanted)
    far = np.where(np.isfinite(far), far, np.inf)
    if far.max() <= TOLERANCE:
        return None
    layer, token = np.unravel_index(far.argmax(), far.shape)
    who = "the question" if token == N else f"example {token + 1}"
    return (
        f"after layer {layer + 1} the last component of {who} is {values[layer, token]:.7g}; "
        f"gradient descent gives {wanted[layer, token]:.7g}"
    )


def weights(n: float = N, sign: float = 1.0, see_y: bool = False, one: bool = False) -> dict[str, Tensor]:
    """The step, or one that divides by another n, climbs, compares the outputs too, or sees one input only."""
    W_q, W_k, W_v = gradient_step_weights(D, N, RATE)
    W_v = W_v * sign * N / n
    if see_y:
        W_q[D, D] = W_k[D, D] = 1
    if one:
        W_q[1:, 1:] = 0
    return {"W_q": W_q, "W_k": W_k, "W_v": W_v}


def whole_value() -> dict[str, Tensor]:
    """Values that hold the inputs too, so that they are written over."""
    return weights() | {"W_v": -RATE / N * torch.eye(D + 1, dtype=F64)}


def changed(place: tuple[int, int], value: float) -> Callable[[], dict[str, Tensor]]:
    """The step with one entry of W_v elsewhere."""

    def given() -> dict[str, Tensor]:
        found = weights()
        found["W_v"][D, D] = 0
        found["W_v"][place] = value
        return found

    return given


GRADIENT_STEP = by_hand(
    "prompting.gradient_step_head",
    machine=layers,
    weights=weights,
    cases=descent_cases,
    against="gradient descent in NumPy, float64 (1e-6), after every layer",
    accept=is_descent,
    points=4, difficulty=3, minutes=30,
    mistakes=(
        ("1/N is forgotten: the step is N times too long. Is the loss a sum or a mean?", lambda: weights(n=1)),
        ("the mean is taken over nine tokens, the question among them. How many examples are there?", lambda: weights(n=N + 1)),
        ("the loss is taken without its 1/2, and the step is twice too long. What is the derivative of (w·x − y)²/2?",
         lambda: weights(n=N / 2)),
        ("every layer climbs: the residuals grow. Which sign must the values have, if the question should hold minus its prediction?",
         lambda: weights(sign=-1.0)),
        ("queries and keys hold the outputs as well. Which product of tokens does a step contain?", lambda: weights(see_y=True)),
        ("only the first component of x is compared. How many has a scalar product?", lambda: weights(one=True)),
        ("the values hold the inputs as well, and these are overwritten. What may a layer change, if the next one is to take a step, too?",
         whole_value),
        ("the values carry an input, not the output. What is each example weighted with?", changed((0, D), -RATE / N)),
        ("the question's last component stays 0. Where does the next layer look for the residual?",
         changed((D, 0), -RATE / N)),
        ("the question is shifted by its step's length 1: the rate is missing. Where does η enter?", lambda: weights(n=N * RATE)),
    ),
)  # fmt: skip
