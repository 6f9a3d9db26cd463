"""From ids back to text, and tokens per word."""

import random
import re
from collections.abc import Callable, Sequence
from functools import cache

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.corpora.samples import SAMPLES
from lecture_lib.tokenization import BytePairTokenizer, WordPieceTokenizer, decode_tokens, spell

TEXTS = (
    *("naïve café 😀", "Straße über Übung", "语言模型 und Wörter", "Ωμέγα = ω", "भाषा मॉडल"),
    *("👩‍🔬 à la carte", "£5 — “so”"),
)
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
        Case(
            "a mark of byte order at the start, zero bytes at the end",
            ([0, 1, 1], [b"\xef\xbb\xbfa", b"\x00"]),
        ),
        Case("characters that spell bytes elsewhere", ([1, 0], ["Ġ▁Ċ##".encode(), "Ã©".encode()])),
        Case("a U+FFFD that is in the text", ([0, 1], ["�".encode(), b" !"])),
        Case("e and an accent as two characters, and one alone", ([1, 0, 2, 1], accent)),
        Case("a token of no bytes", ([0, 1, 0], [b"", b"a"])),
        Case("no ids", ([], letters)),
        Case("the last id of the vocabulary, as a tuple", ((7, 0, 7), letters)),
        Case("an id one beyond the vocabulary: ValueError", ([0, 8], letters)),
        Case("a negative id: ValueError", ([0, -1], letters)),
    ]


def passed_over(ids: Sequence[int], tokens: Sequence[bytes]) -> str:
    """Leave out what is in no vocabulary."""
    return decode_tokens([i for i in ids if 0 <= i < len(tokens)], tokens)


def stripped(ids: Sequence[int], tokens: Sequence[bytes]) -> str:
    """Lose white space at the ends."""
    return decode_tokens(ids, tokens).strip()


# fmt: off
DECODE_MISTAKES = (
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
)
# fmt: on

DECODE = Exercise(
    name="tokenization.decode_tokens",
    points=3,
    difficulty=2,
    minutes=10,
    against="the byte-level decoder of the tokenizers library",
    reference=library_text,
    cases=decode_cases,
    owned=("lecture_lib.tokenization.BytePairTokenizer",),
    mistakes=DECODE_MISTAKES,
)


@cache
def tokenizer(kind: str, vocab_size: int) -> object:
    """A tokenizer that a case names."""
    texts = list(SAMPLES.values())
    return (BytePairTokenizer if kind == "byte pairs" else WordPieceTokenizer).train(texts, vocab_size)


def with_tokenizer(answer: Callable, kind: str, vocab_size: int, text: str) -> object:
    """Hand over the tokenizer that a case names."""
    return answer(tokenizer(kind, vocab_size), text)


def counted(tokenizer: object, text: str) -> float:
    """Tokens by the file of the tokenizer read by `tokenizers`; words by a regular expression."""
    import json

    import tokenizers

    library = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.description))
    words = sum(1 for _ in re.finditer(r"\S+", text))
    if not words:
        raise ValueError("no word")
    return len(library.encode(text, add_special_tokens=False).ids) / words


def fertility_cases(seed: int) -> list[Case]:
    """White space of every kind, words that come back, several languages, unknown words, two kinds of tokenizer, no words."""
    draw = random.Random(seed)
    english, other = SAMPLES["english"], SAMPLES[draw.choice(["german", "french", "russian", "hindi"])]
    start = draw.randrange(20)
    words = english.split()[start : start + draw.randrange(9, 14)]
    number = draw.randrange(10, 99)
    byte_pairs, pieces = ("byte pairs", 500), ("word pieces", 700)
    return [
        Case("one word", ("byte pairs", 256, draw.choice(["river", "bridge", "boats"]))),
        Case("a sentence", (*byte_pairs, " ".join(words))),
        Case("several spaces and lines", (*byte_pairs, "  ".join(words[:4]) + "\n\n\t" + words[4] + " \n")),
        Case("a word that comes back", (*byte_pairs, "the boat, the boat and the other boat")),
        Case("signs and numbers", (*byte_pairs, f"don't pay {number}.50 (or so) -- e.g. {number}%!")),
        Case("capital letters", (*byte_pairs, english.upper())),
        Case("another language", (*byte_pairs, other)),
        Case("a space that is not the common one", (*byte_pairs, "a\u00a0river\u3000fell")),
        Case("a tokenizer that puts [CLS] and [SEP] around", (*pieces, " ".join(words[::-1]))),
        Case("the same for one word", (*pieces, words[0])),
        Case("words that become [UNK]", (*pieces, f"the {'☃' * draw.randrange(1, 4)} river ☂ {words[1]}")),
        Case("no word: ValueError", (*byte_pairs, " \n")),
        Case("nothing: ValueError", (*pieces, "")),
    ]


# fmt: off
FERTILITY_MISTAKES = (
    ("the tokens around the text are counted, too. Which argument of `encode` leaves them out?",
     ", add_special_tokens=False", ""),
    ("the ratio is upside down: words per token. Which of the two numbers is larger?",
     "(tokenizer.encode(text, add_special_tokens=False)) / len(words)",
     "(words) / len(tokenizer.encode(text, add_special_tokens=False))"),
    ("words are what lies between single spaces. How many words are between two spaces, or in two lines?",
     "(words)", "(text.split(' '))"),
    ("every word is encoded by itself, without the space before it. Is ` river` the same token as `river`?",
     "len(tokenizer.encode(text, add_special_tokens=False))",
     "sum((len(tokenizer.encode(word, add_special_tokens=False)) for word in words))"),
    ("a token that comes back is counted once. Is it the tokens or the kinds of tokens that cost?",
     "tokenizer.encode(text, add_special_tokens=False)",
     "set(tokenizer.encode(text, add_special_tokens=False))"),
    ("a word that comes back is counted once. Which words does the text hold?",
     "(words)", "(set(words))"),
    ("tokens are divided by characters. What is one word?",
     "(words)", "(text)"),
    ("the result is rounded down. Which kind of division is asked for?",
     "len(tokenizer.encode(text, add_special_tokens=False)) / len(words)",
     "float(len(tokenizer.encode(text, add_special_tokens=False)) // len(words))"),
    ("punctuation marks end words: don't is two of them. What separates words here?",
     "text.split()", "__import__('re').findall('\\\\w+', text)"),
    ("a text without words raises a ZeroDivisionError. Which error does the task ask for?",
     "not words", "False"),
)
# fmt: on

FERTILITY = Exercise(
    name="tokenization.fertility",
    points=2,
    difficulty=1,
    minutes=8,
    against="the tokenizers library, and a count of words by a regular expression",
    reference=counted,
    cases=fertility_cases,
    use=with_tokenizer,
    mistakes=FERTILITY_MISTAKES,
)
