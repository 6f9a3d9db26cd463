"""WordPiece: the longest piece that fits."""

import random
from collections.abc import Collection
from functools import cache

from lecture_lib.checks.exercise import Case, Exercise


def library_pieces(word, vocabulary, prefix="##", unknown="[UNK]") -> list[str]:
    """The WordPiece model of `tokenizers`."""
    import tokenizers

    vocab = {token: i for i, token in enumerate({*vocabulary, unknown})}
    model = tokenizers.models.WordPiece(
        vocab, unk_token=unknown, max_input_chars_per_word=10**6, continuing_subword_prefix=prefix
    )
    return [token.value for token in model.tokenize(word)]


def drawn_case(draw: random.Random, letters: str, length: int, prefix: str = "##") -> Case:
    """Draw pieces, all letters among them, and a word."""

    def piece() -> str:
        return "".join(draw.choices(letters, k=draw.randrange(1, 4)))

    vocabulary = {*letters, *(prefix + letter for letter in letters)}
    vocabulary |= {piece() for _ in range(6)} | {prefix + piece() for _ in range(8)}
    word = "".join(draw.choices(letters, k=length))
    return Case(f"a word of {length}, {len(vocabulary)} pieces", (word, vocabulary, prefix))


def longest_cases(seed: int) -> list[Case]:
    """Greedy where greedy fails, both sides of the mark, other marks and names, letters of several bytes, long words."""
    draw = random.Random(seed)
    a, b, c, d, e = draw.sample("abcdefghijkl", 5)
    trap = {a, a + b, f"##{b}{c}{d}", f"##{c}", f"##{b}", f"##{d}{e}"}
    umlauts = {"grö", "g", "##ö", "##ß", "##ße", "##er", "##r", "##中"}
    capitals = {a, f"##{b}", a.upper(), f"##{b.upper()}", f"##{c}"}
    long = {a, f"##{b}", f"##{a}", a + b * 49, f"##{a * 60}"}
    return [
        Case("the word itself is a piece", (a + b + c, {a, a + b, a + b + c, f"##{b}", f"##{c}"})),
        Case("the longest first piece", (a + b + c, {a, a + b, f"##{b}{c}", f"##{c}"})),
        Case("the greedy cut fails where another would do: unknown", (a + b + c + d, trap)),
        Case("the last letter has no piece: the whole word is unknown", (a + b + c, {a, a + b, f"##{a}"})),
        Case("the first letter has no piece", (c + a + b, {a, b, f"##{a}", f"##{b}", f"##{a}{b}"})),
        Case("a letter in the middle has no piece", (a + c + b, {a, b, f"##{a}", f"##{b}"})),
        Case("a piece for the start of words does not serve inside", (a + b, {a, b})),
        Case(
            "a piece for the inside does not serve at the start", (a + b, {f"##{a}", f"##{b}", f"##{a}{b}"})
        ),
        Case("a piece for the inside, and one to begin with", (a + b + b, {a, b, f"##{b}", f"##{b}{b}"})),
        Case("one letter", (a, {a, b})),
        Case("one unknown letter", (c, {a, b})),
        Case("the empty word", ("", {a, b})),
        Case("another prefix", (a + b + c, {a, f"@@{b}{c}", f"##{b}", f"##{c}"}, "@@")),
        Case("another prefix by name", (a + b, {a, f"+{b}", f"##{b}"}), {"prefix": "+"}),
        Case("no prefix at all", (a + b + a + b + a, {a, b, a + b, b + a}, "")),
        Case("another name for unknown", (a + e, {a, "<unk>"}), {"unknown": "<unk>"}),
        Case("letters of several bytes", ("größer中", umlauts)),
        Case("capital letters", ((a + b).upper() + c, capitals)),
        Case("a word that holds the mark", (f"{a}##{b}##", {a, "###", f"##{b}", "####", f"##{a}"})),
        Case("pieces of 50 and 60 letters", (a + b * 49 + a * 60, long)),
        Case("the pieces as a list", (a + b + c, [a, f"##{b}", f"##{b}{c}", a + b])),
        Case(
            "a dictionary and a long word",
            (a * 260, {x: i for i, x in enumerate([a, f"##{a}", f"##{a * 4}"])}),
        ),
        drawn_case(draw, a + b + c, draw.randrange(7, 12)),
        drawn_case(draw, a + b, draw.randrange(12, 20)),
        drawn_case(draw, b + c + d, draw.randrange(7, 12), "_"),
    ]


def fewest(word: str, vocabulary: Collection[str], prefix: str = "##", unknown: str = "[UNK]") -> list[str]:
    """Find the cut with the fewest pieces, by trying all."""

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


LONGEST_MATCH = Exercise(
    name="tokenization.longest_match",
    points=3, difficulty=2, minutes=15,
    against="the WordPiece model of the tokenizers library",
    reference=library_pieces,
    cases=longest_cases,
    entry="piece",
    owned=("lecture_lib.tokenization.WordPieceTokenizer",),
    mistakes=(
        ("the shortest piece is taken. From which end do you try?",
         "len(word), start, -", "start + 1, len(word) + "),
        ("pieces inside a word are looked up without their mark. What is ## for?",
         "prefix if start else ", ""),
        ("the mark is looked up also at the start of the word. Which pieces continue a word?",
         " if start else ''", ""),
        ("pieces inside a word lose their mark in the result. How would a reader tell where words begin?",
         "(mark + word[start:end])", "(word[start:end])"),
        ("a piece for the start of words serves inside, too. Is `able` the same piece as `##able`?",
         "end for end in ends if mark + word[start:end]",
         "e for e in ends if mark + word[start:e] in vocabulary or word[start:e]"),
        ("the pieces found so far are kept before the unknown rest. What becomes of the whole word?",
         "[unknown]", "[*pieces, unknown]"),
        ("a letter without a piece is skipped. What becomes of the whole word?",
         "return [unknown]", "start += 1\n            continue"),
        ("another cut is tried where the greedy one fails, or one with fewer pieces is taken. Does greedy "
         "look back?",
         fewest),
        ("the prefix is always ##. Which argument names it?",
         "prefix if start else ''", "'##' if start else ''"),
        ("unknown words are always [UNK]. Which argument names them?",
         "return [unknown]", "return ['[UNK]']"),
        ("the last letter of the word is never part of a longer piece. Where does the range of ends begin?",
         "len(word),", "max(start + 1, len(word) - 1),"),
        ("the empty word is unknown. How many pieces does it need?",
         "return pieces", "return pieces or [unknown]"),
        ("nothing comes back for a word that cannot be cut. Which token stands for it?",
         "[unknown]", "[]"),
    ),
)  # fmt: skip
