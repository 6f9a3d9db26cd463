"""The number in an answer, against a scanner that reads one character after the other."""

import random

from lecture_lib.checks.exercise import Case, Exercise

MARKER = "the answer is"
DIGITS = "0123456789"


def by_scanning(text: str, marker: str | None = None) -> float | None:
    """Read from left to right, without regular expressions."""
    if marker:
        place = text.lower().rfind(marker.lower())
        if place < 0:
            return None
        text = text[place + len(marker) :]
    numbers, i = [], 0
    while i < len(text):
        end = _end_of_number(text, i)
        if end > i and not (i and _in_word(text[i - 1])):
            sign = -1.0 if _sign(text, i) in ("-", "−") else 1.0
            numbers.append(sign * float(text[i:end].replace(",", "")))
            i = end
        else:
            i += 1
    return (numbers[0] if marker else numbers[-1]) if numbers else None


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _run(text: str, i: int) -> int:
    """Where the digits that begin at i end."""
    while i < len(text) and text[i] in DIGITS:
        i += 1
    return i


def _end_of_number(text: str, i: int) -> int:
    """Where the number that begins at i ends; i itself if there is none."""
    end = _run(text, i)
    if 0 < end - i <= 3:
        while text[end : end + 1] == "," and _run(text, end + 1) == end + 4:
            end += 4
    if text[end : end + 1] == "." and _run(text, end + 1) > end + 1:
        return _run(text, end + 1)
    return end


def _sign(text: str, i: int) -> str:
    """The sign that belongs to the number at i, or nothing."""
    at = i - 2 if i >= 2 and text[i - 1] in "$€£" else i - 1
    if at < 0 or text[at] not in "-−+":
        return ""
    before = text[at - 1] if at else " "
    return "" if _in_word(before) or before in ")]" else text[at]


def signed_texts(a: int, b: int, c: int, cents: str) -> dict[str, str]:
    """Texts with signs, by what stands before the sign."""
    return {
        "a minus": f"It fell to -{a} degrees",
        "a long minus": f"It fell to −{a}.",
        "a plus": f"The change is +{a}",
        "a minus between two numbers": f"{a}-{b}",
        "a long minus between two numbers": f"{a}−{b}.5",
        "a minus behind a bracket": f"({a})-{b}",
        "a minus behind a square bracket": f"[{a}]-{b}",
        "a minus behind an underscore": f"x_-{a}",
        "a minus before decimals without a zero": f"It fell to -.{cents}",
        "a minus behind a sign of money": f"Her balance is $-{a}",
        "a minus behind a letter": f"room B-{a}",
        "a minus with a space": f"{b} - {a}",
        "a minus behind an equal sign": f"{a}-{b}=-{c}",
        "a minus in brackets": f"the sum is (-{a})",
    }


def plain_texts(draw: random.Random) -> dict[str, str]:
    """Texts without a marker, by what is in them."""
    a, b, c = draw.sample(range(12, 99), 3)
    thousands, cents = f"{draw.randrange(2, 99)},{draw.randrange(100, 999)}", f"{draw.randrange(11, 99)}"
    return {
        "the last number": f"{a} + {b} = {c}, so it is {c + 1}.",
        "one digit and a dot": f"They have {draw.randrange(1, 9)}.",
        "a comma between thousands": f"It costs {thousands} in all",
        "two commas and decimals": f"so 1,{draw.randrange(100, 999)},{draw.randrange(100, 999)}.{cents}.",
        "a comma behind four digits": f"It was in 20{a},{draw.randrange(100, 999)}",
        "five digits and no comma": f"It is {a}{c}7",
        "a comma behind decimals": f"Take {a}.5,{b}",
        "numbers with a comma and no group of three": f"Take {a},{b}",
        "a comma and four digits": f"It is 1,{a}{b}",
        "a list with commas": f"They are {a}, {b}, {c}, and no more",
        "decimals": f"about {a}.{cents}, I think",
        "decimals without a zero": f"a probability of .{cents}",
        **signed_texts(a, b, c, cents),
        "money": f"She pays ${thousands}.{cents}.",
        "negative money": f"He has -${a}",
        "negative euros": f"a loss of −€{thousands}",
        "negative pounds": f"a loss of −£{thousands}",
        "digits inside a word": f"{a} litres of H2O and CO2_4",
        "two digits behind a letter": f"{a} people in room K{b}",
        "digits behind a Greek letter": f"{a} nm for λ{b}",
        "a unit without a space": f"It weighs {a}kg",
        "zero": f"From {a} there are 0 left.",
        "no number": "I do not know.",
        "no text": "",
    }


