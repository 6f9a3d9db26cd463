"""BLEU, held against sacrebleu's own outputs."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from lecture_lib.checks.chance import until
from lecture_lib.checks.exercise import Case, Exercise

STORED = Path(__file__).parents[2] / "reference" / "encoder_decoder" / "bleu.json"
NAMES = ["alors", "bleu", "chaise", "douze", "encore", "fort", "gris", "huit", "ici", "jamais", "klaxon",
         "loin", "mais", "neuf", "ou", "pain", "quand", "rien", "sous", "tard", "utile", "vert"]  # fmt: skip
NESTED = [each * n for each in ("la", "La") for n in range(1, 8)]  # every name holds another one
Corpus = Sequence[Sequence[str]]

WHAT = {
    "usual": "translations a little longer than their references",
    "shortened": "translations that stop early",
    "repeated": "runs that are said twice",
    "all_short": "no sentence has four words, so no run of four can fit",
    "tiny": "sentences shorter than four words among longer ones",
    "silent": "one translation is empty",
    "crossed": "runs that stand in the reference of another sentence only",
    "pairs_only": "runs of one and two words only",
    "hopeless": "no run of four words fits",
    "one": "a single sentence",
    "perfect": "every word right",
    "words_only": "single words only",
    "long_runs": "runs of up to six words",
    "twice": "one translation stands for two sentences",
}


@cache
def stored() -> list[dict]:
    """Read the corpora that sacrebleu has scored."""
    return json.loads(STORED.read_text(encoding="utf-8"))["corpora"]


def split(corpus: dict) -> tuple[list[list[str]], list[list[str]]]:
    """Give hypotheses and references as lists of words."""
    return tuple([text.split() for text in corpus[side]] for side in ("hypotheses", "references"))


def renamed(corpora: Sequence[Corpus], names: Sequence[str]) -> tuple[list[list[str]], ...]:
    """Exchange every word for a name, in the order in which the words come up."""
    words = dict.fromkeys(word for corpus in corpora for text in corpus for word in text)
    table = dict(zip(words, names, strict=False))
    return tuple([[table[word] for word in text] for text in corpus] for corpus in corpora)


@cache
def known_scores() -> dict[str, float]:
    """Give sacrebleu's score by what is left of a corpus when names do not matter."""
    return {repr((renamed(split(each), NAMES), each["max_n"])): each["bleu"] for each in stored()}


def sacrebleus(hypotheses: Corpus, references: Corpus, max_n: int = 4) -> float:
    """Look up what sacrebleu gave for these corpora; what words are called makes no difference to it."""
    if len(hypotheses) != len(references):
        raise ValueError("one reference for each hypothesis")
    if not any(hypotheses):  # nothing fits
        return 0.0
    return known_scores()[repr((renamed((hypotheses, references), NAMES), max_n))]


def matches(corpora: tuple, key: Callable) -> list[int]:
    """Count the runs of two words that fit, if a run is known by its key."""
    pairs = zip(*corpora, strict=True)
    counts = ([Counter(map(key, zip(text, text[1:], strict=False))) for text in pair] for pair in pairs)
    return [sum((ours & theirs).values()) for ours, theirs in counts]


def nested(rng: random.Random) -> tuple[list[list[str]], ...]:
    """Translations whose words hold one another: without capitals, and without spaces, other runs would fit."""
    corpus = split(rng.choice([each for each in stored() if each["kind"] == "usual"]))

    def holds(corpora: tuple) -> bool:
        careless = ("".join, lambda run: " ".join(run).lower())
        return matches(corpora, tuple) not in [matches(corpora, key) for key in careless]

    return until(lambda: renamed(corpus, rng.sample(NESTED, len(NESTED))), holds)


def bleu_cases(seed: int) -> list[Case]:
    """One corpus of each kind, under new names, nothing at all, and two that do not fit together."""
    rng, cases = random.Random(seed), []
    for kind, what in WHAT.items():
        corpus = rng.choice([each for each in stored() if each["kind"] == kind])
        inputs = renamed(split(corpus), rng.sample(NAMES, len(NAMES)))
        named = {} if corpus["max_n"] == 4 else {"max_n": corpus["max_n"]}
        cases.append(Case(what, inputs, named))
    return [
        *cases,
        Case("words that hold one another", nested(rng)),
        Case("an empty corpus", ([], [])),
        Case("two hypotheses without a word", ([[], []], [["oui"], ["non", "non"]])),
        Case("two hypotheses, one reference", ([["oui"], ["non"]], [["oui"]])),
        Case("one hypothesis, two references", ([["oui"]], [["oui"], ["non"]])),
    ]


RUNS = "Counter((tuple(words[i:i + n]) for i in range(len(words) - n + 1)))"

