"""A number to predict: what LoRA adds to the memory of a model of 7 billion weights."""

from lecture_lib.checks.kinds import predict

TRAINED = 32 * 2 * 8 * (4096 + 4096)  # layers, maps in each, rank, D_in + D_out

BESIDE_THE_WEIGHTS = predict(
    "lora.megabytes_beside_the_weights",
    lambda: TRAINED * 12 / 1e6,
    factor=1.1,
    against="32 layers with two updates of rank 8 each, and 12 bytes beside every trained weight",
    points=1, difficulty=1, minutes=6,
    misses=(
        ("the gradient alone is counted. What does AdamW keep for every trained number?", TRAINED * 4 / 1e6),
        ("the moments alone are counted. What else belongs to a trained number?", TRAINED * 8 / 1e6),
        ("half is counted: one map of a layer, or one matrix of an update. How many of each are there?", TRAINED * 6 / 1e6),
        ("the adapted weights are counted as if they were trained themselves. How many numbers has an update of rank 8?",
         32 * 2 * 4096**2 * 12 / 1e6),
        ("the trained numbers are given, in millions. How many bytes lie beside each?", TRAINED / 1e6),
        ("bytes are given. How many bytes has a megabyte?", TRAINED * 12),
        ("the matrices themselves are counted in, with 16 bytes. What lies beside the weights?", TRAINED * 16 / 1e6),
    ),
)  # fmt: skip
