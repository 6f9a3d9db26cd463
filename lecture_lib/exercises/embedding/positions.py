"""Clocks that are added (sinusoidal positions) and clocks that turn (rotary ones)."""

import math

import torch
from torch import Tensor

from lecture_lib.checks.draws import BF16, F64, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def clock_by_clock(positions: int | Tensor, d_model: int, halves: bool = False) -> Tensor:
    """Read every clock by the formula, in Python's float64."""
    if d_model % 2:
        raise ValueError("d_model must be even")
    positions = torch.arange(positions) if isinstance(positions, int) else positions
    rows = []
    for n in positions.flatten().tolist():
        angles = [n / 10000 ** (2 * i / d_model) for i in range(d_model // 2)]
        sines, cosines = [math.sin(a) for a in angles], [math.cos(a) for a in angles]
        pairs = zip(sines, cosines, strict=True)
        rows.append(sines + cosines if halves else [x for pair in pairs for x in pair])
    return torch.tensor(rows, dtype=torch.float32).reshape(*positions.shape, d_model)


def own_clock_for_every_feature(positions: int | Tensor, d_model: int, halves: bool = False) -> Tensor:
    """Give each cosine the frequency of its own index."""
    positions = torch.arange(positions) if isinstance(positions, int) else positions
    angles = positions[..., None] * 10000.0 ** (-torch.arange(d_model) / d_model)
    waves = (angles[..., ::2].sin(), angles[..., 1::2].cos())
    return torch.cat(waves, -1) if halves else torch.stack(waves, -1).flatten(-2)


def sinusoidal_cases(seed: int) -> list[Case]:
    """First positions and arbitrary ones, late and negative ones, both orders, the narrowest width, and an odd one."""
    draw = Draw(seed)
    D, N = 2 * draw.size(4, 7), draw.size(5, 12)
    anywhere, late = draw.ids(4, below=60), draw.ids(4, low=700, below=760)
    later, before = draw.ids(3, low=90_000, below=99_000), -draw.ids(3, low=1, below=40)
    return [
        Case("positions 0 to 2, d_model=4", (3, 4)),
        Case("positions 0 to 2, d_model=4, halves=True", (3, 4), {"halves": True}),
        Case(f"positions 0 to {N - 1}, d_model={D}", (N, D)),
        Case(f"positions 0 to {N - 1}, d_model={D}, halves=True", (N, D, True)),
        Case(f"positions {anywhere.tolist()}, d_model={D}", (anywhere, D)),
        Case(f"positions {anywhere.tolist()}, d_model={D}, halves=True", (anywhere, D), {"halves": True}),
        Case(f"positions {late.tolist()}: a text that starts late, d_model={D}", (late, D)),
        Case(f"positions {later.tolist()}: frequencies and angles need float64, d_model={D}", (later, D)),
        Case(f"positions {before.tolist()}: differences may be negative, d_model={D}", (before, D)),
        Case(f"positions in int32, {anywhere.tolist()}, d_model={D}", (anywhere.int(), D)),
        Case(f"positions of shape (2, 3), d_model={D + 2}", (draw.ids(2, 3, below=50), D + 2)),
        Case(f"positions (2, 3, 2), not contiguous, d_model={D}", (scattered(draw.ids(2, 3, 2, below=50)), D)),
        Case("one position of shape (), d_model=6", (draw.ids(below=50, low=2), 6)),
        Case("positions 0 to 2099, d_model=2", (2100, 2)),
        Case(f"one position, d_model={D}", (1, D)),
        Case(f"positions 0 to {N - 1}, d_model=2", (N, 2)),
        Case("d_model=5: a sine without its cosine", (3, 5)),
        Case("d_model=7 and a tensor of positions: a sine without its cosine", (anywhere, 7)),
    ]  # fmt: skip


SINUSOIDAL = Exercise(
    name="embedding.sinusoidal_positions",
    points=4, difficulty=2, minutes=20,
    against="the formula, clock by clock in Python floats (5e-5)",
    reference=clock_by_clock,
    cases=sinusoidal_cases,
    tolerance=5e-5,
    mistakes=(
        ("the exponent is i/D instead of 2i/D, so that the slowest clock is a hundred times too fast. How "
         "many pairs are there?",
         "/ d_model", "/ 2 / d_model"),
        ("each cosine runs at the frequency of its own index. Should sine and cosine of a pair not show the "
         "same clock?",
         own_clock_for_every_feature),
        ("all sines stand before all cosines although `halves` is False. In which order does the paper put them?",
         "halves ", "True "),
        ("`halves` is ignored. Where does Marian put its cosines?",
         "halves ", "False "),
        ("the cosine comes first. What should position 0 look like: 0, 1, 0, 1, ... or 1, 0, 1, 0, ...?",
         "sin().float(), angles.cos", "cos().float(), angles.sin"),
        ("positions are counted from 1. What is the angle of the first token?",
         "(positions)", "(1, positions + 1)"),
        ("the given positions are replaced by 0, 1, 2, ... What if a text starts at position 700?",
         "= positions", "= torch.arange(positions.numel()).reshape(positions.shape)"),
        ("the frequencies grow instead of falling. Which sign has the exponent?",
         "-pairs", "pairs"),
        ("the base is 1000. How slow should the slowest clock be?",
         "10000", "1000"),
        ("the result is float64. Which type do token vectors have, to which this is added?",
         ".float(), angles.cos().float", ", angles.cos"),
    ),
)  # fmt: skip


def by_rotation_matrices(x: Tensor, positions: Tensor, theta: float = 10000.0) -> Tensor:
    """Turn each pair by its 2 x 2 rotation matrix, in float64; differentiable."""
    D = x.shape[-1]
    if D % 2:
        raise ValueError("D_k must be even")
    fits = positions.ndim < x.ndim and all(
        n in (1, m) for n, m in zip(positions.shape[::-1], x.shape[-2::-1], strict=False)
    )
    if not fits:
        raise ValueError("positions must broadcast to the tokens")
    angles = positions.double()[..., None] * float(theta) ** (-2.0 * torch.arange(D // 2, dtype=F64) / D)
    matrices = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], dim=-1).unflatten(
        -1, (2, 2)
    )
    pairs = torch.stack(x.double().chunk(2, dim=-1), dim=-1)
    turned_pairs = (matrices @ pairs[..., None])[..., 0]
    return torch.cat(turned_pairs.unbind(-1), dim=-1).to(x.dtype)


def rotary_cases(seed: int) -> list[Case]:
    """Positions in any order, late and negative ones, a row of them for each sentence, another base, and what does not fit."""
    draw = Draw(seed)
    B, H, N, D = 2, 3, draw.size(4, 6), 2 * draw.size(2, 4)
    anywhere, rows = draw.ids(N, below=90), draw.ids(B, 1, N, below=90)
    late, later = draw.ids(N, low=700, below=790), draw.ids(N, low=5100, below=6000)
    pair = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    wide, turned = draw.normal(B, H, N, D), draw.normal(B, H, N, D)
    return [
        Case("two tokens at positions 1 and 2, D_k=2", (pair, torch.tensor([1, 2]))),
        Case("two tokens at positions 1 and 2, D_k=4", (draw.normal(2, 4), torch.tensor([1, 2]))),
        Case("one token at position 1, D_k=4, theta=100", (draw.normal(1, 4), torch.tensor([1]), 100.0)),
        Case("one token at position 0: nothing turns", (draw.normal(1, 6), torch.tensor([0]))),
        Case(f"x ({N}, {D}), positions 0 to {N - 1}", (draw.normal(N, D), torch.arange(N))),
        Case(f"x ({N}, {D}), positions {anywhere.tolist()}", (draw.normal(N, D), anywhere)),
        Case(f"x ({B}, {H}, {N}, {D}), the same positions for all", (wide, anywhere)),
        Case(f"x ({B}, {H}, {N}, {D}), positions ({B}, 1, {N}): other ones in each row", (wide, rows)),
        Case(f"x ({N}, {D}), one position (1,) for all tokens", (draw.normal(N, D), draw.ids(1, below=90, low=1))),
        Case(f"x ({N}, {D}), positions {late.tolist()}: late in a text", (draw.normal(N, D), late)),
        Case(f"x ({N}, {D}), positions {later.tolist()}: very late", (draw.normal(N, D), later)),
        Case(f"x ({N}, {D}), negative positions", (draw.normal(N, D), -anywhere - 1)),
        Case(f"x ({N}, {D}), theta=500", (draw.normal(N, D), anywhere, 500.0)),
        Case(f"x ({N}, {D}), theta=70 by name", (draw.normal(N, D), anywhere), {"theta": 70.0}),
        Case(f"x ({N}, 2): a single pair", (draw.normal(N, 2), anywhere)),
        Case("x that is not contiguous", (draw.normal(D, N).mT, anywhere)),
        Case(f"x ({B}, {H}, {N}, {D}), not contiguous", (scattered(turned), anywhere)),
        Case(f"x ({N}, {D}) in bfloat16, late", (draw.normal(N, D, dtype=BF16), late)),
        Case(f"x ({B}, {N}, {D}), positions ({B}, {N})", (draw.normal(B, N, D), draw.ids(B, N, below=90))),
        Case("float64, with the gradient of x", (draw.normal(N, D, dtype=F64), anywhere), gradient=(0,)),
        Case("D_k=5: a feature without a partner", (draw.normal(3, 5), torch.arange(3))),
        Case("four tokens, three positions: they do not fit", (draw.normal(4, 6), torch.arange(3))),
        Case("x (3, 4), two rows of positions for one of tokens", (draw.normal(3, 4), draw.ids(2, 3, below=9))),
        Case("x (1, 4, 6), positions (3, 4): three rows for one text", (draw.normal(1, 4, 6), draw.ids(3, 4, below=9))),
    ]  # fmt: skip


def apply_rotary(x: Tensor, positions: Tensor, theta: float = 10000.0) -> Tensor:
    """Turn the pairs (i, i + D_k / 2); the mistakes below are changes of these lines."""
    if x.shape[-1] % 2:
        raise ValueError("D_k must be even")
    axes = zip(reversed(positions.shape), reversed(x.shape[:-1]), strict=False)
    if positions.ndim >= x.ndim or any(p not in (1, n) for p, n in axes):
        raise ValueError("positions must broadcast to the tokens")
    pairs = torch.arange(x.shape[-1] // 2)
    angles = positions[..., None] * theta ** (-2 * pairs / x.shape[-1])
    a, b = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    turned = (a * cos - b * sin, b * cos + a * sin)
    return torch.cat(turned, dim=-1)


ROTARY = Exercise(
    name="embedding.apply_rotary",
    points=4, difficulty=3, minutes=25,
    against="2 × 2 rotation matrices, in float64 (5e-4, with gradients)",
    reference=by_rotation_matrices,
    right=apply_rotary,
    cases=rotary_cases,
    tolerance=5e-4,
    owned=("lecture_lib.embedding.apply_rotary", "lecture_lib.embedding.rotate", "lecture_lib.embedding.rotary_tables"),
    mistakes=(
        ("the positions are ignored and counted 0, 1, 2, ... instead. What happens to a token that continues "
         "a cached text?",
         "positions[..., None] *", "torch.arange(x.shape[-2])[:, None] *"),
        ("neighbouring features are paired, (2i, 2i + 1), as in the paper. Which pairs does the task name?",
         "x.chunk(2, dim=-1)", "(x[..., ::2], x[..., 1::2])", "torch.cat(turned, dim=-1)",
         "torch.stack(turned, dim=-1).flatten(-2)"),
        ("everything turns the other way. What is the real part of (a + ib) times (cos + i sin)?",
         "angles.sin()", "(-angles).sin()"),
        ("the second feature of a pair loses the sign of its sine, so that lengths are not kept. Is your "
         "matrix a rotation?",
         "b * cos + a * sin", "b * cos - a * sin"),
        ("theta is 10000 whatever is asked for. Llama 3 has 500000.",
         "theta ** (", "10000.0 ** ("),
        ("the exponent is i/D_k instead of 2i/D_k. How many pairs are there?",
         "-2 * pairs", "-pairs"),
        ("positions are counted from 1. By which angle does the token at position 0 turn?",
         "positions[..., None]", "(positions + 1)[..., None]"),
        ("all sentences of a batch get the positions of the first. What is the leading axis of `positions` for?",
         "positions[..., None]", "positions.reshape(-1, positions.shape[-1])[0, :, None]"),
        ("every pair turns at the speed of the first. What is the exponent of theta for?",
         "-2 * pairs", "0 * pairs"),
        ("positions that do not fit the tokens are not refused with a ValueError. What does broadcasting make "
         "of them?",
         "positions.ndim >= x.ndim or any((p not in (1, n) for p, n in axes))", "False"),
        ("the result is float32 whatever x is. In which number type do queries and keys have to come out?",
         "torch.cat(turned, dim=-1)", "torch.cat(turned, dim=-1).float()"),
    ),
)  # fmt: skip
