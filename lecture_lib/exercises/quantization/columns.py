"""GPTQ: one column after the other, against brute force where all roundings can be listed, and another algorithm elsewhere."""

from itertools import product

import numpy as np
import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def gptq_codes(W: Tensor, H: Tensor, scale: Tensor, bits: int) -> Tensor:
    r"""Round column j of W, then move all later columns so that the output changes least: $w_R ← w_R + e\,H_{jR} H_{RR}^{-1}$.

    Here R are the columns after j, and $e = w_j - \hat w_j$ is the error of column j, for each row of W.

    Args:
        W: (N, K) float64 weights.
        H: (K, K) second moment XᵀX of the inputs, positive definite.
        scale: (N, 1) step of each row.
        bits: codes run from −(2^(bits − 1) − 1) to 2^(bits − 1) − 1.

    Returns:
        (N, K) int8 codes.

    Example:
        >>> H = torch.tensor([[2.0, 1.9], [1.9, 2.0]], dtype=torch.float64)
        >>> W = torch.tensor([[0.4, 0.4]], dtype=torch.float64)
        >>> gptq_codes(W, H, torch.ones(1, 1, dtype=torch.float64), 4)
        tensor([[0, 1]], dtype=torch.int8)
    """
    W, codes, limit = W.clone(), torch.zeros_like(W), 2 ** (bits - 1) - 1
    for j in range(W.shape[1]):
        codes[:, j] = (W[:, j] / scale[:, 0]).round().clamp(-limit, limit)
        error = W[:, j] - scale[:, 0] * codes[:, j]  # (N,)
        later = slice(j + 1, None)
        push = torch.linalg.solve(H[later, later], H[later, j])  # (columns to come,)
        W[:, later] += torch.outer(error, push)
    return codes.to(torch.int8)


def by_inverses(W: Tensor, H: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Optimal brain surgery in NumPy: the rows of the inverse of what is left of H say how the others move."""
    rows, table, limit = W.numpy().copy(), H.numpy(), 2 ** (bits - 1) - 1
    steps, codes = scale.numpy()[:, 0], np.zeros(W.shape)
    for j in range(rows.shape[1]):
        inverse = np.linalg.inv(table[j:, j:])
        codes[:, j] = np.clip(np.rint(rows[:, j] / steps), -limit, limit)
        error = (rows[:, j] - steps * codes[:, j]) / inverse[0, 0]
        rows[:, j:] -= error[:, None] * inverse[0]
    return torch.from_numpy(codes.astype(np.int8))


def by_brute_force(W: Tensor, H: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Try every row of codes there is."""
    limit = 2 ** (bits - 1) - 1
    trials = torch.tensor(list(product(range(-limit, limit + 1), repeat=W.shape[1])), dtype=F64)
    best = []
    for row, step in zip(W, scale, strict=True):
        D = row - step * trials  # (trials, K)
        best.append(trials[((D @ H) * D).sum(1).argmin()])
    return torch.stack(best).to(torch.int8)


def moment(draw: Draw, K: int) -> Tensor:
    """XᵀX of inputs that go together, of different size."""
    X = draw.normal(3 * K, K, dtype=F64) + 1.5 * draw.normal(3 * K, 1, dtype=F64)
    X = X * (0.5 + 2 * torch.rand(K, generator=draw.generator, dtype=F64))
    return X.T @ X


def undamped(draw: Draw) -> Case:
    """A case in which a hundredth of its mean more on the diagonal of H moves a code."""

    def inputs() -> tuple[Tensor, Tensor, Tensor, int]:
        W = draw.normal(2, 5, dtype=F64)
        return W, moment(draw, 5), W.abs().amax(1, keepdim=True) / 7, 4

    def tells(drawn: tuple) -> bool:
        W, H, scale, bits = drawn
        damped = H + 0.01 * H.diagonal().mean() * torch.eye(len(H), dtype=F64)
        return not torch.equal(by_inverses(*drawn), by_inverses(W, damped, scale, bits))

    return Case("H as it is, nothing added to its diagonal", until(inputs, tells))


def gptq_cases(seed: int) -> list[Case]:
    """By hand; roundings that are the best of all and not the nearest; more rows; 2 to 8 bits; unlike inputs; one column; clamps."""
    draw = Draw(seed)

    def case(what: str, N: int, K: int, bits: int, spread: float = 1.0, best: bool = False) -> Case:
        """A case in which rounding to nearest is wrong, and every column moves a code somewhere."""

        def inputs() -> tuple[Tensor, Tensor, Tensor, int]:
            W = draw.normal(N, K, dtype=F64)
            scale = W.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1) / spread
            return W, moment(draw, K), scale, bits

        def tells(drawn: tuple) -> bool:
            W, H, scale, bits = drawn
            codes, limit = by_inverses(*drawn), 2 ** (bits - 1) - 1
            nearest = (W / scale).round().clamp(-limit, limit)
            found = (codes != nearest).any(1).all() if K > 1 else True
            return bool(found) and (not best or torch.equal(codes, by_brute_force(*drawn)))

        return Case(what, until(inputs, tells))

    hand = torch.tensor([[2.0, 1.9], [1.9, 2.0]], dtype=F64)
    N, K = draw.size(3, 4), draw.size(6, 8)
    unlike = torch.diag(torch.arange(1.0, 6.0, dtype=F64) ** 2)
    plain = draw.normal(2, 5, dtype=F64)
    return [
        Case("two columns: by hand", (torch.tensor([[0.4, 0.4]], dtype=F64), hand, torch.ones(1, 1, dtype=F64), 4)),
        case("one row of 4 columns, 2 bits: the best of all 81 roundings", 1, 4, 2, best=True),
        case("one row of 3 columns, 3 bits: the best of all 343 roundings", 1, 3, 3, best=True),
        case(f"{N} rows of {K}, 4 bits", N, K, 4),
        case(f"two rows of {K + 1}, 3 bits", 2, K + 1, 3),
        case("8 bits", 2, 5, 8),
        case(f"2 bits, {K + 2} columns", 2, K + 2, 2),
        case("a grid that is too narrow: codes are clamped", 3, 6, 3, spread=2.5),
        Case("inputs that do not go together: nothing to repair", (plain, unlike, plain.abs().amax(1, keepdim=True) / 7, 4)),
        case("one column", 2, 1, 4),
        undamped(draw),
    ]  # fmt: skip


