"""Judge: which of five runs reads its own future, and from which token on?"""

import random

from lecture_lib.checks.exercise import Case, Exercise

TOKENS = 10


def run(
    draw: random.Random, kind: str, first: int, sharp: bool = False, luck: float = 2.5
) -> dict[str, list[float]]:
    """A run's losses, standard errors and floors by token; `first` is the first token that leaks if it is of that kind.

    Honest runs lie on the floor, above it, or by chance `luck` to 3.5 standard errors below; in a leaking one every token
    from the first on lies at least 8 below, the tokens before it are honest. A sharp five has small errors in the run that
    leaks and large ones in the lucky run, so that no depth in nats tells the two apart.
    """
    level = draw.uniform(0.6, 2.5)
    floor = [level * (1 + draw.uniform(0.2, 0.5) * 0.6**n) for n in range(TOKENS)]
    sizes = {"leaking": (0.002, 0.004), "lucky": (0.016, 0.02)} if sharp else {}
    error = [draw.uniform(*sizes.get(kind, (0.002, 0.02))) for _ in range(TOKENS)]
    lies = {"on the floor": (-1, 1), "lucky": (-2, 1), "poor": (6, 60), "half trained": (1, 15)}
    low, high = lies.get(kind, draw.choice([(-1, 1), (5, 40)]))
    loss = [f + e * draw.uniform(low, high) for f, e in zip(floor, error, strict=True)]
    if kind == "leaking":
        loss[first:] = [floor[n] - draw.uniform(8, 20) * error[n] for n in range(first, TOKENS)]
    if kind == "lucky" or (kind == "leaking" and first and luck > 3):
        place = draw.randrange(TOKENS if kind == "lucky" else first)
        loss[place] = floor[place] - draw.uniform(luck, 3.5) * error[place]
    return {"loss": loss, "error": error, "floor": floor}


def five(seed: int, each: int) -> Case:
    """Four honest runs, one of every kind, and one that leaks; in every third five a lucky point comes before the leak twice."""
    draw, place, token = random.Random(f"{seed} {each}"), (seed + 3 * each) % 5, (seed + 7 * each) % TOKENS
    kinds, luck = draw.sample(["on the floor", "lucky", "poor", "half trained"], 4), 2.5
    if each % 3 == 1:
        kinds, luck = sorted(kinds, key=lambda kind: kind != "lucky"), 3.4
    kinds.insert(place, "leaking")
    runs = [run(draw, kind, token, each % 3 == 0, luck) for kind in kinds]
    return Case(f"five runs of {TOKENS} tokens", (runs,), hidden=(place, token))


def leaking_cases(seed: int) -> list[Case]:
    """Fifteen fives, the leak in every place and at every token."""
    return [five(seed, each) for each in range(15)]


def both_right(case: Case, output: object, _asked: list) -> str | None:
    """Ask for the run and for the token."""
    if type(output) is not tuple or [type(each) for each in output] != [int, int]:
        return f"returned {output!r:.60}; a tuple of two integers is asked for, the run and the token"
    if output == case.hidden:
        return None
    what = "the run" if output[0] != case.hidden[0] else "the token"
    return f"yours {output}, expected {case.hidden}: {what} is another one"


def leaking_run(runs: list[dict[str, list[float]]]) -> tuple[int, int]:
    """Look for the first loss that lies far below its floor; the mistakes below are changes of these lines."""
    for place, run in enumerate(runs):
        rows = zip(run["loss"], run["error"], run["floor"], strict=True)
        for n, (loss, error, floor) in enumerate(rows):
            if loss < floor - 5 * error:
                return (place, n)
    return (-1, -1)


def lowest_loss(runs: list[dict[str, list[float]]]) -> tuple[int, int]:
    """Take the smallest loss of all."""
    place = min(range(len(runs)), key=lambda i: min(runs[i]["loss"]))
    return place, runs[place]["loss"].index(min(runs[place]["loss"]))


