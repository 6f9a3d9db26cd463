"""From ids back to text, with a bug to find."""

import random
from collections.abc import Sequence

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug
from lecture_lib.tokenization import decode_tokens, spell

TEXTS = ("naïve café 😀", "Straße über Übung", "语言模型 und Wörter", "Ωμέγα = ω", "भाषा मॉडल")
TEXTS += ("👩‍🔬 à la carte", "£5 — “so”")
BROKEN = (b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5")


def library_text(ids: Sequence[int], tokens: Sequence[bytes]) -> str:
    """The ByteLevel decoder of `tokenizers` (written in Rust, reads UTF-8 by its own rules)."""
    import tokenizers

    if any(not 0 <= i < len(tokens) for i in ids):
        raise ValueError("an id outside the vocabulary")
    return tokenizers.decoders.ByteLevel().decode([spell(tokens[i]) for i in ids])


def torn(draw: random.Random, data: bytes, longest: int = 3) -> tuple[list[int], list[bytes]]:
    """Tear a text into pieces at any byte; the vocabulary is shuffled and holds tokens that are not used."""
    pieces = []
    while data:
        n = draw.randrange(1, longest + 1)
        pieces.append(data[:n])
        data = data[n:]
    tokens = sorted({*pieces, b"unused", b" ", bytes([draw.randrange(256)])})
    draw.shuffle(tokens)
    return [tokens.index(piece) for piece in pieces], tokens


def decode_cases(seed: int) -> list[Case]:
    """Characters over several tokens, broken bytes, what looks like an encoding of its own, wrong ids."""
    draw = random.Random(seed)
    first, second = draw.sample(BROKEN, 2)
    letters = [bytes([c]) for c in b"abcdefgh"]
    ids = [draw.randrange(8) for _ in range(5)]
    texts = [
        Case(f"{t!r} torn into pieces of 1 to 3 bytes", torn(draw, t.encode())) for t in draw.sample(TEXTS, 4)
    ]
    accent = [b"\xcc\x81", b"e", "é".encode()]
    return [
        Case("letters", (ids, letters)),
        Case("é in two tokens", ([0, 2, 1, 3], [b"caf", b"\xa9", b"\xc3", b"s"])),
        *texts,
        Case(f"a broken byte {first!r} inside a text", ([0, 1, 2, 1], [b"ab ", first, b" c"])),
        Case("half a character at the end", ([1, 0], [b"\xf0\x9f", "né ".encode()])),
        Case("two broken bytes side by side", ([0, 0, 1], [b"\xff", b"z"])),
        Case(f"several broken bytes, {second!r} twice", ([0, 1, 1, 2], [b"x", second, b"y"])),
        Case("white space and control characters", ([0, 1, 2, 0], [b"  ", b"\n\t", b"\x00 \r\n"])),
        Case("a mark of byte order at the start, zero bytes at the end", ([0, 1, 1], [b"\xef\xbb\xbfa", b"\x00"])),
        Case("characters that spell bytes elsewhere", ([1, 0], ["Ġ▁Ċ##".encode(), "Ã©".encode()])),
        Case("a U+FFFD that is in the text", ([0, 1], ["�".encode(), b" !"])),
        Case("e and an accent as two characters, and one alone", ([1, 0, 2, 1], accent)),
        Case("a token of no bytes", ([0, 1, 0], [b"", b"a"])),
        Case("no ids", ([], letters)),
        Case("the last id of the vocabulary, as a tuple", ((7, 0, 7), letters)),
        Case("an id one beyond the vocabulary: ValueError", ([0, 8], letters)),
        Case("a negative id: ValueError", ([0, -1], letters)),
    ]  # fmt: skip


def passed_over(ids: Sequence[int], tokens: Sequence[bytes]) -> str:
    """Leave out what is in no vocabulary."""
    return decode_tokens([i for i in ids if 0 <= i < len(tokens)], tokens)


def stripped(ids: Sequence[int], tokens: Sequence[bytes]) -> str:
    """Lose white space at the ends."""
    return decode_tokens(ids, tokens).strip()


RIGHT_DECODE = Exercise(
    name="tokenization.decode_tokens",
    points=3, difficulty=2, minutes=10,
    against="the byte-level decoder of the tokenizers library",
    reference=library_text,
    cases=decode_cases,
    owned=("lecture_lib.tokenization.BytePairTokenizer",),
    mistakes=(
        ("every token is read as text by itself. What if a character is spread over two tokens?",
         "b''.join((tokens[i] for i in ids)).decode('utf-8', errors='replace')",
         "''.join((tokens[i].decode('utf-8', errors='replace') for i in ids))"),
        ("broken bytes are left out silently. Which character stands for them?",
         "replace", "ignore"),
        ("broken bytes end in an error. Can a model be kept from writing half a character?",
         "replace", "strict"),
        ("every byte becomes one character (Latin-1). How many bytes does é take in UTF-8?",
         "utf-8', errors='replace", "latin-1"),
        ("a space is put between tokens. Where are the spaces of the text?",
         "b''.", "b' '."),
        ("a negative id takes a token from the end of the vocabulary. What does Python do with tokens[-1]?",
         "0 <= ", ""),
        ("broken bytes are written as escapes such as \\xff. Which character stands for them?",
         "replace", "backslashreplace"),
        ("ids that are in no vocabulary are passed over. What should a wrong id lead to?",
         passed_over),
        ("white space at the ends is stripped. Does it belong to the text?",
         stripped),
        ("an id that is too large raises an IndexError, which speaks of lists. Which error does the task ask "
         "for?",
         "raise ValueError", "raise IndexError"),
    ),
)  # fmt: skip

# Symptom: emoji and letters with accents turn into replacement characters, English text is right.
DECODE = find_the_bug(
    RIGHT_DECODE,
    "tokenization.decode_tokens",
    hint="every token is read as text by itself",
    points=2,
    difficulty=1,
    minutes=8,
)
