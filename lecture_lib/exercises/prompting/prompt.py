"""One text for a model to continue, against a template that is cut into pieces."""

import random
import re

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.prompting import TRANSLATIONS

ARROW = "{question} => {answer}"
UNFIT = ("Q: {answer}", "Q: {question}", "A: {answer} Q: {question}")  # a place is missing, or too early
WORDS = ("cheese", "sea otter", "the red car", "two loaves", "a plum", "rain", "my aunt", "seven birds")


def by_pieces(
    question, shots=(), instruction="", template="Q: {question}\nA: {answer}", separator="\n\n", cue=""
):
    """Fill a list of pieces block by block, and end it where the last answer begins."""
    pieces = re.split(r"(\{question\}|\{answer\})", template)
    if [each for each in pieces if each in ("{question}", "{answer}")] != ["{question}", "{answer}"]:
        raise ValueError("no place for the question, or for the answer")
    text = instruction + separator if instruction else ""
    for asked, answer in [*shots, (question, None)]:
        for piece in pieces:
            if piece == "{answer}" and answer is None:
                return re.sub(r"\s+\Z", "", text + cue)
            text += {"{question}": asked, "{answer}": answer}.get(piece, piece)
        text += separator
    raise AssertionError("the last block has no answer")


def prompt_cases(seed: int) -> list[Case]:
    """The lecture's three prompts, every argument alone and with others, braces in questions, and templates that do not fit."""
    draw = random.Random(seed)
    words = draw.sample(WORDS, 8)
    pairs = list(zip(words[:3], draw.sample(WORDS, 3), strict=True))
    french = {"instruction": "Translate English to French:", "template": ARROW, "separator": "\n"}
    tagged = "<q>{question}</q>\n<a>{answer}</a>"
    return [
        Case("zero-shot: the lecture's cheese", ("cheese",), french),
        Case("one-shot: the lecture's", ("cheese", [TRANSLATIONS[0]]), french),
        Case("few-shot: the lecture's", ("cheese", list(TRANSLATIONS)), french),
        Case("the question alone", (words[3],)),
        Case("two examples, no instruction", (words[3], pairs[:2])),
        Case("one example with an instruction", (words[3], pairs[:1], "Answer briefly.")),
        Case("a cue without examples", ("How many?",), {"cue": "Let's think step by step."}),
        Case("a cue with examples and an instruction", (words[4], pairs, "Do as shown."), {"cue": "It is"}),
        Case("a cue that ends in white space", (words[4], pairs[:2]), {"cue": "So \n"}),
        Case("text behind the answer", (words[5], pairs), {"template": tagged, "separator": "\n--\n", "cue": "yes"}),
        Case(
            "text behind the answer, no cue",
            (words[5], pairs[:1]),
            {"template": "<{question}|{answer}>", "separator": ""},
        ),
        *as_they_are(words, pairs),
        Case("an example twice", (words[7], [pairs[0], pairs[1], pairs[0]])),
        *(Case(f"{template!r}: ValueError", (words[0],), {"template": template}) for template in UNFIT),
    ]  # fmt: skip


def as_they_are(words: list[str], pairs: list[tuple[str, str]]) -> list[Case]:
    """Braces, backslashes and white space, which nobody may change."""
    return [
        Case("braces in questions and answers", ("what is {answer}?", [("f{x}", "{question}"), ("{answer}", "{}")])),
        Case(
            "white space at the ends of examples is kept",
            (words[6], [(" a ", "b \n"), ("c", " d ")]),
            {"separator": "|"},
        ),
        Case(
            "a template that begins with white space",
            (words[6], pairs[:1]),
            {"template": "  {question}\t{answer}", "separator": "\n\n\n"},
        ),
        Case(
            "an instruction with white space at its ends",
            (words[5], pairs[:1], "\tTranslate: \n"),
            {"separator": " "},
        ),
        Case("backslashes", (r"what is \alpha \1?", [(r"\n", r"\g<0> \d")])),
    ]  # fmt: skip


OPENED = "(before + question + between + cue).rstrip()"
JOINED = "[*([instruction] if instruction else []), *solved, opened]"

PROMPT = Exercise(
    name="prompting.build_prompt",
    points=2, difficulty=1, minutes=15,
    against="a template cut into pieces, block by block",
    reference=by_pieces,
    cases=prompt_cases,
    entry="character",
    mistakes=(
        ("the prompt ends in white space: most tokenizers give the answer's first word its own leading space. What should be taken off?",
         ".rstrip()", ""),
        ("only spaces are taken off the end. Which other characters are white space?", ".rstrip()", ".rstrip(' ')"),
        ("white space is taken off the beginning as well. Which end of the prompt does the task speak of?", ".rstrip()", ".strip()"),
        ("what the template has behind the answer is written too, and the model finds its answer closed. Where does its part begin?",
         "between + cue)", "between + cue + after)"),
        ("what the template has behind the answer is missing in the examples. What is a whole example?",
         "answer + after for", "answer for"),
        ("the examples stand in reverse. Which one comes first?", "in shots]", "in reversed(shots)]"),
        ("only the first example is shown. How many shots were given?", "in shots]", "in shots[:1]]"),
        ("every example occurs once, however often it was given. May a pair be repeated?",
         "in shots]", "in dict.fromkeys(map(tuple, shots))]"),
        ("the instruction stands behind the examples. What does a model read first?",
         JOINED, "[*solved, *([instruction] if instruction else []), opened]"),
        ("an empty instruction leaves a separator at the start. What should an empty one leave?",
         "([instruction] if instruction else [])", "[instruction]"),
        ("there is no instruction unless there are examples. What does zero-shot have?",
         "([instruction] if instruction else [])", "([instruction] if instruction and shots else [])"),
        ("the cue is left out. How does the answer begin?", "between + cue)", "between)"),
        ("the cue begins every example's answer too. Whose answer should it begin?",
         "between + answer", "between + cue + answer"),
        ("the separator is always a blank line. Which argument says what stands between the blocks?",
         "separator.join", "'\\n\\n'.join"),
        ("questions and answers of the examples change places. Which comes first in a pair?",
         "for asked, answer in shots", "for answer, asked in shots"),
        ("the examples' answers are missing: the model sees three questions. What is it to learn from?",
         "between + answer + after", "between"),
        ("the question is filled in before the template is cut, so a brace in it is taken for a place. What may a question contain?",
         OPENED, "(before + question + between).replace('{answer}', '').rstrip() + cue.rstrip()"),
    ),
)  # fmt: skip
