"""A number to predict: how many words one vector has room for."""

from lecture_lib.checks.kinds import predict

ROOM = predict(
    "encoder_decoder.words_in_a_vector",
    lambda: 32 * 32 / 3,  # bits of 32 numbers in single precision, over log2(8) bits a word
    factor=1.3,
    against="32 numbers of 32 bits over log2(8) = 3 bits for each word",
    points=1, difficulty=1, minutes=5,
    misses=(
        ("each word is given one number. How many bits has a number, and how many does a word need?", 32.0),
        ("each word is given one bit. How many bits tell 8 words apart?", 1024.0),
        ("each word is given 8 bits. How many bits tell 8 words apart?", 128.0),
        ("what the network learned to do is counted. The question is what its vector has room for.", 6.0),
        ("the longest sentence of the experiment is counted. The question is what a vector has room for.", 10.0),
        ("each number is given one bit. How many bits has a number in single precision?", 32 / 3),
    ),
)  # fmt: skip
