"""The exercises of chapter 15 beyond what holds for all: unusual right answers pass, near misses do not."""

import math
import re
import statistics

import numpy as np
import pytest
import torch
from answers import verdict_of

from lecture_lib import checks
from lecture_lib.checks.message import text

verdict = verdict_of("prompting")


# ------------------------------------------------------------------------------------------------- other right answers


def prompt_by_format(
    question, shots=(), instruction="", template="Q: {question}\nA: {answer}", separator="\n\n", cue=""
):
    q, a = template.find("{question}"), template.find("{answer}")
    if not 0 <= q < a:
        raise ValueError("places")
    parts = [template.format(question=asked, answer=answer) for asked, answer in shots]
    parts.append((template[:a].format(question=question) + cue).rstrip())
    return separator.join(([instruction] if instruction != "" else []) + parts)


def prompt_by_loop(
    question, shots=(), instruction="", template="Q: {question}\nA: {answer}", separator="\n\n", cue=""
):
    if "{question}" not in template or "{answer}" not in template.split("{question}")[1]:
        raise ValueError("places")
    head, rest = template.split("{question}")
    middle, tail = rest.split("{answer}")
    out = ""
    if instruction:
        out += instruction
        out += separator
    for i in range(len(shots)):
        out += head + shots[i][0] + middle + shots[i][1] + tail + separator
    out += head + question + middle + cue
    while out and out[-1].isspace():
        out = out[:-1]
    return out


def extract_by_tokens(text, marker=None):
    """Replace what is no number by spaces, step by step."""
    if marker is not None:
        at = text.casefold().rfind(marker.casefold())
        if at == -1:
            return None
        text = text[at + len(marker) :]
    number = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
    values = []
    for found in re.finditer(number, text, re.ASCII):
        before = text[: found.start()]
        if before and (before[-1].isalnum() or before[-1] == "_"):
            continue
        if before[-1:] in ("$", "€", "£"):
            before = before[:-1]
        sign = -1 if before[-1:] in ("-", "−") and not re.search(r"[\w)\]]$", before[:-1]) else 1
        values.append(sign * float(found[0].replace(",", "")))
    if not values:
        return None
    return values[0] if marker is not None else values[-1]


def vote_by_lists(answers):
    seen, counts = [], []
    for answer in answers:
        if answer is None:
            continue
        if answer in seen:
            counts[seen.index(answer)] += 1
        else:
            seen.append(answer)
            counts.append(1)
    most = max(counts) if counts else 0
    return [a for a, c in zip(seen, counts, strict=True) if c == most], most


def score_by_bisection(answers, truths, z=1.96):
    if len(truths) == 0 or len(truths) != len(answers):
        raise ValueError("lengths")
    n = len(truths)
    share = float(np.mean([a is not None and a == t for a, t in zip(answers, truths, strict=True)]))

    def outside(p):
        return (share - p) ** 2 - z**2 * p * (1 - p) / n > 0

    def edge(inner, outer):
        for _ in range(200):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if outside(middle) else (middle, outer)
        return inner

    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    return share, edge(centre, 0.0), edge(centre, 1.0)


def no_descent_by_modes(runs):
    """The excess must be a mixture with weights that are not negative of the modes' first two factors."""
    worst = []
    for run in runs:
        X = torch.tensor(run["X"], dtype=torch.float64)
        s = torch.linalg.svdvals(X) ** 2 / X.shape[0]
        factors = [(1 - run["rate"] * v) ** 2 for v in s.tolist()]
        a, b = run["excess"][:2]
        low, high = min(factors) * a, max(factors) * a
        worst.append(max(math.log(b / high), math.log(low / b) if low > 0 else -math.inf))
    return worst.index(max(worst))