def deepest(runs: list[dict[str, list[float]]]) -> tuple[int, int]:
    """Take the point that lies most standard errors below its floor."""

    def depth(i: int, n: int) -> float:
        return (runs[i]["loss"][n] - runs[i]["floor"][n]) / runs[i]["error"][n]

    return min(((i, n) for i in range(len(runs)) for n in range(TOKENS)), key=lambda point: depth(*point))


def first_below(runs: list[dict[str, list[float]]]) -> tuple[int, int]:
    """Take the run of the deepest point, and in it the first token that lies below its floor at all."""
    place, _ = deepest(runs)
    losses = zip(runs[place]["loss"], runs[place]["floor"], strict=True)
    return place, [loss < floor for loss, floor in losses].index(True)


def below_on_average(runs: list[dict[str, list[float]]]) -> tuple[int, int]:
    """Compare mean losses with mean floors."""
    gaps = [sum(run["loss"]) - sum(run["floor"]) for run in runs]
    place = gaps.index(min(gaps))
    below = [n for n in range(TOKENS) if runs[place]["loss"][n] < runs[place]["floor"][n]]
    return place, below[0] if below else 0


def steepest(runs: list[dict[str, list[float]]]) -> tuple[int, int]:
    """Take the place where a loss falls most from one token to the next."""
    losses = [run["loss"] for run in runs]
    falls = {(i, n): loss[n] - loss[n - 1] for i, loss in enumerate(losses) for n in range(1, TOKENS)}
    return min(falls, key=falls.get)


def lowest_floor_of_all(runs: list[dict[str, list[float]]]) -> tuple[int, int]:
    """Hold every token to the floor of the last one."""
    for place, each in enumerate(runs):
        for n, loss in enumerate(each["loss"]):
            if loss < each["floor"][-1] - 5 * each["error"][n]:
                return place, n
    return -1, -1


LEAKING = Exercise(
    name="decoder.leaking_run",
    points=3, difficulty=2, minutes=15,
    against="how the runs were drawn",
    reference=leaking_run,
    right=leaking_run,
    cases=leaking_cases,
    accept=both_right,
    kind="judge",
    mistakes=(
        ("the first loss below its floor is taken for a leak, however little below. How far can a measured mean lie "
         "from the true one by chance?",
         "floor - 5 * error", "floor"),
        ("one standard error below the floor is taken for a leak. How often does that happen by chance, in fifty points?",
         "5 * error", "error"),
        ("two standard errors below the floor are taken for a leak. How often does that happen by chance, in fifty points?",
         "5 * error", "2 * error"),
        ("three standard errors below the floor are taken for a leak. How large is the smallest leak?",
         "5 * error", "3 * error"),
        ("0.05 nats below the floor are taken for a leak, whatever the standard error is. What is a distance from the floor "
         "compared with?",
         "floor - 5 * error", "floor - 0.05"),
        ("the run is right, but its first token below the floor is named, which may lie there by chance.",
         first_below),
        ("a loss far above its floor is taken for a leak. Is a model that predicts badly impossible?",
         "loss < floor - 5 * error", "abs(loss - floor) > 5 * error"),
        ("the run with the smallest loss is taken. Has every source the same floor?",
         lowest_loss),
        ("the token that lies deepest below its floor is named, not the first that lies below.",
         deepest),
        ("means over all tokens are compared, so a poor beginning hides a leak, and the first token below the floor is named.",
         below_on_average),
        ("the steepest fall is taken for the leak. May a loss fall when the reader has seen more?",
         steepest),
        ("every token is held to the floor of the last one. Is less known at the first token than at the last?",
         lowest_floor_of_all),
        ("the tokens are counted from 1. Which number has the first token?",
         "(place, n)", "(place, n + 1)"),
        ("the runs are counted from 1. Which number has the first run?",
         "(place, n)", "(place + 1, n)"),
        ("token and run are exchanged.",
         "(place, n)", "(n, place)"),
    ),
)  # fmt: skip
