"""Which of five updates cannot exist? Eckart and Young's bound, with the rank of the update."""

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.kinds import impossible


def claims(seed: int, turn: int) -> tuple[str, list[dict], int]:
    """Draw five claims; one lies closer to the full update than its rank allows."""
    draw = Draw(1000 * seed + turn)
    (place, flat), five = draw.random.sample(range(5), 2), []
    room = (0.96, 0.85)[turn % 2]
    for i in range(5):
        n, r = draw.size(6, 9), draw.size(1, 4)
        decay = 0.5 + 0.45 * draw.random.random()
        if i == flat:  # a long tail: its plain sum is far larger than the root of its squares
            n, r, decay = 12, 1, 0.99
        size = draw.random.choice((1.0, 10.0, 100.0))
        s = [round(size * decay**k * (0.8 + 0.4 * draw.random.random()), 4) for k in range(n)]
        s = sorted(s, reverse=True)
        least = sum(x * x for x in s[r:]) ** 0.5
        factor = room if i == place else 1.04 + 0.5 * draw.random.random() ** 2
        s = draw.random.sample(s, n)  # in no order
        five.append({"singular_values": s, "r": r, "distance": round(factor * least, 6)})
    return f"round {turn + 1}: one is {(4, 15)[turn % 2]} % too close", five, place


def below_the_floor(claims: list[dict]) -> int:
    """Find the claim that is closer to the full update than any matrix of its rank.

    Args:
        claims: list of five dictionaries with `singular_values` of the full update, in no order, the rank `r` of an
            update, and its `distance` from the full one: the root of the summed squares of all differences.

    Returns:
        Its place in the list, an int from 0 to 4.
    """
    ratios = []
    for claim in claims:
        s = sorted(claim["singular_values"], reverse=True)
        least = sum(x**2 for x in s[claim["r"] :]) ** 0.5
        ratios.append(claim["distance"] / least)
    return ratios.index(min(ratios))


BELOW_THE_FLOOR = impossible(
    "lora.below_the_floor",
    claims,
    below_the_floor,
    against="the bound itself: one claim of each five was made below it",
    points=2, difficulty=2, minutes=12,
    rounds=24,
    mistakes=(
        ("the singular values are taken in the order in which they come. Which ones can an update keep?",
         "sorted(claim['singular_values'], reverse=True)", "claim['singular_values']"),
        ("the smallest are kept, and the largest are lost.", ", reverse=True", ""),
        ("the next singular value alone is taken. Which distance is it the bound for?",
         "sum((x ** 2 for x in s[claim['r']:])) ** 0.5", "s[claim['r']]"),
        ("the lost values are added without squares.", "sum((x ** 2 for x in s[claim['r']:])) ** 0.5", "sum((x for x in s[claim['r']:]))"),
        ("the root is missing: a square is compared with a distance.", "s[claim['r']:])) ** 0.5", "s[claim['r']:]))"),
        ("the rank counts one too many as lost.", "s[claim['r']:]", "s[claim['r'] - 1:]"),
        ("the rank counts one too many as kept.", "s[claim['r']:]", "s[claim['r'] + 1:]"),
        ("the smallest distance is chosen. How small may each be?", "claim['distance'] / least", "claim['distance']"),
        ("the one farthest above its bound is chosen.", "min(ratios)", "max(ratios)"),
    ),
)  # fmt: skip