def marked_texts(draw: random.Random) -> dict[str, str]:
    """Texts to be read behind the marker, by what is in them."""
    a, b, c = draw.sample(range(12, 99), 3)
    thousands = f"{draw.randrange(2, 99)},{draw.randrange(100, 999)}"
    return {
        "the lecture's chain of thought": "The cafeteria had 23 apples originally. They used 20 to make lunch. So they had "
        "23 - 20 = 3. They bought 6 more apples, so they have 3 + 6 = 9. The answer is 9.",
        "small letters, and more behind it": f"the answer is {a} . {b} - {c} = 7",
        "capital letters": f"{b}. THE ANSWER IS {a}!",
        "twice: the last time counts": f"The answer is {a}. No: the answer is {b}, not {c}.",
        "twice, the last time without a number": f"The answer is {a}. But no: the answer is unknown.",
        "in another line": f"{b} and {c}: The Answer Is\n{a}\n{c}",
        "words between": f"The answer is certainly -{thousands} apples of {c}.",
        "no marker, but numbers": f"It is {a}.",
        "the marker without a number": f"From {a} and {b}: the answer is unknown",
        "decimals behind it": f"The answer is {a}.{c} km, not {b}.",
        "the number in the sentence behind it": f"The answer is easy. They have {a} of {b}.",
        "the marker, then zero": f"So {a} - {a}. The answer is 0.",
    }


def extraction_cases(seed: int) -> list[Case]:
    """The lecture's answers; signs, commas, decimals, money, words; markers once, twice, in capitals, missing; nothing at all."""
    draw = random.Random(seed)
    a, b, c = draw.sample(range(12, 99), 3)
    return [
        *(Case(f"{what}: {text!r}", (text,)) for what, text in plain_texts(draw).items()),
        *(Case(f"marker, {what}: {text!r:.60}", (text, MARKER)) for what, text in marked_texts(draw).items()),
        Case(f"the marker '=', 'x = {a}'", (f"{b}; x = {a} and y: {c}", "=")),
        Case("the number directly behind the marker", (f"{b} and {c}, total{a}", "total")),
        Case("a minus directly behind the marker", (f"{b} and {c}, total-{a}", "total")),
        Case("a marker with signs of its own", (f"#### {a} or (?) {b} and {c}", "(?)")),
    ]


EXTRACTION = Exercise(
    name="prompting.extract_answer",
    points=3, difficulty=2, minutes=25,
    against="a scanner that reads one character after the other",
    reference=by_scanning,
    cases=extraction_cases,
    mistakes=(
        ("the first number is taken where there is no marker. Which one is the result of a chain of thought?",
         "0 if marker else -1", "0"),
        ("the last number is taken behind the marker, too. Which one did the model call its answer?",
         "0 if marker else -1", "-1"),
        ("commas between thousands cut a number in two. What does 1,234 mean?",
         "(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)", "[0-9]+"),
        ("any comma between digits is read as one of thousands. How many digits stand in a group?",
         "[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])", "[0-9]+(?:,[0-9]+)+"),
        ("a group of more than three digits behind a comma is cut. What may follow the third digit?",
         "(?![0-9])", ""),
        ("signs are lost. What is the answer to 3 - 5?", "-1 if plus_or_minus in ('-', '−') else 1", "1"),
        ("the long minus is not read. Which signs do models write?", "in ('-', '−')", "== '-'"),
        ("a minus between two numbers becomes a sign. Is the 3 of 5-3 negative?", r"(?<![\\w)\\]])", ""),
        ("a minus behind a bracket becomes a sign. What does (5)-3 say?", r"(?<![\\w)\\]])", r"(?<!\\w)"),
        ("decimals are lost. Where does 3.5 end?", r"(?:\\.[0-9]+)?", ""),
        ("a decimal number must begin with a digit. What is .5?", r"|\\.[0-9]+)", r")"),
        ("digits inside words are read. Is the 2 of H2O an answer?", r"(?<!\\w)", ""),
        ("the sign of an amount of money is lost. What stands between the two in -$5?", "[$€£]?", ""),
        ("no answer becomes 0. How would you tell it from the answer 0?",
         "if not found:\n        return None", "if not found:\n        return 0.0"),
        ("where the marker is missing, the last number is taken. What was asked for?",
         "len(pieces) == 1:\n        return None", "len(pieces) == 1:\n        return extract_answer(text)"),
        ("capital letters are not the marker's. Which of 'the' and 'The' occurs?", ", flags=re.IGNORECASE", ""),
        ("the marker counts where it first occurs. What if the model corrects itself?",
         "re.split(re.escape(marker), text, flags", "re.split(re.escape(marker), text, maxsplit=1, flags"),
        ("what stands behind the marker is read up to the first dot. Where does 12.5 end, and what may follow a sentence?",
         "numbers.findall(pieces[-1])", "numbers.findall(pieces[-1].split('.')[0] if marker else pieces[-1])"),
        ("the marker is read as a regular expression. What do '(' and '?' mean there?", "re.escape(marker)", "'=' if marker == '=' else marker.strip('(?)') or 'nothing'"),
        ("the number comes back as a whole number. What is 12.5?", "float(digits.replace(',', ''))", "int(float(digits.replace(',', '')))"),
    ),
)  # fmt: skip
