"""A number to predict: how much of BERT-large is its token table."""

from lecture_lib.checks.kinds import predict


def share() -> float:
    """Percent: 30,000 tokens of width 1024, among 24 layers, 514 rows of positions and segments, norm and pooler."""
    D, d_ff, table = 1024, 4096, 30_000 * 1024
    layer = 4 * (D * D + D) + 2 * D * d_ff + d_ff + D + 4 * D
    return 100 * table / (24 * layer + table + 514 * D + 2 * D + D * D + D)


TABLE_SHARE = predict(
    "embedding.table_share",
    share,
    factor=1.5,
    against="the parameters of BERT-large, counted",
    points=1, difficulty=1, minutes=3,
    misses=(
        ("one layer is compared with the table, not 24. How many layers does the model have?", 71.0),
        ("the share is a fraction, not in percent. What was asked for?", 0.091),
        ("the share is a fraction, and the table is left out of the whole. What was asked for?", 0.102),
        ("the table is counted in tokens, not in numbers. How wide is a row?", 0.009),
    ),
)  # fmt: skip
