"""A product of integers, with the grids of both sides put back at the end."""

import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise


def integer_product(q_x: Tensor, scale_x: Tensor, zero_x: Tensor, q_w: Tensor, scale_w: Tensor) -> Tensor:
    r"""Multiply codes and put both grids back: $Y_{bn} = Δ_b Δ_n (\sum_k q_{bk} q_{nk} - z_b \sum_k q_{nk})$.

    Args:
        q_x: (B, K) uint8 codes of the inputs: x ≈ scale_x · (q_x − zero_x).
        scale_x: (B, 1) float32 step of each token.
        zero_x: (B, 1) uint8 zero point of each token.
        q_w: (N, K) int8 codes of the weights: w ≈ scale_w · q_w.
        scale_w: (N, 1) float32 step of each row.

    Returns:
        (B, N) float32.

    Example:
        >>> q_x, q_w = torch.tensor([[12, 8]], dtype=torch.uint8), torch.tensor([[100, -50]], dtype=torch.int8)
        >>> half = torch.tensor([[0.5]])
        >>> integer_product(q_x, half, torch.tensor([[10]], dtype=torch.uint8), q_w, half)
        tensor([[75.]])
    """
    products = q_x.int() @ q_w.int().T  # (B, N), exact
    sums = q_w.int().sum(-1)  # (N,)
    return (products - zero_x.int() * sums).float() * scale_x * scale_w.T


def in_float64(q_x: Tensor, scale_x: Tensor, zero_x: Tensor, q_w: Tensor, scale_w: Tensor) -> Tensor:
    """Rebuild both sides in float64, and multiply them as reals."""
    x = scale_x.double() * (q_x.double() - zero_x.double())
    return torch.nn.functional.linear(x, scale_w.double() * q_w.double()).float()


def near_zero_point(draw: Draw, K: int) -> Case:
    """Inputs that hardly differ from their zero point: both sums are large and do not fit into float32."""

    def inputs() -> tuple[Tensor, ...]:
        q_w, q_x = draw.ids(2, K, below=128, low=100), torch.full((1, K), 200)
        q_x[:, draw.order(K)[:3]] += 1
        z = torch.full((1, 1), 200).to(torch.uint8)
        return q_x.to(torch.uint8), torch.ones(1, 1), z, q_w.to(torch.int8), torch.ones(2, 1)

    def tells(drawn: tuple[Tensor, ...]) -> bool:
        q_x, _, z, q_w, _ = (each.double() for each in drawn)
        products, correction = q_x @ q_w.T, z * q_w.sum(1)
        exact = products - correction
        return bool((products.float() - correction.float() != exact).all())

    what = f"{K} columns, and inputs near their zero point: the difference of both sums must be exact"
    return Case(what, until(inputs, tells))


def product_cases(seed: int) -> list[Case]:
    """By hand, one of each size, all different sizes, codes at the ends, and long rows whose sums nearly cancel."""
    draw = Draw(seed)

    def steps(n: int) -> Tensor:
        return 0.01 + 0.1 * draw.normal(n, 1).abs()

    def case(
        what: str, B: int, N: int, K: int, low: int = 0, zero: int | None = None, low_w: int = -127
    ) -> Case:
        q_x = draw.ids(B, K, below=256, low=low).to(torch.uint8)
        z = draw.ids(B, 1, below=200, low=20) if zero is None else torch.full((B, 1), zero)
        q_w = draw.ids(N, K, below=128, low=low_w).to(torch.int8)
        return Case(what, (q_x, steps(B), z.to(torch.uint8), q_w, steps(N)))

    def cancelling(K: int) -> Case:
        """The second half of the weights is the first one with the other sign; a few inputs differ, by 1."""
        q_w, q_x = draw.ids(2, K, below=128, low=100), draw.ids(1, K, below=251, low=200)
        other = q_x.clone()
        other[:, draw.order(K)[:3]] += 1
        inputs, weights = torch.cat([other, q_x], 1).to(torch.uint8), torch.cat([q_w, -q_w], 1).to(torch.int8)
        what = f"{2 * K} columns, and a sum that nearly cancels: it must be exact"
        z = torch.full((1, 1), 7).to(torch.uint8)
        return Case(what, (inputs, torch.ones(1, 1), z, weights, torch.ones(2, 1)))

    B, N, K = draw.sizes(3)
    half = torch.tensor([[0.5]])
    by_hand = torch.tensor([[12, 8]]).to(torch.uint8), half, torch.tensor([[10]]).to(torch.uint8)
    return [
        Case("two columns: by hand", (*by_hand, torch.tensor([[100, -50]]).to(torch.int8), half)),
        case("one token, one row, one column", 1, 1, 1),
        case(f"B={B}, N={N}, K={K}", B, N, K),
        case(f"B={N}, N={B}, K={K}", N, B, K),
        case("square: B = N = K = 4", 4, 4, 4),
        case("zero points of 0", 3, 4, 5, zero=0),
        case("large codes and zero points of 255", 2, 5, 9, low=200, zero=255),
        case("all large and of one sign: the sum is far above 2^15", 2, 3, 7, low=200, zero=0, low_w=100),
        cancelling(16_000 + draw.size(0, 40)),
        near_zero_point(draw, 32_000 + draw.size(0, 40)),
    ]


