"""An order read from what a ranking model said: against a reader who goes from character to character."""

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise


def order_cases(seed: int) -> list[Case]:
    """All named, some not, words between, repeated numbers, strange numbers, two digits, nothing named, nothing there."""
    draw = Draw(seed)
    n = draw.size(5, 8)

    def order(n: int) -> list[int]:
        """Draw numbers from 1 in an order that is neither rising nor falling."""
        rising = list(range(1, n + 1))
        drawn = lambda: [i + 1 for i in draw.order(n).tolist()]  # noqa: E731
        return until(drawn, lambda found: found not in (rising, rising[::-1]) and found[0] != 1)

    def written(numbers: list[int]) -> str:
        return ", ".join(map(str, numbers))

    def mixed(found: list[int]) -> bool:
        """Neither rising nor falling, and the third is not the one that would come third if it were not named."""
        third = min(set(range(1, n + 1)) - set(found[:2]))
        return found not in (sorted(found), sorted(found)[::-1]) and found[2] != third

    some = until(lambda: order(n)[:3], mixed)
    twice = until(lambda: order(n)[:3], lambda found: found[0] > found[1])
    many = until(lambda: order(12), tells_digits_apart)
    within = until(lambda: order(n)[:2], lambda found: n not in found)
    worst = until(lambda: order(n)[:2], lambda found: found[0] > found[1] > 1)
    return [
        Case("three answers, all named", ("2, 3, 1", 3)),
        Case(f"{n} answers, all named", (written(order(n)), n)),
        Case(f"{n} answers, three named", (written(some), n)),
        Case("words between", (f"Best is answer {worst[0]}; then comes {worst[1]}, the others are wrong.", n)),
        Case("one named twice", (written([*twice, twice[0]]), n)),
        Case("0 and numbers that are too large", (written([0, within[0], n + 1, 97, within[1]]), n)),
        *other_forms(some, n),
        Case("a number of three digits", (f"All 4{within[0]}{within[1]} words say {within[0]}, then {within[1]}.", n)),
        Case("a number again and again", ("2, 2, 2, 3", 3)),
        Case("twelve answers", (" > ".join(map(str, many)), 12)),
        Case("twelve answers, in brackets", ("".join(f"[{i}]" for i in many[:5]), 12)),
        Case("no answer is named", ("they are all equally good", n)),
        Case("an empty reply", ("", n)),
        Case("one answer", ("1 is best", 1)),
        Case("no answers at all", (written(some), 0)),
    ]  # fmt: skip


def other_forms(some: list[int], n: int) -> list[Case]:
    """Three numbers with letters, signs, line ends and zeros beside them."""
    return [
        Case("letters before and behind", ("A{} > {}nd > C{}".format(*some), n)),
        Case("a minus and a dot between", ("{}-{}.{}".format(*some), n)),
        Case("three lines", ("First: {}\nSecond: {}\nThird: {}".format(*some), n)),
        Case("zeros in front", ("0{}, 0{}, 00{}".format(*some), n)),
    ]


def tells_digits_apart(numbers: list[int]) -> bool:
    """Whether 12 comes before 2, with a number of one digit between them."""
    start, end = numbers.index(12), numbers.index(2)
    return any(2 < number < 10 for number in numbers[start:end])


def by_characters(reply: str, n: int) -> list[int]:
    """Collect digits until another character comes."""
    found, digits = [], ""
    for character in reply + " ":
        if character in "0123456789":
            digits += character
            continue
        if digits:
            place = int(digits) - 1
            if place in range(n) and place not in found:
                found.append(place)
        digits = ""
    return found + sorted(set(range(n)) - set(found))


def between_spaces(reply: str, n: int) -> list[int]:
    """Take only words that are numbers and nothing else."""
    named = [int(word) - 1 for word in reply.replace(",", " ").split() if word.isdigit()]
    order = dict.fromkeys(place for place in named if 0 <= place < n)
    return [*order, *(place for place in range(n) if place not in order)]


REST = "*(place for place in range(n) if place not in order)"

ORDER = Exercise(
    name="agents.ranking",
    points=2, difficulty=1, minutes=15,
    against="a reader who goes from character to character (exactly)",
    reference=by_characters,
    cases=order_cases,
    entry="place",
    mistakes=(
        ("places are counted from 1. Which place has the first item of a list?", "int(number) - 1", "int(number)", "0 <= place < n", "1 <= place <= n",
         REST, "*(place for place in range(1, n + 1) if place not in order)"),
        ("what is not named is lost. How many places must come back?", f"[*order, {REST}]", "[*order]"),
        ("what is not named comes first. Does a ranking model forget the best?", f"[*order, {REST}]", f"[{REST}, *order]"),
        ("a number that is named twice comes back twice. What happened to the one that came before?",
         "dict.fromkeys((place for place in named if 0 <= place < n))", "[place for place in named if 0 <= place < n]"),
        ("the last mention counts, not the first. Which mention of a number is passed over?",
         "dict.fromkeys((place for place in named if 0 <= place < n))",
         "list(dict.fromkeys(place for place in named[::-1] if 0 <= place < n))[::-1]"),
        ("digits are read, not numbers: 12 is taken for 1 and 2. How is a run of digits written?", "[0-9]+", "[0-9]"),
        ("a number is passed over if a letter touches it. What is a number, by the task?", "[0-9]+", r"\\b[0-9]+\\b"),
        ("only words that are numbers and nothing else are read. What is a number, by the task?", between_spaces),
        ("a minus in front belongs to the number. What is a number, by the task?", "[0-9]+", "-?[0-9]+"),
        ("a dot belongs to the number. What is a number, by the task?", "[0-9]+", "[0-9]+[.]?[0-9]*", "int(number)", "int(float(number))"),
        ("reading ends at the first number that is passed over. What stands behind it?",
         "dict.fromkeys((place for place in named if 0 <= place < n))",
         "dict.fromkeys(named[:next((i for i, place in enumerate(named) if not 0 <= place < n or place in named[:i]), len(named))])"),
        ("only the first digit of a number counts. What is the number in 12?", "[0-9]+", "(?<![0-9])[0-9]"),
        ("0 is taken for the last answer. Which numbers are names of answers?",
         "0 <= place < n", "-n <= place < n", "place for place in named", "place % n for place in named"),
        ("the number 0 gives a place -1. Which numbers are names of answers?", "0 <= place < n", "place < n"),
        ("numbers that are too large are taken for the last answer. What is to be done with them?",
         "0 <= place < n", "0 <= place", "place for place in named", "min(place, n - 1) for place in named"),
        ("the worst stands first.", f"return [*order, {REST}]", f"return [*order, {REST}][::-1]"),
        ("what is not named stands in reverse order. Which order did it have?", "for place in range(n)", "for place in reversed(range(n))"),
        ("places are given by answer, not answers by place. Is this the inverse of what was asked?",
         f"return [*order, {REST}]", f"found = [*order, {REST}]\n    return [found.index(i) for i in range(n)]"),
        ("a reply that does not name every answer is thrown away. What may still be learned from it?",
         f"return [*order, {REST}]", "return [*order] if len(order) == n else list(range(n))"),
    ),
)  # fmt: skip