RIGHT = [
    ("build_prompt", prompt_by_format),
    ("build_prompt", prompt_by_loop),
    ("extract_answer", extract_by_tokens),
    ("extract_answer", lambda text, marker=None: extract_by_pattern()(text, marker)),
    ("mended_vote", vote_by_lists),
    ("mended_vote", lambda answers: vote_by_lists(tuple(answers))),
    ("score_with_interval", score_by_bisection),
    ("no_descent", no_descent_by_modes),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer"), RIGHT, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("seed", range(4))
def test_unusual_right_answers_pass(name, answer, seed):
    found = verdict(name, answer, seed)
    assert found.passed, text(found)


def head(q=1.0, k=1.0, v=-0.05, turn=None, dtype=torch.float64):
    looks = torch.diag(torch.tensor([1.0, 1, 1, 0], dtype=torch.float64))
    turn = torch.eye(4, dtype=torch.float64) if turn is None else turn
    writes = torch.zeros(4, 4, dtype=torch.float64)
    writes[3, 3] = v
    return {"W_q": (q * looks @ turn).to(dtype), "W_k": (k * looks @ turn).to(dtype), "W_v": writes.to(dtype)}


def turned():
    Q, _ = torch.linalg.qr(torch.arange(16.0, dtype=torch.float64).reshape(4, 4).sin())
    return head(turn=Q)


def test_other_weights_that_do_the_same_pass():
    """Only W_q W_kᵀ counts, a factor may stand in any of the three, and float32 or a gradient does no harm."""
    loose = head()
    loose["W_q"].requires_grad_()
    for weights in (
        head(q=-2.0, k=0.5, v=0.05),
        turned(),
        head(q=-0.4, v=1 / 8),
        head(dtype=torch.float32),
        loose,
    ):
        found = verdict("gradient_step_head", weights)
        assert found.passed, text(found)


# --------------------------------------------------------------------------------------------------------- near misses


def changed(right, **named):
    return lambda *inputs, **given: right(*inputs, **{**given, **named})


def prompt_by_replacing(
    question, shots=(), instruction="", template="Q: {question}\nA: {answer}", separator="\n\n", cue=""
):
    """A question with a brace in it is filled in a second time."""
    if "{question}" not in template or "{answer}" not in template.split("{question}")[1]:
        raise ValueError("places")
    parts = [template.replace("{question}", q).replace("{answer}", a) for q, a in shots]
    parts.append((template.split("{answer}")[0].replace("{question}", question) + cue).rstrip())
    return separator.join(([instruction] if instruction else []) + parts)


def prompt_that_strips(question, shots=(), *rest, **named):
    return prompt_by_loop(question, [(q.strip(), a.strip()) for q, a in shots], *rest, **named)


def prompt_without_errors(
    question, shots=(), instruction="", template="Q: {question}\nA: {answer}", separator="\n\n", cue=""
):
    if template.find("{answer}") < template.find("{question}"):
        template = "Q: {question}\nA: {answer}"
    return prompt_by_loop(question, shots, instruction, template, separator, cue)


def prompt_changed(change):
    """The right prompt, and what a change of white space at its ends or of the template's filling makes of it."""
    return lambda *inputs, **named: change(prompt_by_loop, *inputs, **named)


def prompt_by_patterns(
    question, shots=(), instruction="", template="Q: {question}\nA: {answer}", separator="\n\n", cue=""
):
    """`re.sub` reads backslashes in what it fills in."""
    if not re.search(r"\{question\}.*\{answer\}", template, re.DOTALL):
        raise ValueError("places")
    head, tail = template.split("{answer}")
    parts = [re.sub(r"\{question\}", asked, head) + answer + tail for asked, answer in shots]
    parts.append((re.sub(r"\{question\}", question, head) + cue).rstrip())
    return separator.join(([instruction] if instruction else []) + parts)


def extract_with(change):
    return lambda text, marker=None: change(text, marker)


SIGN, GROUPED, DECIMALS = (
    r"(?:(?<![\w)\]])([-−+])[$€£]?)?",
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)",
    r"(?:\.[0-9]+)?",
)


def behind(text, marker):
    place = text.lower().rfind(marker.lower())
    return None if place < 0 else text[place + len(marker) :]


def extract_by_pattern(sign=SIGN, word=r"(?<!\w)", whole=GROUPED, decimals=DECIMALS, behind=behind):
    """A regular expression in pieces: with other pieces it is a near miss."""
    number = re.compile(rf"{sign}{word}({whole}{decimals}|\.[0-9]+)")

    def extract(text, marker=None):
        text = behind(text, marker) if marker else text
        found = number.findall(text or "")
        if not found:
            return None
        plus_or_minus, digits = found[0 if marker else -1]
        return (-1 if plus_or_minus in ("-", "−") else 1) * float(digits.replace(",", ""))

    return extract


def extract_in_place(text, marker=None):
    """Search from the marker on, with the marker still in sight."""
    number = re.compile(rf"{SIGN}(?<!\w)({GROUPED}{DECIMALS}|\.[0-9]+)")
    if marker is None:
        return extract_by_pattern()(text)
    place = text.lower().rfind(marker.lower())
    found = number.search(text, place + len(marker)) if place >= 0 else None
    return found and (-1 if found[1] in ("-", "−") else 1) * float(found[2].replace(",", ""))


