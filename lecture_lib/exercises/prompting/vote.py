"""A vote of answers, with a bug to find; against counting all pairs."""

import random

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug
from lecture_lib.prompting import majority_vote


def by_pairs(answers: list) -> tuple[list, int]:
    """For every answer count those that equal it; keep the first of each kind."""
    given = [answer for answer in answers if answer is not None]
    counts = [sum(one == other for other in given) for one in given]
    most = max(counts, default=0)
    firsts = [one for i, one in enumerate(given) if counts[i] == most and one not in given[:i]]
    return firsts, most


def vote_cases(seed: int) -> list[Case]:
    """Clear votes, ties of two and three, samples without an answer, zeros, words, equal numbers of two kinds, nobody."""
    draw = random.Random(seed)
    a, b, c, d = (float(n) for n in draw.sample(range(2, 60), 4))
    low, high = sorted((a, b))

    def mixed(*answers: object) -> list:
        return draw.sample(answers, len(answers))

    return [
        Case("a clear vote", (mixed(a, a, a, b, b, c),)),
        Case("a tie of two: the larger one came first", ([high, low, c, low, high],)),
        Case("a tie of two: the smaller one came first", ([low, c, high, high, low],)),
        Case("a tie of three, one vote each", ([c, high, low],)),
        Case("most samples have no answer", (mixed(None, None, None, None, a, a, b),)),
        Case("a tie with as many samples without an answer", ([None, b, a, None, a, b, c],)),
        Case("zero wins", (mixed(0.0, 0.0, 0.0, a, a),)),
        Case("zero in a tie", ([a, 0.0, None, 0.0, a],)),
        Case("9 and 9.0 count together", ([9, 9.0, a + 0.5, 9.0, b + 0.5, b + 0.5],)),
        Case("words, and an empty one", (["yes", "no", "", "", "no", "", "yes"],)),
        Case("one sample", ([d],)),
        Case("seventeen samples", ([draw.choice((a, b, c, 0.0, None)) for _ in range(17)],)),
        Case("negative answers", (mixed(-a, -a, a, b),)),
        Case("nobody has an answer", ([None, None],)),
        Case("no samples", ([],)),
    ]


COUNTED = "(answer for answer in answers if answer is not None)"
WINNERS = "[answer for answer, count in votes.items() if count == most]"

VOTE = Exercise(
    name="prompting.majority_vote",
    points=2, difficulty=1, minutes=10,
    against="counting all pairs of equal answers",
    reference=by_pairs,
    right=majority_vote,
    cases=vote_cases,
    owned=("statistics.multimode",),
    mistakes=(
        ("the answer 0 loses its votes. What is `if answer` for 0.0?", "if answer is not None", "if answer"),
        ("an empty word loses its votes, as None does. Which answers have no vote?", "if answer is not None", "if answer or answer == 0"),
        ("samples without an answer vote for None. Whom should they vote for?", COUNTED, "answers"),
        ("a tie is hidden: one winner is named. How many answers have the most votes?",
         WINNERS, WINNERS + "[:1]"),
        ("tied answers stand in the order of size. Which one was given first?", WINNERS, f"sorted({WINNERS}, key=lambda a: (str(type(a)), a))"),
        ("of tied answers the one given last comes first. In which order are they asked for?", WINNERS, WINNERS + "[::-1]"),
        ("all answers are named, also those with fewer votes. Which of them have the most?", "if count == most", ""),
        ("the share is given, not the number of votes. What does the docstring ask for?",
         ", most)", ", most / max(len(answers), 1))"),
        ("the number of winners is given in place of their votes.", ", most)", ", sum((count == most for count in votes.values())))"),
        ("the samples are counted, whatever they say. How many agree?", ", most)", ", len(answers))"),
        ("the least frequent answers win. Whom does a majority choose?", "max(votes.values()", "min(votes.values()"),
        ("only answers given twice or more can win. What if all differ?", "if count == most", "if count == most > 1"),
    ),
)  # fmt: skip
MENDED_VOTE = find_the_bug(
    VOTE, "prompting.mended_vote", hint="the answer 0 loses", points=2, difficulty=1, minutes=10
)
