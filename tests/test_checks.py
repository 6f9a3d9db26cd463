"""Every exercise: its solution passes, every known mistake is rejected and recognised, over many seeds."""

import ast
import inspect
import pickle
import textwrap
import time

import build_notebooks
import numpy as np
import pytest
import torch
from answers import CHAPTERS, exercises, solutions

from lecture_lib import checks
from lecture_lib.checks.compare import difference
from lecture_lib.checks.message import text
from lecture_lib.checks.plain import Refused, plain
from lecture_lib.checks.watch import resolve

EXERCISES = exercises()
MISTAKES = [(task, mistake) for task in EXERCISES for mistake in task.mistakes]


def solution(task):
    return solutions(task.name.partition(".")[0])[task.name]


def passes(task, answer):
    cases = task.cases(0)
    return task.judge(cases, task.run(answer, cases)).passed


def named(value):
    return value.name if isinstance(value, checks.Exercise) else value.hint[:40]


@pytest.mark.parametrize("task", EXERCISES, ids=named)
def test_the_solution_passes(task):
    for seed in range(5):
        cases = task.cases(seed)
        verdict = task.judge(cases, task.run(solution(task), cases))
        assert verdict.passed, text(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("task", EXERCISES, ids=named)
def test_the_solution_passes_for_many_seeds(task):
    for seed in range(5, 50):
        cases = task.cases(seed)
        verdict = task.judge(cases, task.run(solution(task), cases))
        assert verdict.passed, f"seed {seed}: {text(verdict)}"


@pytest.mark.parametrize(("task", "mistake"), MISTAKES, ids=named)
def test_a_mistake_is_rejected_and_recognised(task, mistake):
    cases = task.cases(0)
    verdict = task.judge(cases, [task.call(mistake.function, case) for case in cases])
    assert not verdict.passed
    assert verdict.hint == f"This is what comes out when {mistake.hint}"


@pytest.mark.slow
@pytest.mark.parametrize("task", EXERCISES, ids=named)
def test_mistakes_are_rejected_and_told_apart_for_many_seeds(task):
    def same(one, other):
        return all(difference(*pair, task.tolerance) is None for pair in zip(one, other, strict=True))

    for seed in range(1, 30):
        cases = task.cases(seed)
        expected = [task.call(task.reference, case) for case in cases]
        seen = []
        for mistake in task.mistakes:
            outputs = [task.call(mistake.function, case) for case in cases]
            assert not same(outputs, expected), f"seed {seed}: nobody notices that {mistake.hint}"
            twin = [hint for hint, theirs in seen if same(outputs, theirs)]
            assert not twin, f"seed {seed}: {mistake.hint!r} looks like {twin[0]!r}"
            seen.append((mistake.hint, outputs))


@pytest.mark.parametrize("task", EXERCISES, ids=named)
def test_there_are_mistakes_enough_and_cases_that_differ(task):
    assert len(task.mistakes) >= 5
    assert len({mistake.hint for mistake in task.mistakes}) == len(task.mistakes)
    first, again, other = task.cases(0), task.cases(0), task.cases(1)
    assert len(first) >= 5
    assert all(
        difference(plain(a.inputs), plain(b.inputs), 0.0) is None for a, b in zip(first, again, strict=True)
    )
    assert any(difference(plain(a.inputs), plain(b.inputs), 0.0) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("task", EXERCISES, ids=named)
def test_borrowed_answers_are_refused(task):
    library = resolve(f"lecture_lib.{task.name}")
    assert not passes(task, task.reference)
    for theirs in [library, *(resolve(name) for name in task.owned)]:
        if theirs is not None:
            # Whoever renames or wraps it has still not written it.
            assert not passes(task, theirs)
            assert not passes(task, lambda *inputs, theirs=theirs, **named: theirs(*inputs, **named))


@pytest.mark.parametrize(
    "task", [task for task in EXERCISES if resolve(f"lecture_lib.{task.name}")], ids=named
)
def test_a_solution_named_like_the_library_is_the_library(task):
    library = resolve(f"lecture_lib.{task.name}")
    name = CHAPTERS[task.name.partition(".")[0]]
    cell = next(cell for cell in build_notebooks.source_notebook(name).cells if cell.id == task.function)
    assert ast.dump(ast.parse(cell.source)) == ast.dump(
        ast.parse(textwrap.dedent(inspect.getsource(library)))
    )


@pytest.mark.parametrize("task", EXERCISES, ids=named)
def test_results_of_a_run_can_be_sent_to_another_process(task):
    cases = task.cases(0)
    outputs = pickle.loads(pickle.dumps(task.run(solution(task), cases)))
    assert task.judge(cases, outputs).passed


@pytest.mark.parametrize("task", EXERCISES, ids=named)
@pytest.mark.parametrize(
    "wrong", ["nothing", "always equal", "a tuple", "a subclass", "an error", "not finite", "an exit"]
)
def test_what_is_not_an_answer_is_refused(task, wrong):
    class AlwaysEqual:
        __eq__ = __ge__ = __le__ = lambda self, other: True
        __hash__ = None
        __array__ = lambda self, *_: np.zeros(3)  # noqa: E731

    class Sub(torch.Tensor):
        pass

    def answer(*inputs, **_named):
        if wrong == "an error":
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        if wrong == "an exit":
            raise SystemExit(0)
        tensor = next((x for x in inputs if isinstance(x, torch.Tensor)), torch.zeros(2))
        values = {
            "nothing": None,
            "always equal": AlwaysEqual(),
            "a tuple": (tensor, None),
            "a subclass": tensor.float().as_subclass(Sub),
            "not finite": torch.full_like(tensor.float(), torch.nan),
        }
        return values[wrong]

    cases = task.cases(0)
    verdict = task.judge(cases, task.run(answer, cases))
    assert not verdict.passed
    assert "✗" in text(verdict)


def test_each_check_answers_within_a_second():
    for task in EXERCISES:
        start = time.process_time()
        cases = task.cases(0)
        task.judge(cases, task.run(solution(task), cases))
        assert time.process_time() - start < 5, (
            f"{task.name}: five times the second that a reader should wait"
        )


# ------------------------------------------------------------------------------------------------- the machinery


def test_a_wrong_answer_is_told_its_mistake(capsys):
    with pytest.raises(checks.CheckFailed) as failure:
        checks.check(
            "attention.softmax", lambda x, dim=-1: torch.exp(x) / torch.exp(x).sum(dim, keepdim=True)
        )
    assert str(failure.value).startswith("✗ attention.softmax")
    assert "This is what comes out when" in str(failure.value)
    assert isinstance(failure.value, AssertionError)
    assert len(failure.value._render_traceback_()) == 1


def test_a_right_answer_says_what_it_was_held_against(capsys):
    checks.check("attention.softmax", solutions("attention")["attention.softmax"])
    assert capsys.readouterr().out.startswith("✓ attention.softmax")


def test_the_readers_own_line_is_shown_and_ours_is_not():
    def softmax(x, dim=-1):
        return x @ torch.zeros(99)

    with pytest.raises(checks.CheckFailed) as failure:
        checks.check("attention.softmax", softmax)
    assert "return x @ torch.zeros(99)" in str(failure.value)
    assert "exercise.py" not in str(failure.value)


def test_an_empty_stub_is_not_called_wrong():
    def softmax(x, dim=-1):
        raise NotImplementedError

    with pytest.raises(checks.CheckFailed, match="not written yet"):
        checks.check("attention.softmax", softmax)


def test_changed_inputs_are_noticed():
    def softmax(x, dim=-1):
        x -= x.amax(dim, keepdim=True)
        return x.exp() / x.exp().sum(dim, keepdim=True)

    with pytest.raises(checks.CheckFailed, match="changed its argument number 1"):
        checks.check("attention.softmax", softmax)


def test_a_result_instead_of_a_function_is_named():
    with pytest.raises(checks.CheckFailed, match="hand over `softmax` itself"):
        checks.check("attention.softmax", torch.zeros(3))


@pytest.mark.parametrize(
    "name", ["attention.softmaxx", "softmax", "atention.softmax", "", "nowhere.nothing", 7]
)
def test_an_unknown_name_suggests_near_ones(name):
    with pytest.raises(KeyError, match="did you mean"):
        checks.check(name, torch.softmax)


def test_an_answer_that_turns_the_watch_off_is_refused():
    import sys

    def softmax(x, dim=-1):
        sys.setprofile(None)
        return torch.softmax(x, dim)

    with pytest.raises(checks.CheckFailed, match="sys.setprofile"):
        checks.check("attention.softmax", softmax)


def test_progress_counts_points():
    checks._last_verdict.clear()
    assert "no check has run" in repr(checks.progress())
    checks.check("attention.softmax", solutions("attention")["attention.softmax"])
    seen = checks.progress()
    assert seen.points == checks.exercise("attention.softmax").points
    assert "✓ passed" in repr(seen)
    assert "not tried" in seen._repr_html_()


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "returned shape (2, 3); expected (3, 2)"),
        (torch.zeros(2).double(), torch.zeros(2), "its numbers are float64, expected float32"),
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, 2.0]), "1 entries are NaN"),
        (
            (torch.zeros(2), None),
            torch.zeros(2),
            "returned a tuple (torch.Tensor, NoneType); expected one torch.Tensor",
        ),
        (np.zeros(2), torch.zeros(2), "returned one numpy.ndarray"),
        (True, 1, "returned bool True; expected int 1"),
        (1.0, 1, "returned float 1.0; expected int 1"),
        (np.float64(1.0), 1.0, "an object of type numpy.float64"),
        (
            torch.nn.Parameter(torch.zeros(2)),
            torch.zeros(2),
            "an object of type torch.nn.parameter.Parameter",
        ),
        ([1, 2], [1, 2, 3], "returned 2 entries, expected 3"),
        ([1, 4, 3], [1, 2, 3], "entry 1 of 3: yours 4, expected 2"),
        ({"a": 1}, {"a": 1, "b": 2}, "the key 'b' is missing"),
        (torch.nn.Linear(1, 1), 3, "an object of type torch.nn.modules.linear.Linear"),
        (torch.zeros(2, device="meta"), torch.zeros(2), "a tensor without plain values"),
    ],
)
def test_differences_are_said_in_words(found, expected, words):
    assert words in difference(plain(found), plain(expected))


@pytest.mark.parametrize(
    "value", [torch.eye(2), [1, "a", None, b"x"], {"a": (1.5, True)}, {1, 2}, torch.tensor(3), float("inf")]
)
def test_a_value_does_not_differ_from_itself(value):
    assert difference(plain(value), plain(value)) is None
    assert not isinstance(plain(value), Refused)


def test_altered_demands_that_the_piece_is_there_once():
    with pytest.raises(ValueError, match="occurs 0 times"):
        checks.altered(difference, ("no such piece", ""))
