"""The chain rule: the log-probability of a text, word by word."""

import math
import random
from collections.abc import Callable
from fractions import Fraction

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise

LECTURE = ["It", "takes", "great", "courage", "to", "let", "yourself", "appear", "weak"]


def speaker(seed: int, vocabulary: list[str]) -> Callable[[list[str]], dict[str, float]]:
    """A language model whose answer depends on every word before, and on their order."""

    def next_probabilities(before: list[str]) -> dict[str, float]:
        draw = random.Random(f"{seed} {list(before)}")
        weights = {word: 0.02 + draw.random() ** 2 for word in vocabulary}
        return {word: weight / sum(weights.values()) for word, weight in weights.items()}

    return next_probabilities


def use_text(answer: Callable, seed: int, vocabulary: list[str], words: list[str]) -> object:
    """Hand over the model that a case describes."""
    return answer(speaker(seed, vocabulary), words)


def text_cases(seed: int) -> list[Case]:
    """The lecture's sentence, short texts and one of 500 words, words that come again, a word that cannot come."""
    draw = Draw(seed)

    def case(what: str, words: list[str], vocabulary: list[str]) -> Case:
        return Case(what, (draw.size(0, 10**6), sorted(vocabulary), words))

    few = [f"w{i}" for i in range(draw.size(4, 6))]
    again = [few[i] for i in draw.ids(7, below=3)]
    long = [few[i] for i in draw.ids(500, below=len(few))]
    place = draw.size(1, 7)
    strange = [*LECTURE[:place], "xyzzy", *LECTURE[place + 1 :]]
    return [
        case("a text of one word", ["w1"], few),
        case("a text of two words", ["w2", "w0"], few),
        case("no words at all", [], few),
        case("the lecture's sentence", LECTURE, LECTURE),
        case("the same sentence, another model", LECTURE, [*LECTURE, "strong", "a"]),
        case("seven words, some of them twice", again, few),
        case("500 words", long, few),
        case(f"word {place} is one that the model gives no probability", strange, LECTURE),
    ]


def exact_product(next_probabilities: Callable, words: list[str]) -> float:
    """Multiply exact fractions, which do not underflow, and take one logarithm."""
    product = Fraction(1)
    for n in range(len(words)):
        product *= Fraction(next_probabilities(words[:n]).get(words[n], 0))
    return math.log(product.numerator) - math.log(product.denominator) if product else -math.inf


def text_log_probability(next_probabilities: Callable, words: list[str]) -> float:
    """Add the logarithms of the factors; the mistakes below are changes of these lines."""
    total = 0.0
    for n, word in enumerate(words):
        p = next_probabilities(words[:n]).get(word, 0.0)
        total += math.log(p) if p > 0 else -math.inf
    return total


TEXT = Exercise(
    name="decoder.text_log_probability",
    points=2, difficulty=1, minutes=10,
    against="the product of exact fractions, which cannot underflow (1e-9)",
    reference=exact_product,
    right=text_log_probability,
    cases=text_cases,
    use=use_text,
    mistakes=(
        ("the first word is not counted. Which factor of the lecture's product has no condition?",
         "n, word in enumerate(words)", "n, word in list(enumerate(words))[1:]"),
        ("the last word is not counted. How many factors has a text of N words?",
         "n, word in enumerate(words)", "n, word in list(enumerate(words))[:-1]"),
        ("the model is shown the word that it should predict. Where does `words[:n]` end?",
         "words[:n]", "words[:n + 1]"),
        ("the model is shown the last word only. What stands right of the bar in Pr(great | It takes)?",
         "words[:n]", "words[max(n - 1, 0):n]"),
        ("the model is never shown a word. What stands right of the bar in Pr(great | It takes)?",
         "words[:n]", "[]"),
        ("the word just before is not shown. Which words come before word n, counted from 0?",
         "words[:n]", "words[:max(n - 1, 0)]"),
        ("the words so far are handed over as one string. What does `next_probabilities` take?",
         "words[:n]", "' '.join(words[:n])"),
        ("the whole text is shown at every place. What is a word allowed to depend on?",
         "words[:n]", "words"),
        ("the probabilities are multiplied first: 500 factors are smaller than the smallest float, and "
         "the logarithm is taken of 0. Which sum is the logarithm of a product?",
         "total = 0.0", "total = 1.0", "total += math.log(p) if p > 0 else -math.inf", "total *= p",
         "return total", "return math.log(total) if total > 0 else -math.inf"),
        ("the probabilities are added, not their logarithms.",
         "math.log(p) if p > 0 else -math.inf", "p"),
        ("the result is the mean over the words. Is the probability of a text a mean?",
         "return total", "return total / max(len(words), 1)"),
        ("this is the probability itself. What is asked for of it?",
         "return total", "return math.exp(total) if total > -math.inf else total"),
        ("the sign is turned round. Is the logarithm of a number below 1 positive?",
         "return total", "return -total"),
        ("the logarithms have base 2. Which unit is asked for?",
         "math.log(p)", "math.log2(p)"),
        ("a word without probability gets a small one. How probable is a text with an impossible word?",
         "math.log(p) if p > 0 else -math.inf", "math.log(max(p, 1e-12))"),
        ("a word without probability is passed over. How probable is a text with an impossible word?",
         "else -math.inf", "else 0.0"),
    ),
)  # fmt: skip
