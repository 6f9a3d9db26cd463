"""Which of five compressors is impossible? Shannon's limit for Gaussian weights, with the bits of the steps counted."""

import math

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.kinds import impossible

DB_PER_BIT = 20 * math.log10(2)  # D = σ² 2^(-2R)


def compressors(seed: int, turn: int) -> tuple[str, list[dict], int]:
    """Draw five reports; one has less noise than its bits allow, some of the others less than the bits of their codes alone allow."""
    draw = Draw(1000 * seed + turn)

    def report(below: float, bits: int, group_size: int, scale_bits: int) -> dict:
        limit = DB_PER_BIT * (bits + scale_bits / group_size)
        words = {"bits": bits, "group_size": group_size, "scale_bits": scale_bits}
        return words | {"signal_to_noise": round(limit - below, 2)}

    far, place = turn % 2, draw.size(0, 4)
    five = [
        report(
            0.4 + 6 * draw.random.random() ** 2,
            draw.size(2, 8),
            draw.random.choice((16, 32, 64, 128)),
            draw.random.choice((8, 16, 32)),
        )
        for _ in range(5)
    ]
    five[place] = report(
        -0.3 - 0.7 * far, draw.size(2, 5), draw.random.choice((64, 128)), draw.random.choice((8, 16))
    )
    others = [i for i in range(5) if i != place]
    loud, tight, wide, high = draw.random.sample(others, 4)
    five[tight] = report(
        0.4, draw.size(2, 4), 16, 16
    )  # one bit of steps a weight: above the limit of its codes alone
    five[loud] = report(5, 8, 128, 16)  # the largest number of all, and allowed
    if turn % 4 < 2:
        five[wide] = report(0.5, 3, 8, 32)
    else:
        five[high] = report(0.5, 7, 128, 16)  # nearly the largest number, for a bit less
    return f"round {turn + 1}: one has {('0.3', '1')[far]} dB too much", five, place


def beyond_shannon(reports: list[dict]) -> int:
    """Find the report that claims less noise than its bits allow.

    Args:
        reports: list of five dictionaries with `bits`, `group_size`, `scale_bits` and `signal_to_noise` (dB).

    Returns:
        Its place in the list, an int from 0 to 4.
    """
    excess = []
    for report in reports:
        rate = report["bits"] + report["scale_bits"] / report["group_size"]
        excess.append(report["signal_to_noise"] - 20 * math.log10(2) * rate)
    return excess.index(max(excess))


# fmt: off
SHANNON_MISTAKES = (
    ("the bits of the steps are not counted. What else must be stored beside the codes?",
     " + report['scale_bits'] / report['group_size']", ""),
    ("the largest ratio is chosen. How many bits does each one have for it?",
     " - 20 * math.log10(2) * rate", ""),
    ("the limit is taken as 3.01 dB a bit. By which factor does the noise power fall when the step is halved?",
     "20 * math.log10(2) * rate", "10 * math.log10(2) * rate"),
    ("the one farthest below the limit is chosen. On which side of the limit is the impossible one?",
     "excess.index(max(excess))", "excess.index(min(excess))"),
    ("the bits of a step are counted for every weight. How many weights share a step?",
     "report['scale_bits'] / report['group_size']", "report['scale_bits']"),
    ("every step is taken to have 16 bits. Which entry says how many?",
     "report['scale_bits'] / report['group_size']", "16 / report['group_size']"),
    ("the one with the fewest bits is chosen. Is it allowed to be as good as it says?",
     "report['signal_to_noise'] - 20 * math.log10(2) * rate", "-rate"),
)
# fmt: on

BEYOND_SHANNON = impossible(
    "quantization.beyond_shannon",
    compressors,
    beyond_shannon,
    against="the limit itself: one report of each five was made above it",
    points=2,
    difficulty=2,
    minutes=12,
    mistakes=SHANNON_MISTAKES,
)
