"""A number to predict: how often a text of 387 tokens has none from a tail of half a per cent."""

from lecture_lib.checks.kinds import predict

TAIL, TOKENS = 0.005, 387

CLEAN_SHARE = predict(
    "sampling.clean_share",
    lambda: (1 - TAIL) ** TOKENS,
    factor=1.5,
    against="387 independent draws, each from outside the tail",
    points=1, difficulty=1, minutes=5,
    misses=(
        ("that is the share of clean tokens. How many tokens must all be clean?", 1 - TAIL),
        ("that is the share of texts with at least one token of the tail. Which share is asked for?",
         1 - (1 - TAIL) ** TOKENS),
        ("a tail of five per cent is taken. How large is it here?", 0.95**TOKENS),
        ("the expected number of tail tokens is given. What is the probability that there are none?", TAIL * TOKENS),
    ),
)  # fmt: skip
