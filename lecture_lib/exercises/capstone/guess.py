"""A number to predict: how many times fewer tokens go through a program that remembers."""

from lecture_lib.checks.kinds import predict

PROMPT, NEW = 9, 40


def times_fewer() -> float:
    """Tokens read by a program that reads the whole text at each step, for each token of one that keeps it."""
    again = sum(PROMPT + n for n in range(NEW))
    return again / (PROMPT + NEW - 1)


FEWER = predict(
    "capstone.times_fewer",
    times_fewer,
    factor=1.08,
    against="a count of the tokens that both programs read",
    points=1, difficulty=1, minutes=6,
    misses=(
        ("that is the number of new tokens. Does the program that reads again read the same number at each step?", 40.0),
        ("that is the length of the text. How many tokens does the remembering program read, and how many the other?", 49.0),
        ("the prompt is left out of both counts. Does the remembering program not read it?", 20.5),
        ("the prompt is left out of the first count. Is it not read again at every step?", 17.1),
        ("that is the square of the length. How long is the text at the first step?", 2401.0),
    ),
)  # fmt: skip
