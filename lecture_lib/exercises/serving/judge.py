"""Which of five schedulers has lost a request? Little's law, L = lambda W, on what each of them wrote down."""

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.kinds import impossible

KINDS = ("vanishes", "is counted twice", "is never told to end", "ends too late")


def record(draw: Draw) -> dict[str, list[int]]:
    """A day of some scheduler: when requests came, when they ended in the order of their ends, how many were there."""
    n, slots, clock = draw.size(9, 16), draw.size(2, 5), draw.size(0, 9)
    asked, ended, free = [], [], [0] * slots
    for _ in range(n):
        clock += draw.random.choice([0, 0, 1, 2, 3, 25 if draw.size(0, 5) == 0 else 1])
        asked.append(clock)
    for start in asked if draw.size(0, 1) else sorted(asked, key=lambda x: (x // 12, draw.size(0, 99))):
        slot = min(range(slots), key=free.__getitem__)
        takes = draw.random.choice([0, 1, 2, 5, 9, 30])  # 0: refused, or cancelled at once
        free[slot] = max(free[slot], start) + takes
        ended.append(free[slot] if takes else start)
    return {"asked": asked, "ended": sorted(ended), "in_system": counted(asked, ended)}


def counted(asked: list[int], ended: list[int]) -> list[int]:
    """How many have come and not ended, step by step, until nobody is left."""
    return [sum(a <= t for a in asked) - sum(e <= t for e in ended) for t in range(max(*asked, *ended) + 1)]


def spoiled(log: dict[str, list[int]], kind: str, draw: Draw) -> dict[str, list[int]]:
    """A log whose scheduler has made a mistake; it still begins and ends with nobody there."""
    asked, ended, present = log["asked"], list(log["ended"]), list(log["in_system"])
    busy = [t for t, n in enumerate(present) if n]
    start = draw.random.choice(busy[: len(busy) // 2])
    span = [t for t in busy if start <= t < start + draw.size(3, 8)]
    if kind == "vanishes":
        present = [n - (t in span) for t, n in enumerate(present)]
    elif kind == "is counted twice":
        present = [n + (t in span) for t, n in enumerate(present)]
    elif kind == "is never told to end":
        place = draw.size(0, len(ended) - 2)
        del ended[place]
    else:
        place = draw.size(0, len(ended) - 3)
        ended[place] = min(ended[-1], ended[place] + draw.size(2, 6))
        ended.sort()
    return {"asked": asked, "ended": ended, "in_system": present}


def broken(log: dict[str, list[int]]) -> bool:
    """Whether the sums differ, in whole numbers."""
    return sum(log["ended"]) - sum(log["asked"]) != sum(log["in_system"])


def longest(logs: list[dict]) -> int:
    """The place of the log with the longest mean time."""
    times = [(sum(log["ended"]) - sum(log["asked"])) / len(log["asked"]) for log in logs]
    return times.index(max(times))


def fullest(logs: list[dict]) -> int:
    """The place of the log with most requests in the system, on average."""
    return max(range(5), key=lambda i: sum(logs[i]["in_system"]) / len(logs[i]["in_system"]))


def five_logs(seed: int, turn: int) -> tuple[str, list[dict], int]:
    """Four honest logs and one that is not; requests that end at once, long pauses and overtaking are honest."""
    draw, place = Draw(1000 * seed + turn), (seed + 2 * turn) % 5

    def drawn() -> list[dict]:
        five = [record(draw) for _ in range(5)]
        five[place] = until(lambda: spoiled(record(draw), KINDS[turn % 4], draw), broken)
        return five

    five = until(drawn, lambda logs: longest(logs) != fullest(logs)) if turn < 2 else drawn()
    return f"round {turn + 1}: in one log a request {KINDS[turn % 4]}", five, place


def lost_request(logs: list[dict[str, list[int]]]) -> int:
    """Find the log that cannot be true.

    Args:
        logs: five dictionaries with `asked`, `ended` and `in_system`.

    Returns:
        The place of the impossible one, an int from 0 to 4.
    """
    gaps = []
    for log in logs:
        steps = len(log["in_system"])
        present = sum(log["in_system"]) / steps
        rate = len(log["asked"]) / steps
        time = (sum(log["ended"]) - sum(log["asked"])) / len(log["asked"])
        gaps.append(abs(present - rate * time))
    return gaps.index(max(gaps))


LOST = impossible(
    "serving.lost_request",
    five_logs,
    lost_request,
    against="the draw itself: one log of each five was spoiled",
    points=3, difficulty=2, minutes=15,
    mistakes=(
        ("only the number of requests is compared. Can a request be missing while it runs?",
         "abs(present - rate * time)", "abs(len(log['asked']) - len(log['ended']))"),
        ("the log with the longest mean time is chosen. May a request take long?",
         "abs(present - rate * time)", "time"),
        ("the log with most requests in the system is chosen. Is that forbidden?",
         "abs(present - rate * time)", "present"),
        ("the rate is taken over the steps in which requests came, the number over all. Over which time is each an average?",
         "rate = len(log['asked']) / steps", "rate = len(log['asked']) / (log['asked'][-1] - log['asked'][0] + 1)"),
        ("only the steps in which somebody is there count for L. Over which time is the rate an average?",
         "present = sum(log['in_system']) / steps", "present = sum(log['in_system']) / sum((n > 0 for n in log['in_system']))"),
        ("only too many in the system are noticed. What if a request vanishes?",
         "abs(present - rate * time)", "present - rate * time"),
        ("only too few in the system are noticed. What if one is counted twice?",
         "abs(present - rate * time)", "rate * time - present"),
        ("the first log is named whose two sides are not the same float. How exact is a division?",
         "gaps.index(max(gaps))", "next((place for place, gap in enumerate(gaps) if gap), 0)"),
        ("the rate is taken over one step less than L, up to the last end. Over which time is each an average?",
         "rate = len(log['asked']) / steps", "rate = len(log['asked']) / (steps - 1)"),
        ("the rate is taken from the first request to the last end, L over the whole log. Over which time is each an average?",
         "rate = len(log['asked']) / steps", "rate = len(log['asked']) / (log['ended'][-1] - log['asked'][0])"),
        ("the least suspicious log is chosen.",
         "gaps.index(max(gaps))", "gaps.index(min(gaps))"),
    ),
)  # fmt: skip
