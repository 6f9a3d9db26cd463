"""A number to predict: what one large weight does to the others."""

from lecture_lib.checks.kinds import predict

LARGEST, CODES = 100.0, 127

NOISE = predict(
    "quantization.noise_beside_an_outlier",
    lambda: LARGEST / CODES / 12**0.5,
    factor=1.1,
    against="a step of 100/127 and an error that is uniform within it",
    points=1, difficulty=1, minutes=5,
    misses=(
        ("the step itself is taken for the error. How far from the middle is a number that lies anywhere within a step, on average?",
         LARGEST / CODES),
        ("the mean magnitude of the error is taken, a quarter of a step. What is the root of the mean square?",
         LARGEST / CODES / 4),
        ("the largest error is taken, half a step. What is the root of the mean square?", LARGEST / CODES / 2),
        ("the mean square itself is taken. What is its root?", (LARGEST / CODES) ** 2 / 12),
        ("the other weights are taken to be lost, all of them. Which weights become 0 with this step, and which do not?", 1.0),
        ("the step is taken from the ordinary weights, of which the largest is about 4. Which weight sets it?",
         4 / CODES / 12**0.5),
        ("the numbers from 0 to 100 get all 255 steps. How many of them are left for the negative ones?",
         LARGEST / 255 / 12**0.5),
        ("the 127 steps are taken for the whole range from -100 to 100. How many steps lie between 0 and 100?",
         2 * LARGEST / CODES / 12**0.5),
    ),
)  # fmt: skip
