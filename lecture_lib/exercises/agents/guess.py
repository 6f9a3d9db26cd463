"""A number to predict: what 31 votes are worth if they err together."""

from lecture_lib.checks.kinds import predict

VOTES, CORRELATION = 31, 0.4

WORTH = predict(
    "agents.worth_of_31_votes",
    lambda: VOTES / (1 + (VOTES - 1) * CORRELATION),
    factor=1.15,
    against="the variance of a mean of correlated numbers, n / (1 + (n - 1) ρ)",
    points=1, difficulty=1, minutes=6,
    misses=(
        ("the votes are taken for independent. What does a second vote add that nearly always agrees with the first?", 31.0),
        ("the share ρ of the votes is struck off. How many pairs of votes are there beside the 31 variances?", 18.6),
        ("that is the factor by which the variance grows. How many votes are left?", 13.0),
        ("the root was taken: the standard deviation grows by √13. Which of the two is added up?", 8.6),
        ("the correlation was squared. Does the covariance of two votes go with ρ or with ρ²?", 5.34),
    ),
)  # fmt: skip
