"""Which of five compressors is impossible? Shannon's limit for Gaussian weights, with the bits of the steps counted."""

import math

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.kinds import impossible

DB_PER_BIT = 20 * math.log10(2)  # D = σ² 2^(-2R)


def report(below: float, bits: int, group_size: int, scale_bits: int) -> dict:
    """A report so many dB below the limit."""
    limit = DB_PER_BIT * (bits + scale_bits / group_size)
    words = {"bits": bits, "group_size": group_size, "scale_bits": scale_bits}
    return words | {"signal_to_noise": round(limit - below, 2)}


def compressors(seed: int, turn: int) -> tuple[str, list[dict], int]:
    """Draw five reports; one has less noise than its bits allow, some of the others less than the bits of their codes alone allow."""
    draw = Draw(1000 * seed + turn)

    def layout() -> tuple[int, int, int]:
        return draw.size(2, 6), draw.random.choice((64, 128)), draw.random.choice((8, 16))

    far, (place, loud, tight, third, twin) = turn % 2, draw.random.sample(range(5), 5)
    words, alike = layout(), layout()  # drawn alike: bits and steps alone tell nothing
    if turn % 3 == 0:  # fewer bits, also for the steps, than the impossible one
        words, alike = (draw.size(5, 6), 64, 16), (2, 128, 8)
    five = [{}] * 5
    five[place] = report(-0.3 - 0.7 * far, *words)
    below = 0.4 + 6 * draw.random.random() ** 2 if turn % 3 != 1 else 7  # at times the farthest of all
    five[twin] = report(below, *alike)
    # The bits of the steps lift it above the limit of its codes alone, by a whole bit or by half of one.
    five[tight] = report(0.4, draw.size(2, 4), 16, (16, 8)[turn // 2 % 2])
    five[loud] = report(5, 8, 128, 16)  # the largest number of all, and allowed
    # Many bits for the steps, or nearly the largest number, for a bit less.
    five[third] = report(0.5, 3, 8, 32) if turn % 4 < 2 else report(0.5, 7, 128, 16)
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


BEYOND_SHANNON = impossible(
    "quantization.beyond_shannon",
    compressors,
    beyond_shannon,
    against="the limit itself: one report of each five was made above it",
    points=2, difficulty=2, minutes=12,
    mistakes=(
        ("the bits of the steps are not counted, or not as they should be. What is stored beside the codes, and how many weights share it?",
         " + report['scale_bits'] / report['group_size']", ""),
        ("the largest ratio is chosen. How many bits does each one have for it?",
         " - 20 * math.log10(2) * rate", ""),
        ("the limit is taken as 3.01 dB a bit. By which factor does the noise power fall when the step is halved?",
         "20 * math.log10(2) * rate", "10 * math.log10(2) * rate"),
        ("the one farthest below the limit is chosen. On which side of the limit is the impossible one?",
         "excess.index(max(excess))", "excess.index(min(excess))"),
        ("the one nearest to the limit is chosen. On which side of the limit is the impossible one?",
         "excess.index(max(excess))", "excess.index(min(excess, key=abs))"),
        ("the bits of a step are counted for every weight. How many weights share a step?",
         "report['scale_bits'] / report['group_size']", "report['scale_bits']"),
        ("the bits of the steps are divided without their fraction. What does // give for 16 bits and 64 weights?",
         "report['scale_bits'] / report['group_size']", "report['scale_bits'] // report['group_size']"),
        ("all steps are taken to have the same number of bits. Which entry says how many?",
         "report['scale_bits'] / report['group_size']", "16 / report['group_size']"),
        ("the one with the fewest bits is chosen. Is it allowed to be as good as it says?",
         "report['signal_to_noise'] - 20 * math.log10(2) * rate", "-rate"),
    ),
)  # fmt: skip
