"""A number to predict: how many keys share the weight when nobody divides by the root of D_k."""

from lecture_lib.checks.kinds import predict

KEYS = predict(
    "attention.keys_without_scaling",
    lambda: 1.63,  # of 400,000 draws: 16 normal scores with deviation |q|, D_k = 64; the experiment gives it, too
    factor=1.3,
    against="16 normal scores with standard deviation |q|, drawn 400,000 times",
    points=1, difficulty=1, minutes=5,
    misses=(
        ("all keys are taken to count alike. How large are scores that nobody has divided?", 14.4),
        ("that is the number with the scaling. How much wider are the scores without it?", 10.6),
        ("one key is taken to hold everything always. Are the two largest of 16 scores never close to each other?", 1.0),
    ),
)  # fmt: skip
