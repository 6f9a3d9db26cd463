"""The likeliest cut of Unigram, held against the tokenizers library."""

import math
import random
from collections.abc import Mapping

from lecture_lib.checks.chance import until
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.tokenization import best_cut

LogProbs = Mapping[str, float]


def library_pieces(text: str, log_probs: LogProbs) -> list[str]:
    """The Unigram model of `tokenizers` (written in Rust); what it cannot cut is refused."""
    import tokenizers

    if not log_probs:
        if text:
            raise ValueError("no pieces")
        return []
    model = tokenizers.models.Unigram([("\0", -1e6), *log_probs.items()], 0, False)  # id 0 stands for unknown
    tokens = model.tokenize(text)
    if any(token.id == 0 for token in tokens):
        raise ValueError("no cut into pieces of the vocabulary")
    return [token.value for token in tokens]


def drawn_case(draw: random.Random, letters: str, length: int, pieces: int, rare: float = 1.0) -> Case:
    """Draw pieces, all letters among them, and a text that the longest piece first cuts less likely; `rare` scales ln p."""

    def call() -> tuple:
        drawn = {"".join(draw.choices(letters, k=draw.randrange(2, 5))) for _ in range(pieces)}
        drawn = {each for each in drawn if each not in (each + each)[1:-1]}  # aa·a and a·aa would be equal
        whole = sorted({*letters, *drawn})
        log_probs = {piece: -rare * draw.uniform(1, 4) * len(piece) ** 0.6 for piece in whole}
        return "".join(draw.choices(letters, k=length)), log_probs

    def bites(call: tuple) -> bool:
        return ways(*call) == 1 and best_cut(*call) not in (longest_first(*call), likeliest_first(*call))

    text, log_probs = until(call, bites)
    return Case(f"a text of {length}, {len(log_probs)} pieces", (text, log_probs))


def drawn_cases(draw: random.Random, a: str, b: str, c: str, d: str) -> list[Case]:
    """No text, no pieces; short texts and long ones."""
    return [
        Case("an empty text", ("", {a: -3.0})),
        Case("no pieces: ValueError", (a + b, {})),
        drawn_case(draw, a + b + c, 9, 6),
        drawn_case(draw, a + b, 14, 8),
        drawn_case(draw, a + b + c, 60, 14),
        drawn_case(draw, a + b + c + d, 300, 20),
        drawn_case(draw, a + b + d, 300, 12, rare=6.0),  # e to the sum of its ln p is no float
    ]


def ways(text: str, log_probs: LogProbs) -> int:
    """Count the cuts that are as likely as the likeliest, or differ from it by rounding alone."""
    best, counts = [0.0], [1]
    for end in range(1, len(text) + 1):
        reached = [
            (best[start] + log_probs[text[start:end]], counts[start])
            for start in range(end)
            if text[start:end] in log_probs
        ]
        best.append(max((score for score, _ in reached), default=-math.inf))
        counts.append(sum(count for score, count in reached if score >= best[-1] - 1e-6))
    return counts[-1]


def cut_cases(seed: int) -> list[Case]:
    """Where the longest piece, the likeliest piece and the fewest pieces are wrong; no cut; one letter; a long text."""
    draw = random.Random(seed)
    a, b, c, d = draw.sample("abcdefghijklm", 4)
    letters = {each: -3.0 - i / 8 for i, each in enumerate((a, b, c, d))}
    low = {a + b + c: -2.3, d + a: -2.5, a + b + c + d: -3.9, a: -3.0}
    return [
        Case("the longest piece first is less likely", (a + b + c + d + a, low)),
        Case("two pieces or one", (a + b, letters | {a + b: -4.0})),
        Case("three unlikely letters against one piece that is less likely", (a + b + c, letters | {a + b + c: -20.0})),
        Case(
            "the likeliest first piece leads to a bad rest",
            (a + b + c, {a: -0.5, a + b: -3.0, c: -1.0, b + c: -9.0}),
        ),
        Case("the only cut looks back", (a + b + c, {a: -1.0, a + b: -0.5, b + c: -6.0})),
        Case("no cut: ValueError", (a + b + c, {a: -1.0, b: -1.5, a + b: -2.0})),
        Case("the last letter alone has no piece", (a + b + c, {a: -1.0, b + c: -7.0, a + b: -0.1})),
        Case("one letter", (a, letters)),
        Case("one letter without a piece: ValueError", (a, {b: -1.0})),
        Case(
            "letters of several bytes",
            ("größer", {"g": -3.0, "r": -3.2, "ö": -4.0, "ß": -4.1, "e": -2.0, "öß": -5.5}),
        ),
        Case("a piece of fifty letters", (a + b * 49 + c, letters | {a + b * 49: -9.0, b * 49 + c: -9.5, b * 4: -7.0})),
        Case("a space is a character", (f"{a} {b}", {a: -1.0, f"{a} ": -3.0, f" {b}": -1.2, " ": -2.0, b: -1.5})),
        Case(
            "spaces at both ends, a capital letter",
            (f" {a.upper()} ", {a: -1.0, a.upper(): -3.0, " ": -2.0, f"{a} ": -1.5}),
        ),
        Case("a piece that is certain: ln p = 0", (a + a, {a: 0.0})),
        *drawn_cases(draw, a, b, c, d),
    ]  # fmt: skip


