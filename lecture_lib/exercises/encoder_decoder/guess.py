"""A number to predict: how many words one vector has room for."""

from lecture_lib.checks.kinds import predict

ROOM = predict(
    "encoder_decoder.words_in_a_vector",
    lambda: 64 * 32 / 3,  # bits of 64 numbers in single precision, over log2(8) bits a word
    factor=1.3,
    against="64 numbers of 32 bits over log2(8) = 3 bits for each word",
    points=1,
    difficulty=1,
    minutes=5,
    misses=(
        ("each word is given one number. How many bits has a number, and how many does a word need?", 64.0),
        ("each word is given one bit. How many bits tell 8 words apart?", 2048.0),
        ("each word is given 8 bits. How many bits tell 8 words apart?", 256.0),
        ("what the network learned to do is counted. The question is what its vector has room for.", 8.0),
        ("each number is given one bit. How many bits has a number in single precision?", 64 / 3),
    ),
)
