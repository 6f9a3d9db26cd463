"""A number to predict: how many rows it takes until an H100 waits for its arithmetic."""

from lecture_lib.checks.kinds import predict

RIDGE = predict(
    "kv_cache.rows_at_the_ridge",
    lambda: 989e12 / 3.35e12,  # 2 operations a weight and row, 2 bytes a weight
    factor=1.15,
    against="the batch at which bytes / bandwidth = operations / rate, the cache left out",
    points=1, difficulty=1, minutes=6,
    misses=(
        ("a multiplication and its addition are counted as one operation. How many does a weight take in each row?", 590.4),
        ("a weight of 16 bits is taken for one byte. How many bytes are 16 bits?", 147.6),
        ("the weights are counted in bits. In which unit is the bandwidth?", 2361.8),
        ("the batch is taken to depend on the number of parameters. Where does it cancel?", 295.2 / 70),
        ("that is the speed of one row, in tokens/s. At which number of rows are the two times equal?", 3.35e12 / 140e9),
        ("a weight is taken to have 4 bits. How many bytes has one of 16?", 73.8),
    ),
)  # fmt: skip
