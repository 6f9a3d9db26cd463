"""Weights in four bits: a step for each group, and two codes in a byte."""

import numpy as np
import torch
from torch import Tensor

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.exercises.quantization.numbers import clear, whole_rows


def int4_rows(W: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Round each group of neighbours on a symmetric grid of its own, q from −7 to 7, and store q + 8 in half a byte.

    Args:
        W: (N, K) weights, K even.
        group_size: G neighbours in a row that share a step; it divides K.

    Returns:
        (N, K / 2) uint8: byte i of a row is (q + 8) of column 2i plus 16 (q + 8) of column 2i + 1; and (N, K / G) steps,
        the largest magnitude of the group / 7, or 1 for a group of zeros, in the dtype of W.

    Example:
        >>> int4_rows(torch.tensor([[0.7, -0.2, 0.0, 14.0]]), 2)
        (tensor([[111, 248]], dtype=torch.uint8), tensor([[0.1000, 2.0000]]))
    """
    groups = W.unflatten(-1, (-1, group_size))  # (N, K / G, G)
    largest = groups.abs().amax(-1)
    scale = torch.where(largest > 0, largest / 7, 1.0).to(W.dtype)
    codes = (groups / scale.unsqueeze(-1)).round().clamp(-7, 7)
    codes = (codes + 8).to(torch.uint8).flatten(-2)  # (N, K)
    return codes[:, 0::2] + 16 * codes[:, 1::2], scale


def one_by_one(W: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Loop over rows and groups in NumPy, and put the bits together with np.packbits."""
    table = W.numpy()
    scales = np.ones((len(table), table.shape[1] // group_size), dtype=table.dtype)
    codes = np.full(table.shape, 8, dtype=np.uint8)
    for n, row in enumerate(table):
        for g in range(scales.shape[1]):
            here = slice(g * group_size, (g + 1) * group_size)
            if (largest := np.abs(row[here]).max()) > 0:
                scales[n, g] = largest / table.dtype.type(7)
                codes[n, here] += np.rint(row[here] / scales[n, g]).astype(np.int8).view(np.uint8)
    bits = np.unpackbits(codes[:, :, None], axis=2, bitorder="little")[:, :, :4]
    packed = np.packbits(bits.reshape(len(table), -1), axis=1, bitorder="little")
    return torch.from_numpy(packed), torch.from_numpy(scales)


def int4_cases(seed: int) -> list[Case]:
    """Groups of all sizes, odd ones too; groups of very different size; zeros, tiny weights; float64; columns in another order."""
    draw = Draw(seed)

    def rows(n: int, groups: int, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        def numbers() -> Tensor:
            loud = torch.tensor(1.7) ** draw.ids(n, groups, 1, below=9)
            return (loud * draw.normal(n, groups, size)).to(dtype)

        return clear(numbers, whole_rows(4)).flatten(-2)

    n = draw.size(2, 4)
    quiet = rows(n, 3, 4)
    quiet[0, 4:8] = 0
    return [
        Case("four weights in two groups: by hand", (torch.tensor([[0.7, -0.2, 0.0, 14.0]]), 2)),
        Case("one row, one group", (rows(1, 1, 6), 6)),
        Case(f"{n} rows, three groups of 4", (rows(n, 3, 4), 4)),
        Case(f"{n + 2} rows, two groups of 8", (rows(n + 2, 2, 8), 8)),
        Case("groups of 3: a byte may hold codes of two groups", (rows(3, 4, 3), 3)),
        Case("groups of one weight", (rows(2, 6, 1), 1)),
        Case("float64", (rows(2, 3, 2, torch.float64), 2)),
        Case("a group of zeros", (quiet, 4)),
        Case("tiny weights: no zeros", (rows(1, 2, 4) * 2.0**-40, 4)),
        Case("stored by columns", (rows(n, 2, 4).T.contiguous().T, 4)),
    ]


INT4 = Exercise(
    name="quantization.int4_rows",
    points=4, difficulty=2, minutes=20,
    against="loops over rows and groups, and numpy.packbits",
    reference=one_by_one,
    right=int4_rows,
    cases=int4_cases,
    owned=("lecture_lib.quantization.pack_int4", "lecture_lib.quantization.pack", "lecture_lib.quantization.absmax_scale",
           "lecture_lib.quantization.quantize"),
    mistakes=(
        ("the two codes of a byte are exchanged. Which column lies in the low four bits?",
         "codes[:, 0::2] + 16 * codes[:, 1::2]", "codes[:, 1::2] + 16 * codes[:, 0::2]"),
        ("the two halves of a row are packed together. Which columns share a byte?",
         "codes[:, 0::2] + 16 * codes[:, 1::2]",
         "codes[:, :codes.shape[1] // 2] + 16 * codes[:, codes.shape[1] // 2:]"),
        ("the codes are not packed: a byte for each. How many bytes does a row of K codes take?",
         "codes[:, 0::2] + 16 * codes[:, 1::2]", "codes"),
        ("one step serves the whole row. How many steps has a row of K weights?",
         "largest = groups.abs().amax(-1)", "largest = groups.abs().amax((-2, -1))[:, None].expand(groups.shape[:2])"),
        ("the steps are laid along a row as 1 2 3 1 2 3, and most weights meet the step of another group. Which columns share the first step?",
         "groups / scale.unsqueeze(-1)", "(W / scale.repeat(1, group_size)).unflatten(-1, (-1, group_size))"),
        ("a group is made of columns that lie apart, not of neighbours. Which weights share a step?",
         "W.unflatten(-1, (-1, group_size))", "W.unflatten(-1, (group_size, -1)).mT"),
        ("the step is the largest magnitude / 8. Which code should the largest weight have?",
         "largest / 7", "largest / 8"),
        ("the step is the largest weight, not the largest magnitude. Which weights are then cut off?",
         "groups.abs().amax(-1)", "groups.amax(-1)"),
        ("negative codes are stored as q + 16 and the others as q. What is stored for a weight of 0?",
         "codes + 8", "codes % 16"),
        ("the codes are shifted by 7. What is stored for a weight of 0?",
         "codes + 8", "codes + 7"),
        ("the codes are packed without a shift, and a negative one borrows from its neighbour. What is stored for a weight of 0?",
         "(codes + 8).to(torch.uint8)", "codes.to(torch.int8).to(torch.uint8)"),
        ("the codes are cut to whole numbers, not rounded. Which code is nearest?",
         "(groups / scale.unsqueeze(-1)).round()", "(groups / scale.unsqueeze(-1)).trunc()"),
        ("the codes are always rounded down. Which code is nearest?",
         "(groups / scale.unsqueeze(-1)).round()", "(groups / scale.unsqueeze(-1)).floor()"),
        ("a group of zeros gives NaN, or a step of 0. What could its step be?",
         "torch.where(largest > 0, largest / 7, 1.0)", "(largest / 7)"),
        ("a small number is added to the step, so that nothing is divided by 0: tiny weights are lost. Which groups need another step?",
         "groups / scale.unsqueeze(-1)", "groups / (scale.unsqueeze(-1) + 1e-8)"),
        ("a group of tiny weights is taken for a group of zeros. Which groups need another step?",
         "largest > 0", "largest > 1e-6"),
        ("the step is always float32. Which dtype is asked for?",
         ".to(W.dtype)", ".float()"),
    ),
)  # fmt: skip