def last_marker_with_a_number(text, marker):
    pieces = re.split(re.escape(marker), text, flags=re.IGNORECASE)[1:]
    return next((each for each in reversed(pieces) if extract_by_tokens(each) is not None), None)


def mean_factor_differs(run):
    """The mean of the ratios against that of the factors, whatever the modes' shares are."""
    X, excess = np.array(run["X"]), np.array(run["excess"])
    factors = (1 - run["rate"] * np.linalg.svd(X)[1] ** 2 / len(X)) ** 2
    return abs(np.log((excess[1:] / excess[:-1]).mean() / factors.mean()))


WRONG = {
    "build_prompt": [
        prompt_by_replacing,
        prompt_that_strips,
        prompt_without_errors,
        changed(prompt_by_loop, cue=""),
        changed(prompt_by_loop, instruction=""),
        lambda *inputs, **named: prompt_by_loop(*inputs, **named).replace("\n\n\n", "\n\n") + "\n",
        lambda *inputs, **named: [prompt_by_loop(*inputs, **named)],
        lambda question, shots=(), *rest, **named: prompt_by_loop(question, shots[:2], *rest, **named),
        lambda question, shots=(), *rest, **named: prompt_by_loop(question, sorted(shots), *rest, **named),
        lambda question, shots=(), *rest, **named: prompt_by_loop(question.strip("?"), shots, *rest, **named),
        prompt_by_patterns,
        prompt_changed(lambda right, *inputs, **named: right(*inputs, **named).strip()),
        prompt_changed(lambda right, *inputs, **named: re.sub("\n{2,}", "\n\n", right(*inputs, **named))),
        prompt_changed(lambda right, question, shots=(), instruction="", *rest, **named: right(question, shots, instruction.strip(), *rest, **named)),
        prompt_changed(lambda right, *inputs, **named: right(*inputs, **named) + "\t" * named.get("template", "").endswith("\t{answer}")),
    ],
    "extract_answer": [
        extract_with(lambda text, marker: float((re.findall(r"-?\d+\.?\d*", text) or [0])[-1])),
        extract_with(lambda text, marker: extract_by_tokens(text.replace(",", ""), marker)),
        extract_with(lambda text, marker: extract_by_tokens(re.sub("[€£]", " ", text), marker)),
        extract_with(lambda text, marker: extract_by_tokens(text, marker) or None),
        extract_with(lambda text, marker: abs(x) if (x := extract_by_tokens(text, marker)) is not None else None),
        extract_with(lambda text, marker: extract_by_tokens(text.lower(), marker) if marker else extract_by_tokens(text.split(".")[0])),
        extract_with(lambda text, marker: round(x, 1) if (x := extract_by_tokens(text, marker)) is not None else None),
        extract_with(lambda text, marker: x if (x := extract_by_tokens(text, marker)) is None or x % 1 else int(x)),
        extract_with(lambda text, marker: extract_by_tokens(text, "the answer is" if marker else None)),
        extract_with(lambda text, marker: extract_by_tokens(text, marker) if marker is None or marker in text else None),
        extract_by_pattern(whole=GROUPED.replace("{1,3}", "+")),
        extract_by_pattern(whole=GROUPED.replace("{3})+(?!", "{3})(?!")),
        extract_by_pattern(whole=GROUPED.replace("|[0-9]+", "|[0-9]{1,4}")),
        extract_by_pattern(decimals=r"(?:\.[0-9,]+)?"),
        extract_by_pattern(sign=SIGN.replace("?)?", "?(?=[0-9]))?")),
        extract_by_pattern(sign=SIGN.replace(r"\]", "")),
        extract_by_pattern(sign=SIGN.replace(r"\w", "A-Za-z0-9")),
        extract_by_pattern(sign=SIGN.replace(r"\]", r"\]$€£")),
        extract_by_pattern(word="(?<![A-Za-z_])"),
        extract_by_pattern(word="(?<![A-Za-z0-9_])"),
        extract_by_pattern(behind=lambda text, marker: (behind(text, marker) or "").partition("\n")[0]),
        extract_by_pattern(behind=last_marker_with_a_number),
        extract_in_place,
    ],
    "mended_vote": [
        lambda answers: (vote_by_lists(answers)[0][:1], vote_by_lists(answers)[1]),
        lambda answers: (set(vote_by_lists(answers)[0]), vote_by_lists(answers)[1]),
        lambda answers: vote_by_lists([a for a in answers if a]),
        lambda answers: vote_by_lists(answers[::-1]),
        lambda answers: vote_by_lists([float(a) if isinstance(a, int) else a for a in answers]),
        lambda answers: (statistics.multimode(answers), vote_by_lists(answers)[1]),
        lambda answers: (vote_by_lists(answers)[0], len(vote_by_lists(answers)[0])),
        lambda answers: vote_by_lists([a for a in answers if a is not None][:9]),
        lambda answers: vote_by_lists([abs(a) if isinstance(a, float) else a for a in answers]),
        lambda answers: list(vote_by_lists(answers)),
    ],
    "score_with_interval": [
        changed(score_by_bisection, z=1.96),
        lambda answers, truths, z=1.96: score_by_bisection([a or 0 for a in answers], truths, z),
        lambda answers, truths, z=1.96: (*score_by_bisection(answers, truths, z)[:2], 1.0),
        lambda answers, truths, z=1.96: tuple(np.float32(x).item() for x in score_by_bisection(answers, truths, z)),
        lambda answers, truths, z=1.96: list(score_by_bisection(answers, truths, z)),
        lambda answers, truths, z=1.96: score_by_bisection(*zip(*zip(answers, truths, strict=False), strict=True), z),
        lambda answers, truths, z=1.96: score_by_bisection(answers, truths, round(z)),
        lambda answers, truths, z=1.96: score_by_bisection([a and a // 1 for a in answers], truths, z)[::-1],
        lambda answers, truths, z=1.96: tuple(round(x, 4) for x in score_by_bisection(answers, truths, z)),
        lambda answers, truths, z=1.96: score_by_bisection([a and round(a) for a in answers], truths, z),
        lambda answers, truths, z=1.96: score_by_bisection([a and round(a, 2) for a in answers], truths, z),
        lambda answers, truths, z=1.96: score_by_bisection([a and abs(a) for a in answers], [abs(t) for t in truths], z),
        lambda answers, truths, z=1.96: score_by_bisection([str(a) for a in answers], [str(t) for t in truths], z),
    ],
    "no_descent": [
        lambda runs: int(np.argmax([max(run["excess"]) for run in runs])),
        lambda runs: int(np.argmin([run["excess"][-1] for run in runs])),
        lambda runs: int(np.argmax([run["excess"][-1] / run["excess"][0] for run in runs])),
        lambda runs: int(np.argmax([run["rate"] for run in runs])),
        lambda runs: int(np.argmin([np.ptp(np.diff(np.log(np.array(run["excess"]) + 1e-300))) for run in runs])) if len(runs[0]["X"]) % 2 else 0,
        lambda runs: no_descent_by_modes([run | {"X": np.array(run["X"]) * 1.2} for run in runs]),
        lambda runs: no_descent_by_modes([run | {"X": np.array(run["X"])[:-1].tolist()} for run in runs]),
        lambda runs: 4,
        lambda runs: int(np.argmax([mean_factor_differs(run) for run in runs])),
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "place"), [(name, i) for name, rows in WRONG.items() for i in range(len(rows))]
)
def test_a_near_miss_is_rejected(name, place):
    for seed in range(4):
        assert not verdict(name, WRONG[name][place], seed).passed


def with_entry(row, column, value, matrix="W_v"):
    weights = head()
    weights[matrix][row, column] = value
    return weights


BAD_WEIGHTS = {
    "rate of another N": head(v=-0.4 / 9),
    "float16": {name: value.half() for name, value in head().items()},
    "a rate that is nearly right": head(v=-0.05 * (1 + 1e-5)),
    "the outputs are compared a little": with_entry(3, 3, 1e-3, "W_q")
    | {"W_k": with_entry(3, 3, 1e-1, "W_k")["W_k"]},
    "an input that leaks into the values": with_entry(0, 3, 1e-4),
    "a value that moves an input": with_entry(3, 1, 1e-4),
    "two components are mixed": with_entry(0, 1, 0.1, "W_q"),
    "queries of zeros": head(q=0.0),
    "a wrong shape": head() | {"W_v": torch.zeros(3, 3, dtype=torch.float64)},
    "a name too many": head() | {"W_o": torch.eye(4)},
}


@pytest.mark.parametrize("what", BAD_WEIGHTS)
def test_other_weights_are_refused(what):
    assert not verdict("gradient_step_head", BAD_WEIGHTS[what]).passed


def test_the_edge_of_stability_is_where_it_is_said():
    task = checks.exercise("prompting.largest_rate")
    assert task.reference() == pytest.approx(2 / 4.5)
