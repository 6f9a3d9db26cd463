"""Bytes of a training, with a bug to find."""

import torch
from torch import nn

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug

Row = tuple[str, int, int, bool]


def training_bytes(parameters: list[tuple[str, int, int, bool]]) -> tuple[int, int, int]:
    """Bytes of weights, gradients and AdamW's two moments; gradients and moments are stored like their weight.

    Args:
        parameters: a row (name, numbers, bytes of each, whether it is trained) for each use of a parameter; a
            parameter that is used twice has two rows with the same name.

    Returns:
        Bytes of weights, of gradients and of the optimizer's moments.
    """
    weights = gradients = optimizer = 0
    known = set()
    for name, numbers, size, trained in parameters:
        if name in known:
            continue
        known.add(name)
        weights += numbers * size
        if trained:
            gradients += numbers * size
            optimizer += 2 * numbers * size
    return weights, gradients, optimizer


def by_training(parameters: list[Row]) -> tuple[int, int, int]:
    """Train such parameters with torch for a step, and look at what is there."""
    dtypes = {2: torch.bfloat16, 4: torch.float32, 8: torch.float64}
    made = {n: nn.Parameter(torch.ones(k, dtype=dtypes[size]), trained) for n, k, size, trained in parameters}
    trained = [p for p in made.values() if p.requires_grad]
    if trained:
        optimizer = torch.optim.AdamW(trained)
        sum(p.double().sum() for p in trained).backward()
        optimizer.step()
        moments = [t for state in optimizer.state.values() for key, t in state.items() if key != "step"]
    else:
        moments = []
    return tuple(sum(t.nbytes for t in each) for each in (made.values(), [p.grad for p in trained], moments))


def memory_cases(seed: int) -> list[Case]:
    """All trained, none, some; half precision; a parameter with two names; an order in which the trained ones come last."""
    draw = Draw(seed)

    def row(name: str, size: int, trained: bool) -> Row:
        return name, draw.size(11, 99), size, trained

    twins = draw.size(11, 99)
    tied = row("table", 4, True)
    frozen = row("table", 2, False)
    return [
        Case("one parameter", ([row("W", 4, True)],)),
        Case("nothing is trained", ([row("W", 4, False), row("b", 2, False)],)),
        Case(
            "LoRA: a frozen weight, two trained matrices",
            ([row("W", 4, False), row("A", 4, True), row("B", 4, True)],),
        ),
        Case(
            "a base in half precision",
            ([row("W", 2, False), row("A", 4, True), row("V", 2, False), row("B", 4, True)],),
        ),
        Case("trained in half precision", ([row("W", 2, True), row("V", 4, True)],)),
        Case("a tied head", ([tied, row("W", 4, False), tied],)),
        Case("a tied head, and a parameter behind it", ([tied, tied, row("A", 2, True)],)),
        Case("two parameters of one size", ([("V", twins, 4, True), ("W", twins, 4, True)],)),
        Case("a tied head, frozen", ([frozen, row("A", 4, True), frozen],)),
        Case("nothing at all", ([],)),
    ]


MEMORY = Exercise(
    name="lora.training_bytes",
    points=2, difficulty=1, minutes=10,
    against="a step of torch's AdamW, and the bytes that are there behind it",
    reference=by_training,
    right=training_bytes,
    cases=memory_cases,
    mistakes=(
        ("frozen weights have gradients, too. What is computed for a weight that nobody changes?",
         "if trained:\n            gradients += numbers * size\n", "gradients += numbers * size\n        if trained:\n"),
        ("frozen weights have moments, too. What does an optimizer keep for a weight that it does not get?",
         "if trained:", "optimizer += 0 if trained else 2 * numbers * size\n        if trained:"),
        ("AdamW keeps one number for each weight. Which two averages does it need?", "2 * numbers * size", "numbers * size"),
        ("a shared parameter counts twice. How often does it lie in memory?", "name in known", "False"),
        ("the count stops at the first parameter that comes again. What do `continue` and `break` do?", "continue", "break"),
        ("everything has 4 bytes. Which dtype has each?", "weights += numbers * size", "weights += numbers * 4"),
        ("moments have 4 bytes each, whatever their weight has.", "2 * numbers * size", "2 * numbers * 4"),
        ("only the frozen weights count as weights. Where do trained ones lie?", "weights += numbers * size", "weights += 0 if trained else numbers * size"),
        ("everything is trained.", "if trained:", "if True:"),
        ("numbers are counted, not bytes.", "weights += numbers * size", "weights += numbers",
         "gradients += numbers * size", "gradients += numbers", "2 * numbers * size", "2 * numbers"),
    ),
)  # fmt: skip
MENDED_MEMORY = find_the_bug(
    MEMORY, "lora.mended_bytes", hint="frozen weights have gradients", points=2, difficulty=1, minutes=10
)
