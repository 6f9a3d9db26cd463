"""Prompting: the lecture's prompts and puzzles first, then independent oracles, properties, errors."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import SGDRegressor

from lecture_lib.corpora.regression import regression_tasks
from lecture_lib.prompting import (
    TRANSLATIONS,
    build_messages,
    build_prompt,
    descent_predictions,
    exact_match,
    extract_answer,
    gradient_step_weights,
    largest_stable_rate,
    lecture_puzzles,
    linear_attention,
    linear_attention_predictions,
    majority_vote,
    puzzle_variants,
    wilson_interval,
)

FRENCH = {
    "instruction": "Translate English to French:",
    "template": "{question} => {answer}",
    "separator": "\n",
}
MARKER = "the answer is"


def test_the_lectures_translations_word_for_word():
    assert build_prompt("cheese", **FRENCH) == "Translate English to French:\ncheese =>"
    assert build_prompt("cheese", TRANSLATIONS[:1], **FRENCH).splitlines() == [
        "Translate English to French:",
        "sea otter => loutre de mer",
        "cheese =>",
    ]
    assert build_prompt("cheese", TRANSLATIONS, **FRENCH).splitlines()[2:4] == [
        "peppermint => menthe poivrée",
        "plush girafe => girafe peluche",
    ]


def test_the_lectures_two_puzzles_with_and_without_steps():
    roger, apples = lecture_puzzles()
    assert (roger.answer, apples.answer) == (5 + 2 * 3, 23 - 20 + 6) == (11, 9)
    text = build_prompt(apples.question, [(roger.question, roger.worked())])
    assert (
        "2 cans of 3 tennis balls each is 6 tennis balls. 5 + 6 = 11. The answer is 11.\n\nQ: The cafeteria"
        in text
    )
    assert text.endswith("how many apples do they have?\nA:")
    for puzzle in (roger, apples):
        assert extract_answer(puzzle.worked(), MARKER) == extract_answer(puzzle.direct()) == puzzle.answer


def test_variants_are_right_differ_and_begin_alike():
    many = puzzle_variants(200, seed=3)
    assert puzzle_variants(50, seed=3) == many[:50]
    assert len({each.question for each in many}) > 190
    for place, each in enumerate(many):
        numbers = [int(word.strip(".,")) for word in each.question.split() if word.strip(".,").isdigit()]
        a, b, c = numbers
        assert each.answer == (a + b * c if place % 2 == 0 else a - b + c) >= 0
        assert extract_answer(each.worked(), MARKER) == each.answer


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(), st.text()), max_size=3),
    st.text(),
    st.text(),
    st.text(alphabet=" \nab{}", max_size=6),
)
def test_a_prompt_begins_with_its_blocks_and_never_ends_in_white_space(shots, question, cue, separator):
    prompt = build_prompt(question, shots, template="Q {question} A {answer} .", separator=separator, cue=cue)
    solved = "".join(f"Q {asked} A {answer} .{separator}" for asked, answer in shots)
    assert (
        prompt == (solved + f"Q {question} A {cue}").rstrip()
        or prompt == solved + f"Q {question} A {cue}".rstrip()
    )
    assert prompt == prompt.rstrip()


def test_messages_alternate_and_end_with_the_question():
    messages = build_messages("cheese", TRANSLATIONS[:2], "Translate.", cue="Think.")
    assert [each["role"] for each in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[2]["content"] == "loutre de mer" and messages[-1]["content"] == "cheese\nThink."
    assert build_messages("cheese") == [{"role": "user", "content": "cheese"}]


@pytest.mark.parametrize("template", ["Q: {question}", "A: {answer}", "{answer} {question}", ""])
def test_a_template_without_its_places_is_refused(template):
    with pytest.raises(ValueError, match="the template must have"):
        build_prompt("cheese", template=template)


NUMBERS = {
    "So 23 - 20 = 3.": 3,
    "5-3": 3,
    "it is -3": -3,
    "−4.5 degrees": -4.5,
    "x=-7": -7,
    "(2)-7": 7,
    "1,234,567.5 in all": 1234567.5,
    "3,4": 4,
    "1,23": 23,
    "1,2345": 2345,
    "12,345,67": 67,
    "about .5": 0.5,
    "$18.00.": 18,
    "-$18": -18,
    "+7": 7,
    "CO2": None,
    "5kg of CO2": 5,
    "": None,
    "nine": None,
    "0": 0,
}


@pytest.mark.parametrize(("text", "wanted"), NUMBERS.items())
def test_the_last_number(text, wanted):
    assert extract_answer(text) == wanted


def test_behind_a_marker():
    assert extract_answer("The answer is 9. Or 3?", MARKER) == 9
    assert extract_answer("the answer is 3. No, THE ANSWER IS 4", MARKER) == 4
    assert extract_answer("it is 9", MARKER) is None
    assert extract_answer("9, so the answer is unknown", MARKER) is None
    assert extract_answer("#### 7 (a.b) 8", "(a.b)") == 8


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(0, 3))
def test_a_number_that_python_has_written_is_read_back(whole, decimals):
    value = Fraction(whole, 10**decimals)
    for text in (f"{float(value):,.{decimals}f}", f"{float(value):.{decimals}f}"):
        assert extract_answer(f"It is {text}.") == float(value)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-2, 2).map(float)), max_size=9))
def test_a_vote_is_what_counting_says(answers):
    winners, votes = majority_vote(answers)
    counts = Counter(answers)
    counts.pop(None, None)
    assert votes == max(counts.values(), default=0)
    assert winners == sorted((a for a in counts if counts[a] == votes), key=answers.index)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(("right", "n"), [(0, 7), (7, 7), (3, 7), (162, 200), (1, 1)])
def test_wilson_against_scipy(right, n, confidence):
    theirs = stats.binomtest(right, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(right, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_holds_the_true_share_about_as_often_as_it_says():
    """Exact binomial sums: the mean over p is 0.95 within 1 %, where the usual interval falls short."""
    n, p = 40, np.linspace(0.05, 0.95, 181)
    inside = {"wilson": 0.0, "usual": 0.0}
    for k in range(n + 1):
        chance, (low, high) = stats.binom.pmf(k, n, p), wilson_interval(k, n)
        half = 1.96 * math.sqrt(k / n * (1 - k / n) / n)
        inside["wilson"] += chance * ((low <= p) & (p <= high))
        inside["usual"] += chance * ((k / n - half <= p) & (p <= k / n + half))
    assert abs(inside["wilson"].mean() - 0.95) < 0.01 and inside["wilson"].min() > 0.9
    assert inside["usual"].mean() < 0.94


def test_exact_match_counts_what_is_equal():
    score = exact_match([11.0, None, 9.0, 0.0], [11, 27, 9, 1])
    assert score.share == 0.5
    assert (score.low, score.high) == wilson_interval(2, 4)
    assert exact_match([None], [0]).share == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: exact_match([], []),
        lambda: exact_match([1], [1, 2]),
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(1, 0),
        lambda: wilson_interval(1, 2, 1.0),
        lambda: puzzle_variants(0, 0),
        lambda: gradient_step_weights(2, 3, 0.0),
        lambda: gradient_step_weights(0, 3, 0.1),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(ValueError, match="must be|is asked for"):
        call()


def test_the_pages_two_examples():
    E = torch.tensor([[1.0, 0, 2], [0, 1, -1], [1, 1, 0]], dtype=torch.float64)
    after = E + linear_attention(E, *gradient_step_weights(2, 2, 0.5))
    assert after[:, 2].tolist() == [1.5, -0.75, -0.25]
    assert torch.equal(after[:, :2], E[:, :2])


@pytest.mark.parametrize(("N", "D"), [(7, 3), (3, 5)])
def test_layers_are_steps_of_gradient_descent_by_autograd(N, D):
    X, y, _ = map(torch.from_numpy, regression_tasks(4, N + 1, D, seed=N))
    X, y, x_q = X[:, :N], y[:, :N], X[:, N]
    said = linear_attention_predictions(X, y, x_q, 0.2, 4)
    w, wanted = torch.zeros(4, D, dtype=torch.float64, requires_grad=True), []
    for _ in range(5):
        wanted.append((w * x_q).sum(-1))
        loss = ((X @ w[..., None])[..., 0] - y).square().mean(-1).sum() / 2
        w = w - 0.2 * torch.autograd.grad(loss, w)[0]
    assert (said - torch.stack(wanted, -1)).abs().max() < 1e-12
    assert (descent_predictions(X, y, x_q, 0.2, 4) - said).abs().max() < 1e-12


def test_one_step_of_another_library():
    """scikit-learn steps on one example at a time: for a single example both steps are the same."""
    x, y, x_q = np.array([[1.0, -2.0]]), np.array([3.0]), torch.tensor([0.5, 1.0], dtype=torch.float64)
    theirs = SGDRegressor(
        penalty=None, fit_intercept=False, learning_rate="constant", eta0=0.1, max_iter=1, tol=None
    ).fit(x, y)
    said = linear_attention_predictions(torch.from_numpy(x), torch.from_numpy(y), x_q, 0.1, 1)[1]
    assert said.item() == pytest.approx(float(theirs.coef_ @ x_q.numpy()), abs=1e-12)


def test_the_largest_rate_is_where_descent_starts_to_grow():
    X = torch.randn(6, 3, generator=seeded(), dtype=torch.float64)
    y, steep = torch.randn(6, generator=seeded(1), dtype=torch.float64), torch.linalg.eigh(X.T @ X)[1][:, -1]
    best = torch.linalg.lstsq(X, y[:, None]).solution[:, 0] @ steep
    edge = float(largest_stable_rate(X))
    for factor, grows in ((0.98, False), (1.02, True)):
        far = (linear_attention_predictions(X, y, steep, factor * edge, 60) - best).abs()
        assert bool(far[-1] > far[0]) == grows
