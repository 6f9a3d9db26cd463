"""A number to predict: what a linear map reads from a network that nobody has trained."""

from lecture_lib.checks.kinds import predict

UNTRAINED = predict(
    "decoder.untrained_r2",
    lambda: 0.954,  # the mean of twenty seeds, which lie between 0.948 and 0.960; the experiment gives one
    factor=1.1,
    against="the share of variance that one linear map explains, twenty untrained networks",
    points=1, difficulty=1, minutes=5,
    misses=(
        ("the network is taken to know nothing. Which of its vectors holds the token just read, whatever the weights are?",
         0.0),
        ("the belief is taken to depend on many tokens alike. How much does the last token alone say about the state?",
         0.5),
        ("the map reads the last token alone. Which other tokens has the network seen there?", 0.83),
        ("R² is given in percent. Between which two numbers does it lie?", 95.0),
        ("the map is taken to read one coordinate of three. How many numbers does it read from?", 0.33),
    ),
)  # fmt: skip