PRODUCT = Exercise(
    name="quantization.integer_product",
    points=3, difficulty=2, minutes=15,
    against="both sides rebuilt and multiplied in float64 (1e-5)",
    reference=in_float64,
    right=integer_product,
    cases=product_cases,
    mistakes=(
        ("the zero points are left out. Which real number does code 0 of an input stand for?",
         " - zero_x.int() * sums", ""),
        ("the products are added up in float32, which holds whole numbers only up to 2^24. Which type adds them exactly?",
         "q_x.int() @ q_w.int().T", "q_x.float() @ q_w.float().T"),
        ("the differences of inputs and zero points are multiplied and added up in float32, which holds whole numbers only up to 2^24. Which type adds them exactly?",
         "q_x.int() @ q_w.int().T", "(q_x.float() - zero_x.float()) @ q_w.float().T",
         " - zero_x.int() * sums", ""),
        ("the zero points are turned into int8: those above 127 become negative. Which type holds both sides?",
         "zero_x.int()", "zero_x.to(torch.int8).int()"),
        ("each of the two sums becomes a float32 before one is subtracted from the other. Which comes first, the difference or the float?",
         "(products - zero_x.int() * sums).float()", "(products.float() - (zero_x.int() * sums).float())"),
        ("the sum of a row's weights is stored in 16 bits, and overflows. How large can 32,000 codes add up to?",
         "q_w.int().sum(-1)", "q_w.int().sum(-1).to(torch.int16)"),
        ("the inputs are turned into int8: codes above 127 become negative. Which type holds both sides?",
         "q_x.int() @", "q_x.to(torch.int8).int() @"),
        ("the products are stored in 16 bits, and overflow. How large is 255 · 127?",
         "q_x.int() @ q_w.int().T", "(q_x.int() @ q_w.int().T).to(torch.int16)"),
        ("all is added up in 16 bits, and overflows. How large is 255 · 127?",
         "(products - zero_x.int() * sums).float()", "(products - zero_x.int() * sums).to(torch.int16).float()"),
        ("the difference of input and zero point is taken in uint8, where 8 − 10 is 254.",
         "q_x.int() @ q_w.int().T", "(q_x - zero_x).int() @ q_w.int().T",
         " - zero_x.int() * sums", ""),
        ("the zero point is subtracted once, not once for each column. How often does it stand in the sum?",
         "zero_x.int() * sums", "zero_x.int()"),
        ("the zero point is multiplied by the sum of the inputs' codes. Which codes does it meet?",
         "zero_x.int() * sums", "zero_x.int() * q_x.int().sum(-1, keepdim=True)"),
        ("the step of the weights is left out. How many grids are there to put back?",
         " * scale_w.T", ""),
        ("the step of the inputs is left out. How many grids are there to put back?",
         " * scale_x", ""),
        ("the zero point is added. What does x ≈ scale · (q − zero) say?",
         "products - zero_x", "products + zero_x"),
        ("the correction has the tokens' zero points, but is not multiplied by the steps.",
         "(products - zero_x.int() * sums).float() * scale_x * scale_w.T",
         "products.float() * scale_x * scale_w.T - (zero_x.int() * sums).float()"),
    ),
)  # fmt: skip
