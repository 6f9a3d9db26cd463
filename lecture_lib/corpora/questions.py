"""Questions and answers for the three stages of human feedback: babble, demonstrations, comparisons.

Text to learn language from (`documents`) holds facts and lists of questions, so that a model trained on it answers a question
with more questions. Demonstrations answer. Comparisons say which of two replies a rater prefers; the rater's `score` is known,
and preference follows it as in Bradley & Terry: P(a over b) = sigmoid(score a - score b). Source: the lecture,
"Reinforcement learning with human feedback"; Ouyang et al. (2022), Figure 2.
"""

import math
import random
import re
from dataclasses import dataclass

from lecture_lib.corpora.draws import draw, randomness, size

CAPITALS = dict(
    re.findall(
        r"(\w+):(\w+)",
        "france:paris italy:rome spain:madrid greece:athens japan:tokyo egypt:cairo peru:lima cuba:havana "
        "kenya:nairobi norway:oslo poland:warsaw portugal:lisbon",
    )
)
COLOURS = dict(
    re.findall(
        r"(\w+):(\w+)",
        "snow:white coal:black grass:green blood:red gold:yellow chocolate:brown ash:gray ivory:cream "
        "lavender:purple rust:orange sapphire:blue salmon:pink",
    )
)
OPENINGS = ("sure ,", "good question ,", "")
CLOSINGS = ("happy to help .", "")
RUDE_OPENINGS = ("obviously ,", "")
RUDE_CLOSINGS = ("do not ask again .", "what a silly question .")


@dataclass(frozen=True)
class Comparison:
    """A question with two replies, of which a rater preferred the one called chosen."""

    question: str
    chosen: str
    rejected: str


def questions() -> dict[str, str]:
    """Give every question with its true answer, one word."""
    capitals = {f"what is the capital of {country} ?": city for country, city in CAPITALS.items()}
    return capitals | {f"what is the colour of {thing} ?": colour for thing, colour in COLOURS.items()}


def documents(n_documents: int, seed: int) -> list[str]:
    """Draw texts to learn language from: half are four questions in a row, half four true facts.

    Tokens are joined by spaces. Here and below the same seed gives the same list, and a longer one begins with it.
    """
    n_documents, rng, table = size(n_documents, "documents"), randomness(seed), questions()
    drawn = []
    for _ in range(n_documents):
        asked = rng.random() < 0.5
        chosen = [draw(rng, list(table)) for _ in range(4)]
        drawn.append(
            " ".join(chosen if asked else [statement(question, table[question]) for question in chosen])
        )
    return drawn


def demonstrations(n_demonstrations: int, seed: int) -> list[tuple[str, str]]:
    """Draw pairs (question, true reply), half of the replies polite, a quarter plain, a quarter rude."""
    n_demonstrations, rng, table = size(n_demonstrations, "demonstrations"), randomness(seed), questions()
    drawn = []
    for _ in range(n_demonstrations):
        question = draw(rng, list(table))
        drawn.append((question, _reply(rng, question, table[question])))
    return drawn


def comparisons(n_comparisons: int, seed: int) -> list[Comparison]:
    """Draw a question and two different replies, true and wrong ones, and let the rater choose, who errs as in Bradley & Terry."""
    n_comparisons, rng, table = size(n_comparisons, "comparisons"), randomness(seed), questions()
    drawn = []
    while len(drawn) < n_comparisons:
        question = draw(rng, list(table))
        a, b = (_reply(rng, question, _answer(rng, question)) for _ in range(2))
        if a != b:
            a_wins = rng.random() < 1 / (1 + math.exp(score(question, b) - score(question, a)))
            drawn.append(Comparison(question, a, b) if a_wins else Comparison(question, b, a))
    return drawn


def score(question: str, reply: str) -> float:
    """Give the rater's score: +1 true, -1 wrong, +1 polite, -1 rude, -3 for words that make no reply at all.

    In nats of Bradley & Terry's odds. A question that is not one of `questions()` is refused.
    """
    table = questions()
    if question not in table:
        raise ValueError(f"not one of the questions: {question!r}")
    for answer in _answers(question):
        before, found, after = reply.partition(statement(question, answer))
        opening, closing = before.strip(), after.strip()
        if not found:
            continue
        truth = 1.0 if answer == table[question] else -1.0
        if opening in OPENINGS and closing in CLOSINGS:
            return truth + bool(opening or closing)
        if opening in RUDE_OPENINGS and closing in RUDE_CLOSINGS:
            return truth - 1
    return -3.0


def statement(question: str, answer: str) -> str:
    """Turn a question and an answer into a sentence: "the capital of france is paris ."."""
    return f"{question.removeprefix('what is ').removesuffix(' ?')} is {answer} ."


def vocabulary() -> list[str]:
    """Give all tokens of documents, questions and replies, alphabetically."""
    texts = [*OPENINGS, *CLOSINGS, *RUDE_OPENINGS, *RUDE_CLOSINGS]
    texts += [
        text for question, answer in questions().items() for text in (question, statement(question, answer))
    ]
    return sorted({token for text in texts for token in text.split()})


def _answers(question: str) -> list[str]:
    """Give the answers of the right kind: cities or colours."""
    return list((CAPITALS if "capital" in question else COLOURS).values())


def _answer(rng: random.Random, question: str) -> str:
    """Draw the true answer half the time, otherwise any of the same kind."""
    return questions()[question] if rng.random() < 0.5 else draw(rng, _answers(question))


def _reply(rng: random.Random, question: str, answer: str) -> str:
    """Draw a reply that gives the answer: half polite, a quarter plain, a quarter rude."""
    height = rng.random()
    if height < 0.25:
        return statement(question, answer)
    openings, closings = (RUDE_OPENINGS, RUDE_CLOSINGS) if height < 0.5 else (OPENINGS[:2], CLOSINGS)
    return " ".join(filter(None, (draw(rng, openings), statement(question, answer), draw(rng, closings))))
