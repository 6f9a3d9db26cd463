"""Judge: which of five programs differs from its model by more than rounding can explain?"""

import torch

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.kinds import impossible

STEPS = 12
ERRORS = (2e-6, 1e-4, 3e-3, 0.05)  # of a logit: float32, float32 in another order, 16 bits, 8 bits


def not_rounding(runs: list[dict]) -> int:
    """Look at the first difference alone; the mistakes below are changes of these lines."""
    for place, run in enumerate(runs):
        pairs = zip(run["ours"], run["theirs"], strict=True)
        parted = [n for n, (mine, their) in enumerate(pairs) if mine != their]
        if parted and run["gap"][parted[0]] > 2 * run["error"]:
            return place
    return -1


def uniform(draw: Draw, n: int) -> list[float]:
    """Numbers between 0 and 1."""
    return torch.rand(n, generator=draw.generator).tolist()


def run_of(draw: Draw, kind: str) -> dict:
    """One program beside its model: "same", "rounding", "detour" (one token only) or "bug"."""
    error = ERRORS[draw.size(0, len(ERRORS) - 1)]
    theirs = draw.ids(STEPS, below=50).tolist()
    gap = [error * 10 ** (1 + 2 * x) for x in uniform(draw, STEPS)]  # far above the error
    ours = list(theirs)
    if kind == "same":
        gap[draw.size(0, STEPS - 1)] = 0.5 * error  # close, and the same token all the same
        return {"ours": ours, "theirs": theirs, "gap": gap, "error": error}
    first = draw.size(1, STEPS - 2)
    end = first + 1 if kind == "detour" else STEPS
    for n in range(first, end):  # another text from there on; now and then the same token
        ours[n] = theirs[n] if n > first and draw.size(0, 3) == 0 else (theirs[n] + draw.size(1, 48)) % 50
    if kind == "rounding" and draw.size(0, 1):  # the last difference is as small as the first
        gap[max(n for n in range(STEPS) if ours[n] != theirs[n])] = 0.5 * error
    chance = uniform(draw, 1)[0]
    low, high = (
        (2.2, 6.2) if kind == "bug" else (0.1, 0.4) if kind == "detour" or draw.size(0, 1) else (0.6, 1.9)
    )
    gap[first] = error * (low + (high - low) * chance)
    if kind == "bug":  # somewhere else the two best are close, as everywhere
        gap[draw.size(first + 1, STEPS - 1)] = 0.5 * error
    return {"ours": ours, "theirs": theirs, "gap": gap, "error": error}


def five_runs(seed: int, each: int) -> tuple[str, list, int]:
    """One bug among programs that agree or that rounding has parted; no simpler rule names it."""
    draw, place = Draw(1000 * seed + each), (seed + 2 * each) % 5

    def five() -> list[dict]:
        others = ["same", "rounding", "detour", "rounding"]
        kinds = [others[i] for i in draw.order(4).tolist()]
        kinds.sort(key=lambda kind: each % 2 and kind != "detour")  # in every other round it comes first
        kinds.insert(place, "bug")
        return [run_of(draw, kind) for kind in kinds]

    def hidden(runs: list[dict]) -> bool:
        firsts = [_first(run) for run in runs]
        gaps = [run["gap"][n] if n < STEPS else 0.0 for run, n in zip(runs, firsts, strict=True)]
        counts = [sum(a != b for a, b in zip(run["ours"], run["theirs"], strict=True)) for run in runs]
        return place not in (firsts.index(min(firsts)), gaps.index(max(gaps)), counts.index(max(counts)))

    return "five programs", until(five, hidden), place


def _first(run: dict) -> int:
    """Where a program and its model part; STEPS if they do not."""
    pairs = zip(run["ours"], run["theirs"], strict=True)
    return next((n for n, (mine, their) in enumerate(pairs) if mine != their), STEPS)


JUDGED = "parted and run['gap'][parted[0]] > 2 * run['error']"

NOT_ROUNDING = impossible(
    "capstone.not_rounding",
    five_runs,
    not_rounding,
    against="how the five were made",
    rounds=20,
    points=3, difficulty=2, minutes=15,
    mistakes=(
        ("the first program that differs at all is named. What can rounding do to two nearly equal logits?", JUDGED, "parted"),
        ("later differences count, too. Do both still read the same text there?",
         "run['gap'][parted[0]]", "max((run['gap'][n] for n in parted))"),
        ("the error is not used: a gap above 0.01 is called large. Large compared to what?", "2 * run['error']", "0.01"),
        ("the smallest gap of all steps is looked at. Which step decides?", JUDGED, "parted and min(run['gap']) > 2 * run['error']"),
        ("the last difference is looked at. At which step did both still read the same text?", "parted[0]", "parted[-1]"),
        ("the programs are counted from 1. Which number has the first?", "return place", "return place + 1"),
        ("a small gap is called a bug. Which gaps can rounding close?", "] > 2", "] < 2"),
        ("programs that agree are looked for. What should the one with the bug do?", JUDGED, "not parted"),
        ("the gap is compared with one error. How far can *two* logits move towards each other?", "2 * run['error']", "run['error']"),
        ("half the error is allowed. How far can *two* logits move towards each other?", "2 * run['error']", "0.5 * run['error']"),
    ),
)  # fmt: skip
