"""WordPiece: the longest piece that fits."""

import random
from collections.abc import Callable, Collection
from functools import cache

from tokenizers import models

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered
from lecture_lib.tokenization import longest_match


def _library_pieces(
    word: str, vocabulary: Collection[str], prefix: str = "##", unknown: str = "[UNK]"
) -> list[str]:
    """The WordPiece model of `tokenizers`."""
    vocab = {token: i for i, token in enumerate({*vocabulary, unknown})}
    model = models.WordPiece(
        vocab, unk_token=unknown, max_input_chars_per_word=10**6, continuing_subword_prefix=prefix
    )
    return [token.value for token in model.tokenize(word)]


def _drawn_case(draw: random.Random, letters: str, length: int, prefix: str = "##") -> Case:
    def piece() -> str:
        return "".join(draw.choices(letters, k=draw.randrange(1, 4)))

    vocabulary = {*letters, *(prefix + letter for letter in letters)}
    vocabulary |= {piece() for _ in range(6)} | {prefix + piece() for _ in range(8)}
    word = "".join(draw.choices(letters, k=length))
    return Case(f"a word of {length}, {len(vocabulary)} pieces", (word, vocabulary, prefix))


def _longest_cases(seed: int) -> list[Case]:
    draw = random.Random(seed)
    a, b, c, d, e = draw.sample("abcdefghijkl", 5)
    trap = {a, a + b, f"##{b}{c}{d}", f"##{c}", f"##{b}", f"##{d}{e}"}
    return [
        Case("the word itself is a piece", (a + b + c, {a, a + b, a + b + c, f"##{b}", f"##{c}"})),
        Case("the longest first piece", (a + b + c, {a, a + b, f"##{b}{c}", f"##{c}"})),
        Case("the greedy cut fails where another would do: unknown", (a + b + c + d, trap)),
        Case("the last letter has no piece: the whole word is unknown", (a + b + c, {a, a + b, f"##{a}"})),
        Case("the first letter has no piece", (c + a + b, {a, b, f"##{a}", f"##{b}", f"##{a}{b}"})),
        Case("a piece for the start of words does not serve inside", (a + b, {a, b})),
        Case(
            "a piece for the inside does not serve at the start", (a + b, {f"##{a}", f"##{b}", f"##{a}{b}"})
        ),
        Case("a piece for the inside, and one to begin with", (a + b + b, {a, b, f"##{b}", f"##{b}{b}"})),
        Case("one letter", (a, {a, b})),
        Case("one unknown letter", (c, {a, b})),
        Case("the empty word", ("", {a, b})),
        Case("another prefix", (a + b + c, {a, f"@@{b}{c}", f"##{b}", f"##{c}"}, "@@")),
        Case("no prefix at all", (a + b + a + b + a, {a, b, a + b, b + a}, "")),
        Case("another name for unknown", (a + e, {a, "<unk>"}), {"unknown": "<unk>"}),
        Case(
            "letters of several bytes",
            ("größer中", {"grö", "g", "##ö", "##ß", "##ße", "##er", "##r", "##中"}),
        ),
        Case("capital letters", ((a + b).upper() + c, {a, f"##{b}", a.upper(), f"##{b.upper()}", f"##{c}"})),
        Case(
            "a piece of nine letters", (a + b * 8 + a * 9, {a, f"##{b}", f"##{a}", a + b * 8, f"##{a * 9}"})
        ),
        Case(
            "a dictionary and a long word",
            (a * 260, {token: i for i, token in enumerate([a, f"##{a}", f"##{a * 4}"])}),
        ),
        _drawn_case(draw, a + b + c, draw.randrange(7, 12)),
        _drawn_case(draw, a + b, draw.randrange(12, 20)),
        _drawn_case(draw, b + c + d, draw.randrange(7, 12), "_"),
    ]


def _fewest(word: str, vocabulary: Collection[str], prefix: str = "##", unknown: str = "[UNK]") -> list[str]:
    """The cut with the fewest pieces, by trying all."""

    @cache
    def cut(start: int) -> tuple[str, ...] | None:
        if start == len(word):
            return ()
        mark, found = prefix if start else "", []
        for end in range(len(word), start, -1):
            rest = cut(end) if mark + word[start:end] in vocabulary else None
            if rest is not None:
                found.append((mark + word[start:end], *rest))
        return min(found, key=len, default=None)

    pieces = cut(0)
    return [unknown] if pieces is None else list(pieces)


def _changed(**changes: object) -> Callable:
    """The right function called with an argument set firmly."""

    def match(
        word: str, vocabulary: Collection[str], prefix: str = "##", unknown: str = "[UNK]"
    ) -> list[str]:
        arguments = {"prefix": prefix, "unknown": unknown} | changes
        return longest_match(word, vocabulary, **arguments)

    return match


FOUND = "(end for end in ends if mark + word[start:end] in vocabulary)"
LONGEST_MATCH = Exercise(
    name="tokenization.longest_match",
    points=3,
    difficulty=2,
    minutes=15,
    against="the WordPiece model of the tokenizers library",
    reference=_library_pieces,
    cases=_longest_cases,
    kernels=("tokenize", "encode", "encode_batch", "encode_batch_fast"),
    owned=("lecture_lib.tokenization.WordPieceTokenizer",),
    mistakes=(
        Mistake(
            "the shortest piece is taken. From which end do you try?",
            altered(longest_match, ("range(len(word), start, -1)", "range(start + 1, len(word) + 1)")),
        ),
        Mistake(
            "pieces inside a word are looked up without their mark. What is ## for?",
            altered(longest_match, ('prefix if start else ""', '""')),
        ),
        Mistake(
            "the mark is looked up also at the start of the word. Which pieces continue a word?",
            altered(longest_match, ('prefix if start else ""', "prefix")),
        ),
        Mistake(
            "pieces inside a word lose their mark in the result. How would a reader tell where words begin?",
            altered(
                longest_match, ("pieces.append(mark + word[start:end])", "pieces.append(word[start:end])")
            ),
        ),
        Mistake(
            "a piece for the start of words serves inside, too. Is `able` the same piece as `##able`?",
            altered(
                longest_match,
                (
                    FOUND,
                    "(e for e in ends if mark + word[start:e] in vocabulary or word[start:e] in vocabulary)",
                ),
            ),
        ),
        Mistake(
            "the pieces found so far are kept before the unknown rest. What becomes of the whole word?",
            altered(longest_match, ("return [unknown]", "return [*pieces, unknown]")),
        ),
        Mistake(
            "a letter without a piece is skipped. What becomes of the whole word?",
            altered(longest_match, ("return [unknown]", "start += 1\n            continue")),
        ),
        Mistake(
            "another cut is tried where the greedy one fails, or one with fewer pieces is taken. Does greedy look back?",
            _fewest,
        ),
        Mistake("the prefix is always ##. Which argument names it?", _changed(prefix="##")),
        Mistake("unknown words are always [UNK]. Which argument names them?", _changed(unknown="[UNK]")),
        Mistake(
            "the last letter of the word is never part of a longer piece. Where does the range of ends begin?",
            altered(
                longest_match,
                ("range(len(word), start, -1)", "range(max(start + 1, len(word) - 1), start, -1)"),
            ),
        ),
        Mistake(
            "the empty word is unknown. How many pieces does it need?",
            lambda word, *rest, **named: (
                longest_match(word, *rest, **named) or [named.get("unknown", "[UNK]")]
            ),
        ),
        Mistake(
            "nothing comes back for a word that cannot be cut. Which token stands for it?",
            altered(longest_match, ("return [unknown]", "return []")),
        ),
    ),
)