PUSH = "torch.linalg.solve(H[later, later], H[later, j])"
UPDATE = "W[:, later] += torch.outer(error, push)"

GPTQ = Exercise(
    name="quantization.gptq_codes",
    points=5, difficulty=3, minutes=35,
    against="every rounding there is, where they can be listed; optimal brain surgery by inverses elsewhere",
    reference=by_inverses,
    right=gptq_codes,
    cases=gptq_cases,
    owned=("lecture_lib.quantization.gptq_quantize",),
    mistakes=(
        ("every column is rounded to nearest, and nothing is repaired. What can the later columns do about an error?",
         UPDATE, "pass"),
        ("the later columns move the wrong way and double the damage. Does w_R grow or shrink when column j was rounded down?",
         UPDATE, "W[:, later] -= torch.outer(error, push)"),
        ("each later column repairs the whole error by itself, as if it were the only one. Which matrix must be inverted?",
         PUSH, "H[later, j] / H[later, later].diagonal()"),
        ("the row of H is used as it is. Which matrix must be inverted?",
         PUSH, "H[later, j] / H[j, j]"),
        ("the block is cut out of the inverse of H. Which comes first, cutting out the columns to come or inverting?",
         PUSH, "torch.linalg.inv(H)[later, later] @ H[later, j]"),
        ("the push is taken from the whole inverse of H, with columns that are rounded already. Which columns can still move?",
         PUSH, "-torch.linalg.inv(H)[later, j] / torch.linalg.inv(H)[j, j]"),
        ("the Cholesky factor of H itself is used. Of which matrix is the U of the page a factor?",
         PUSH, "-torch.linalg.cholesky(H, upper=True)[j, later] / torch.linalg.cholesky(H, upper=True)[j, j]"),
        ("a hundredth of its mean is added to the diagonal of H, as where H may be singular. What is said about H here?",
         PUSH, "torch.linalg.solve(H[later, later] + 0.01 * H.diagonal().mean() * torch.eye(W.shape[1] - j - 1), H[later, j])"),
        ("the error is that of rounding alone, and a clamped code's is larger. Which real number stands for the column now?",
         "error = W[:, j] - scale[:, 0] * codes[:, j]", "error = W[:, j] - scale[:, 0] * (W[:, j] / scale[:, 0]).round()"),
        ("the error is counted in steps of the grid, not in weights. In which unit is W?",
         "error = W[:, j] - scale[:, 0] * codes[:, j]", "error = W[:, j] / scale[:, 0] - codes[:, j]"),
        ("the error is taken from the weights at the start, and not from those that were moved.",
         "W, codes, limit = (W.clone(), torch.zeros_like(W), 2 ** (bits - 1) - 1)",
         "first, W, codes, limit = (W, W.clone(), torch.zeros_like(W), 2 ** (bits - 1) - 1)",
         "error = W[:, j]", "error = first[:, j]"),
        ("the columns are taken from the last to the first. Which order was asked for?",
         "range(W.shape[1])", "reversed(range(W.shape[1]))", "slice(j + 1, None)", "slice(0, j)"),
        ("codes beyond the ends are not clamped. How many codes are there?",
         ".round().clamp(-limit, limit)", ".round()"),
        ("there is one code too many below zero. Where does the grid end?",
         "clamp(-limit, limit)", "clamp(-limit - 1, limit)"),
        ("only the next column repairs, not all that follow.",
         PUSH, "torch.linalg.solve(H[later, later], H[later, j]) * (torch.arange(W.shape[1] - j - 1) == 0)"),
    ),
)  # fmt: skip
