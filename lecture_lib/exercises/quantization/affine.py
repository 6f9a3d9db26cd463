"""Affine codes with a zero point, with a bug to find."""

import torch
from torch import Tensor

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug
from lecture_lib.exercises.quantization.numbers import apart, clear, in_range


def affine_quantize(x: Tensor, bits: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Give each row of x a grid from its least to its greatest number, 0 among them: x ≈ scale · (q − zero_point).

    Args:
        x: (N, K) reals.
        bits: bits per code, 2 to 8.

    Returns:
        (N, K) uint8 codes from 0 to 2^bits − 1, (N, 1) scale (1 for a row of zeros), (N, 1) uint8 zero point: the code
        of 0 (0 for a row of zeros).

    Example:
        >>> affine_quantize(torch.tensor([[-1.0, 0.0, 24.5]]))
        (tensor([[  0,  10, 255]], dtype=torch.uint8), tensor([[0.1000]]), tensor([[10]], dtype=torch.uint8))
    """
    lowest = x.amin(-1, keepdim=True).clamp(max=0)  # (N, 1)
    highest = x.amax(-1, keepdim=True).clamp(min=0)
    scale = (highest - lowest) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, 1.0)
    zero_point = (-lowest / scale).round()
    q = ((x / scale).round() + zero_point).clamp(0, 2**bits - 1)
    return q.to(torch.uint8), scale, zero_point.to(torch.uint8)


def by_observer(x: Tensor, bits: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Torch's own observer and fake quantization; it has no scale of 1 for zeros."""
    from torch.ao.quantization import PerChannelMinMaxObserver

    observer = PerChannelMinMaxObserver(
        0, torch.quint8, torch.per_channel_affine, quant_max=2**bits - 1, quant_min=0, eps=1e-30
    )
    observer(x)
    scale, zero = observer.calculate_qparams()
    scale = torch.where((x != 0).any(1), scale, 1.0)
    x_hat = torch.fake_quantize_per_channel_affine(x, scale, zero, 0, 0, 2**bits - 1)
    q = (x_hat.double() / scale[:, None].double()).round() + zero[:, None]
    return q.to(torch.uint8), scale[:, None], zero[:, None].to(torch.uint8)


def affine_cases(seed: int) -> list[Case]:
    """Rows around 0, above it and below it; zeros, tiny numbers; every kind of width; a zero point between two codes."""
    draw = Draw(seed)
    N, K = draw.sizes(2)

    def rows(n: int, k: int, bits: int, spread: float = 1.0, up: bool = True) -> Tensor:
        """Rows whose zero point lies past the middle between two codes, or before it: it must be rounded up, or down."""

        def steps(x: Tensor) -> Tensor:
            low = in_range(torch.cat([x, x.amin(1, keepdim=True).clamp(max=0)], 1), bits)
            beyond = (-low[:, -1]) % 1
            fits = beyond > 0.55 if up else (beyond > 0.05) & (beyond < 0.45)
            return torch.where(fits[:, None], low, 0.5)

        return clear(lambda: spread * draw.normal(n, k), steps)

    by_hand = torch.tensor([[-1.0, 0.0, 24.5]])
    far = 5 + rows(1, 7, 8).abs()
    far = far if apart(in_range(far, 8)) else 5 + torch.arange(7.0)[None] / 7
    return [
        Case("three numbers, 8 bits: by hand", (by_hand,)),
        Case("one row, 8 bits", (rows(1, 5, 8),)),
        Case(f"{N} rows of {K}, 8 bits", (rows(2, K, 8), 8)),
        Case("rows of different size, 4 bits", (torch.cat([rows(1, 6, 4), rows(1, 6, 4, 30.0)]), 4)),
        Case("3 bits", (rows(2, 5, 3), 3)),
        Case("a zero point that is rounded down", (rows(2, 6, 8, up=False), 8)),
        Case("2 bits", (rows(2, 4, 2), 2)),
        Case("all numbers above 0: the grid still begins at 0", (far,)),
        Case("all numbers below 0: the grid still ends at 0", (-far,)),
        Case("tiny numbers, 8 bits", (rows(2, 5, 8) * 2.0**-40,)),
        Case("a row of zeros beside another", (torch.cat([torch.zeros(1, 5), rows(1, 5, 8)]),)),
    ]


AFFINE = Exercise(
    name="quantization.affine_quantize",
    points=2, difficulty=1, minutes=12,
    against="torch's PerChannelMinMaxObserver and fake_quantize_per_channel_affine",
    reference=by_observer,
    right=affine_quantize,
    cases=affine_cases,
    owned=("lecture_lib.quantization.affine_parameters", "lecture_lib.quantization.quantize"),
    mistakes=(
        ("the zero point is cut, not rounded: 0 comes back as something else. Which code is nearest to 0?",
         "(-lowest / scale).round()", "-lowest / scale"),
        ("the zero point that is handed back is rounded, and the one within the codes is not. Which of the two is subtracted by those who read the codes?",
         "(x / scale).round() + zero_point", "((x - lowest) / scale).round()"),
        ("number and zero point are rounded together, and the zero point that is handed back is cut. Which whole number should serve both?",
         "(-lowest / scale).round()", "-lowest / scale", "(x / scale).round() + zero_point", "(x / scale + zero_point).round()"),
        ("the zero point is always rounded up. Which code is nearest to 0?",
         "(-lowest / scale).round()", "(-lowest / scale).ceil()"),
        ("a range that lies above 0 does not reach down to 0. Which code would 0 have?",
         ".clamp(max=0)", ""),
        ("a range that lies below 0 does not reach up to 0. Which code would 0 have?",
         ".clamp(min=0)", ""),
        ("2^bits steps are counted. How many steps lie between 2^bits codes?",
         "(highest - lowest) / (2 ** bits - 1)", "(highest - lowest) / 2 ** bits"),
        ("`bits` is not used for the step, always 8. How many codes are there?",
         "(highest - lowest) / (2 ** bits - 1)", "(highest - lowest) / 255"),
        ("all rows share one range. Whose least and greatest numbers set a row's grid?",
         "x.amin(-1, keepdim=True)", "x.amin().expand(len(x), 1)",
         "x.amax(-1, keepdim=True)", "x.amax().expand(len(x), 1)"),
        ("the grid is symmetric: as far below 0 as above. Which codes stay without use?",
         "x.amin(-1, keepdim=True)", "-x.abs().amax(-1, keepdim=True)",
         "x.amax(-1, keepdim=True)", "x.abs().amax(-1, keepdim=True)"),
        ("codes are cut to whole numbers, not rounded. Which code is nearest?",
         "(x / scale).round()", "(x / scale).trunc()"),
        ("the zero point is subtracted. Which code does 0 have?",
         "(x / scale).round() + zero_point", "(x / scale).round() - zero_point"),
        ("a row of zeros gives NaN. What could its step be?",
         "torch.where(scale > 0, scale, 1.0)", "scale"),
        ("a row of tiny numbers is taken for a row of zeros. Which rows need another step?",
         "scale > 0", "scale > 1e-6"),
    ),
)  # fmt: skip
MENDED_AFFINE = find_the_bug(
    AFFINE, "quantization.mended_affine", hint="the zero point is cut", points=2, difficulty=1, minutes=12
)