def longest_first(text: str, log_probs: LogProbs) -> list[str]:
    """Take the longest piece from the left, as WordPiece does."""
    return _from_the_left(text, log_probs, lambda piece: len(piece))


def likeliest_first(text: str, log_probs: LogProbs) -> list[str]:
    """Take the likeliest piece from the left."""
    return _from_the_left(text, log_probs, lambda piece: log_probs[piece])


def _from_the_left(text: str, log_probs: LogProbs, key: object) -> list[str]:
    pieces = []
    while text:
        fitting = [piece for piece in log_probs if text.startswith(piece)]
        if not fitting:
            raise ValueError("no piece fits")
        pieces.append(max(fitting, key=key))
        text = text[len(pieces[-1]) :]
    return pieces


def fewest(text: str, log_probs: LogProbs) -> list[str]:
    """Take the cut with the fewest pieces, of equals the likeliest."""
    return best_cut(text, {piece: value - 1e4 for piece, value in log_probs.items()})


def multiplied(text: str, log_probs: LogProbs) -> list[str]:
    """Compare products of probabilities: that of a long text is 0."""
    best = [(1.0, [])]
    for end in range(1, len(text) + 1):
        cuts = [
            (best[start][0] * math.exp(log_probs[text[start:end]]), [*best[start][1], text[start:end]])
            for start in range(end)
            if text[start:end] in log_probs
        ]
        best.append(max(cuts, default=(0.0, [])))
    if not best[-1][0]:
        raise ValueError("no cut")
    return best[-1][1]


BEST_CUT = Exercise(
    name="tokenization.best_cut",
    points=5, difficulty=3, minutes=25,
    against="the Unigram model of the tokenizers library",
    reference=library_pieces,
    cases=cut_cases,
    entry="piece",
    mistakes=(
        ("the longest piece is taken from the left. Does the longest first piece belong to the likeliest "
         "cut?",
         longest_first),
        ("the likeliest piece is taken from the left. What if it leaves a bad rest?", likeliest_first),
        ("the cut with the fewest pieces is taken. What is compared: numbers of pieces, or sums of ln p?",
         fewest),
        (
            "the least likely cut is taken. Which sum is the best: the largest or the smallest?",
            "max(cuts, default=(-math.inf, 0))",
            "min((c for c in cuts if c[0] > -math.inf), default=(-math.inf, 0))",
        ),
        ("only the last piece counts, not what stands before it. Which sum belongs to a whole beginning of "
         "the text?",
         "best[start][0] + log_probs", "min(best[start][0], 0) * 1e-9 + log_probs"),
        ("the pieces come out in reverse order. From which end do you walk back?", "pieces[::-1]", "pieces"),
        ("pieces of the greatest length are never tried. Where does the range of starts begin?",
         "end - longest", "end - longest + 1"),
        ("probabilities are multiplied: for a long text the product is too small for a float and becomes 0. "
         "What is the logarithm of a product?",
         multiplied),
        ("pieces of more than 16 letters are never tried. How long may a piece be?",
         "max(map(len, log_probs), default=0)", "min(16, max(map(len, log_probs), default=0))"),
        ("a text that cannot be cut gets no ValueError. What is the sum of ln p of no cut at all?",
         "best[-1][0] == -math.inf", "False"),
    ),
)  # fmt: skip
