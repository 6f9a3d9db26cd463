"""Round where the matrix has been turned, against Hadamard's matrix written out."""

import numpy as np
import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.exercises.quantization.numbers import apart


def written_out(W: Tensor, signs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """W Rᵀ and R in float64, with R = A diag(signs) and A as a Kronecker product of 2 × 2 matrices."""
    A = np.ones((1, 1))
    while len(A) < W.shape[1]:
        A = np.kron(A, np.array([[1.0, 1.0], [1.0, -1.0]])) / np.sqrt(2)
    R = A * signs.double().numpy()
    return W.double().numpy() @ R.T, R


def by_matrix(W: Tensor, bits: int | None, signs: Tensor) -> Tensor:
    """Two products with a table, and np.rint between them."""
    rotated, R = written_out(W, signs)
    if bits is not None:
        step = np.abs(rotated).max(1, keepdims=True) / (2 ** (bits - 1) - 1)
        step[step == 0] = 1
        rotated = step * np.rint(rotated / step)
    return torch.from_numpy(rotated @ R).to(W.dtype)


def mixed_signs(draw: Draw, K: int) -> Tensor:
    """Signs of both kinds, not the same when read backwards."""

    def tells(signs: Tensor) -> bool:
        return bool(signs.sum().abs() < K - 1) and not torch.equal(signs, signs.flip(0))

    return until(lambda: 1.0 - 2.0 * draw.ids(K, below=2), lambda signs: K == 1 or tells(signs))


def rotation_cases(seed: int) -> list[Case]:
    """By hand, without rounding, every width of codes, outlier columns, float64, zeros, one column, more rows than columns."""
    draw = Draw(seed)

    def case(
        what: str, N: int, K: int, bits: int | None, loud: float = 1.0, dtype: torch.dtype = torch.float32
    ) -> Case:
        def inputs() -> tuple:
            W = draw.normal(N, K, dtype=dtype)
            W[:, draw.order(K)[:2]] *= loud
            return W, bits, mixed_signs(draw, K).to(dtype)

        def clear(drawn: tuple) -> bool:
            turned = torch.from_numpy(written_out(drawn[0], drawn[2])[0])
            largest = turned.abs().amax(1, keepdim=True)
            return bits is None or apart(turned / largest * (2 ** (bits - 1) - 1))

        return Case(what, until(inputs, clear))

    by_hand = torch.tensor([[4.0, 2.0]]), 2, torch.tensor([1.0, -1.0])
    zeros = case("", 2, 4, 4).inputs
    zeros[0][1] = 0
    return [
        Case("one row of two weights, 2 bits: by hand", by_hand),
        case("without rounding: W itself", 3, 16, None),
        case("3 rows of 8, 4 bits", 3, 8, 4),
        case("5 rows of 4, 3 bits", 5, 4, 3),
        case("4 rows of 4, 3 bits", 4, 4, 3),
        case("2 rows of 32, 4 bits, two columns 20 times as large", 2, 32, 4, loud=20.0),
        case("2 rows of 16, 8 bits, two columns 20 times as large", 2, 16, 8, loud=20.0),
        case("3 rows of 8, 2 bits, float64", 3, 8, 2, dtype=F64),
        case("one column", 2, 1, 4),
        Case("two rows, the second one of zeros", zeros),
    ]


ROTATION = Exercise(
    name="quantization.rotate_and_round",
    points=4, difficulty=2, minutes=20,
    against="Hadamard's matrix written out, in float64 (1e-5)",
    reference=by_matrix,
    cases=rotation_cases,
    mistakes=(
        ("the same product is used for both ways: R where its transpose belongs. In which order come signs and Hadamard on the way back?",
         "hadamard(rotated) * signs", "hadamard(rotated * signs)"),
        ("the first product is with R and not with its transpose. Which of the two, signs or Hadamard, meets W first?",
         "hadamard(W * signs)", "hadamard(W) * signs"),
        ("the step is taken before the rotation, from W. Where do the outliers still stand?",
         "absmax_scale(rotated, bits)", "absmax_scale(W, bits)"),
        ("what was turned is never turned back. In which basis do the inputs come?",
         "return hadamard(rotated) * signs", "return rotated"),
        ("the signs have no effect: they are left out, or follow Hadamard, where they only flip codes. What meets W first?",
         "W * signs", "W", "hadamard(rotated) * signs", "hadamard(rotated)"),
        ("the matrix is not turned at all before it is rounded.",
         "hadamard(W * signs)", "W * signs", "hadamard(rotated) * signs", "rotated * signs"),
        ("the step is the largest magnitude / 2^(b - 1). How many steps lie between code 0 and the last one?",
         "absmax_scale(rotated, bits)", "absmax_scale(rotated, bits) * (1 - 2.0 ** (1 - bits))"),
        ("one step serves all rows. How many steps does a matrix of N rows have?",
         "absmax_scale(rotated, bits)", "absmax_scale(rotated, bits, per_tensor=True)"),
        ("`bits` is not used for the step, always 8.",
         "absmax_scale(rotated, bits)", "absmax_scale(rotated)"),
        ("`bits` is not used: there are always 8. What do the library's functions take if you do not say it?",
         "absmax_scale(rotated, bits)", "absmax_scale(rotated)", "scale, bits=bits)", "scale)"),
        ("the codes are turned back without their step. What does a code stand for?",
         "dequantize(quantize(rotated, scale, bits=bits), scale)", "quantize(rotated, scale, bits=bits).to(W.dtype)"),
        ("it is rounded even where `bits` is None.",
         "bits is not None", "True", "scale = absmax_scale(rotated, bits)", "bits = bits or 4\n        scale = absmax_scale(rotated, bits)"),
        ("the signs are divided out twice, or squared away: one way has them and the other not.",
         "hadamard(rotated) * signs", "hadamard(rotated)"),
    ),
)  # fmt: skip