BLEU = Exercise(
    name="encoder_decoder.bleu",
    points=4, difficulty=2, minutes=25,
    against="sacrebleu's scores of the same corpora under other names",
    reference=sacrebleus,
    cases=bleu_cases,
    entry="score",
    mistakes=(
        ("a run counts as often as the hypothesis says it, though the reference has it once. How often may it count?",
         "sum((ours & theirs).values())", "sum(ours[run] for run in ours if run in theirs)"),
        ("every kind of run counts once, however often it is said. Are these sets, or counts?",
         RUNS, f"Counter(set({RUNS}))"),
        ("the matches are divided by the runs of the references: that is recall. Whose runs are judged?",
         "runs += sum(ours.values())", "runs += sum(theirs.values())"),
        ("there is no brevity penalty. What would one safe word for each sentence score?",
         "min(1.0, math.exp(1 - r / c))", "1.0"),
        ("long translations are rewarded: the factor exceeds 1. How large may it be?",
         "min(1.0, math.exp(1 - r / c))", "math.exp(1 - r / c)"),
        ("c and r are exchanged: long translations are punished. Whom does the brevity penalty hit?",
         "1 - r / c", "1 - c / r"),
        ("the brevity penalty is c / r. Which function of r / c does the formula have?",
         "math.exp(1 - r / c)", "c / r"),
        ("the brevity penalty is taken sentence by sentence. Which lengths does it compare?",
         "min(1.0, math.exp(1 - r / c))",
         "(sum(min(1.0, math.exp(1 - len(y) / len(x))) if x else 0.0 for x, y in zip(hypotheses, references)) / len(hypotheses))"),
        ("the precisions are averaged. Which mean does the formula take?",
         "mean_log += math.log(matches / runs) / max_n", "mean_log += matches / runs / max_n",
         "math.exp(mean_log)", "mean_log"),
        ("the precisions are multiplied, but no root is taken. What makes runs of one to four words one number?",
         "/ max_n", ""),
        ("the score runs from 0 to 1. Which scale is asked for?",
         "100 * min", "min"),
        ("runs of up to four words are counted whatever `max_n` says.",
         "mean_log = 0.0", "mean_log, max_n = 0.0, 4"),
        ("the fourth root is taken whatever `max_n` says. How many precisions are multiplied?",
         "/ max_n", "/ 4"),
        ("1 is added to matches and runs, so that no score is zero. Which numbers does the formula have?",
         "if matches == 0:", "matches, runs = (matches + 1, runs + 1)\n        if not any(hypotheses):"),
        ("only runs of the longest length are counted. Over which n does the mean run?",
         "range(1, max_n + 1)", "[max_n] * max_n"),
        ("a corpus without a match of some length gets a score all the same. What is a product with one factor 0?",
         "return 0.0", "continue"),
        ("a length of which no hypothesis has a run is passed over. Does anything fit there?",
         "return 0.0", "if runs:\n                return 0.0\n            continue"),
        ("the last run of each sentence is not counted. How many runs of n words have L words?",
         "len(words) - n + 1", "len(words) - n"),
        ("sentences shorter than n count as one run each. How many runs of n words have they?",
         "range(len(words) - n + 1)", "range(max(1, len(words) - n + 1))"),
        ("sentences shorter than n take runs away: a negative number of runs. How many have they?",
         "runs += sum(ours.values())", "runs += len(hypothesis) - n + 1"),
        ("only more hypotheses than references are refused. What if there are fewer?",
         "len(hypotheses) != len(references)", "len(hypotheses) > len(references)",
         "zip(hypotheses, references, strict=True)", "zip(hypotheses, references)"),
        ("the lengths are compared before it is known that there is a word: a division by 0. What is the score then?",
         "mean_log = 0.0", "mean_log, early = (0.0, sum(map(len, references)) / sum(map(len, hypotheses)))"),
        ("capital letters are made small. Which words has the reference?",
         "mean_log = 0.0", "mean_log, (hypotheses, references) = (0.0, [[[word.lower() for word in text] for text in texts] for texts in (hypotheses, references)])"),
        ("the words of a run are put together without a space: *la lala* and *lala la* are the same then. What tells words apart?",
         "tuple(words[i:i + n])", "''.join(words[i:i + n])"),
        ("all sentences are joined: runs may fit the reference of another sentence. Which reference belongs to which "
         "hypothesis?",
         "mean_log = 0.0", "mean_log, hypotheses, references = 0.0, [sum(map(list, hypotheses), [])], [sum(map(list, references), [])]"),
        ("every sentence gets its own precision, and these are averaged. What is summed before it is divided?",
         "matches += sum((ours & theirs).values())", "matches += sum((ours & theirs).values()) / max(1, sum(ours.values()))",
         "runs += sum(ours.values())", "runs += 1"),
    ),
)  # fmt: skip
