"""How many times more requests a continuous batch serves than a static one."""

import math

from lecture_lib.checks.kinds import predict
from lecture_lib.serving.queues import capacity

RATIO = predict(
    "serving.continuous_over_static",
    lambda: capacity(300, 64) / capacity(300, 64, continuous=False),
    factor=1.08,
    against="the mean of the longest of 64 geometric lengths, as a sum over all lengths",
    points=2, difficulty=1, minutes=8,
    misses=(
        ("all 64 rows gain a factor. What do 63 of them do while the longest writes?", 64.0),
        ("the longest is taken as twice the mean. What is the mean of the longest of 64?", 2.0),
        ("the batch of the page is taken. How many rows are there here?", 3.36),
        ("the longest is guessed as the root of the batch times the mean. How fast does the harmonic number grow?", 8.0),
        ("the harmonic number is taken as the logarithm alone. Which constant comes on top?", math.log(64)),
        ("nothing is gained. When does a static batch end?", 1.0),
    ),
)  # fmt: skip
