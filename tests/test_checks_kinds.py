"""Answers with state, chance, questions and budgets; and the kinds of exercise beside "write the function"."""

import random
import types
from collections import Counter, deque

import numpy as np
import pytest
import torch
from answers import CHAPTERS, exercises, known_at, solutions

from lecture_lib import checks
from lecture_lib.checks import Case, CheckFailed, Exercise, kinds, session
from lecture_lib.checks.chance import FALSE_ALARM, follows, frequencies, sampled, tail
from lecture_lib.checks.message import text
from lecture_lib.checks.plain import Array, Raised
from lecture_lib.checks.script import earlier, scripted, stream, table
from lecture_lib.checks.wire import dumps, loads
from scripts.authored import source_notebook
from scripts.settings import ROOT, chapters


def copied(thing):
    """The same function or class with code objects of its own: the reference is nobody's answer."""
    if isinstance(thing, type):
        return type(
            thing.__name__, thing.__bases__, {name: copied(each) for name, each in vars(thing).items()}
        )
    if not isinstance(thing, types.FunctionType):
        return thing
    return types.FunctionType(
        thing.__code__.replace(), thing.__globals__, thing.__name__, thing.__defaults__, thing.__closure__
    )


def exercise(name, reference, cases, mistakes=(), **more):
    return Exercise(name, 1, 1, 5, "a test", copied(reference), cases, mistakes, **more)


def judged(task, answer, seed=0, outside=False):
    """The verdict in the notebook, or the grader's way: cases and results are sent, questions are asked outside."""
    cases = task.cases(seed)
    asking = task.questions(cases)
    if not outside:
        return task.judge(cases, task.run(answer, cases, asking if task.ask else None), asking.asked)
    there = [Case(*loads(dumps(case.sent), live=True)) for case in cases]

    def ask(place):
        question = asking(place)
        return lambda *arguments: loads(dumps(question(*loads(dumps(arguments), live=True))), live=True)

    outputs = task.run(answer, there, ask if task.ask else None)
    return task.judge(cases, loads(dumps(outputs)), asking.asked, task.known(cases))


def holds(task, right, wrong):
    for seed in range(2):
        for outside in (False, True):
            for answer in right:
                found = judged(task, answer, seed, outside)
                assert found.passed, text(found)
            for answer in wrong:
                assert not judged(task, answer, seed, outside).passed, answer


# -------------------------------------------------------------------------------------------- a class with state


class Blocks:
    def __init__(self, n, last=True):
        self.empty, self.last = list(range(n)), last

    def allocate(self, n):
        if n > len(self.empty):
            raise MemoryError
        cut = len(self.empty) - n if self.last else n
        first, second = self.empty[:cut], self.empty[cut:]
        self.empty, taken = (first, second) if self.last else (second, first)
        return taken

    def free(self, ids):
        self.empty += ids


def twice(n):
    pool = Blocks(n)
    pool.free([0])
    return pool


def leaks(n):
    pool = Blocks(n)
    pool.free = lambda ids: None
    return pool


def allocator_cases(seed):
    draw, script, live = random.Random(seed), [], []
    for _ in range(40):
        held = sum(n for _, n in live)
        if live and draw.random() < 0.45:
            place, _ = live.pop(draw.randrange(len(live)))
            script.append(("free", earlier(place)))
        else:
            n = draw.randrange(1, 5)
            live += [(len(script), n)] if held + n <= 8 else []
            script.append(("allocate", n))
    return [Case("40 calls on 8 blocks", ((8,), script))]


def accept_blocks(case, output, _asked):
    (n_blocks,), script = case.inputs
    live = {}
    for place, (call, got) in enumerate(zip(script, output, strict=True)):
        taken = [block for blocks in live.values() for block in blocks]
        if call[0] == "free":
            live.pop(call[1]["result of call"])
        elif call[1] > n_blocks - len(taken):
            if not (isinstance(got, Raised) and got.kind == "MemoryError"):
                return f"call {place}: a MemoryError is expected"
        elif (
            type(got) is not list
            or len(got) != call[1]
            or set(got) & set(taken)
            or not set(got) <= set(range(n_blocks))
        ):
            return f"call {place}: {got!r} are not {call[1]} free blocks"
        else:
            live[place] = got
    return None


def test_a_class_is_judged_by_a_script_of_calls():
    task = exercise("test.allocator", Blocks, allocator_cases, use=scripted, accept=accept_blocks)
    holds(
        task, [lambda n: Blocks(n), lambda n: Blocks(n, last=False)], [twice, leaks, lambda n: Blocks(n + 1)]
    )


class Scheduler:
    def __init__(self, slots, lengths):
        self.slots, self.left, self.waiting, self.running = (
            slots,
            list(lengths),
            deque(range(len(lengths))),
            [],
        )

    def step(self):
        while self.waiting and len(self.running) < self.slots:
            self.running.append(self.waiting.popleft())
        batch = list(self.running)
        for i in batch:
            self.left[i] -= 1
        self.running = [i for i in self.running if self.left[i]]
        return batch


class Static(Scheduler):
    def step(self):
        if not self.running:
            return super().step()
        slots, self.slots = self.slots, 0
        try:
            return super().step()
        finally:
            self.slots = slots


class Rewrites(Scheduler):
    """Changes the list that it has returned before: the trace holds what was returned then."""

    batch: list = []  # noqa: RUF012

    def step(self):
        found = super().step()
        self.batch[:] = found
        return self.batch


def test_a_scheduler_is_judged_by_its_trace():
    def cases(seed):
        draw = random.Random(seed)
        lengths = [5, 1, *(draw.randrange(1, 6) for _ in range(6))]
        return [Case("8 requests, 2 slots", ((2, lengths), [("step",)] * 30))]

    task = exercise("test.scheduler", Scheduler, cases, use=scripted)
    holds(
        task, [lambda *a: Scheduler(*a), lambda *a: Rewrites(*a)], [Static, lambda s, n: Scheduler(s + 1, n)]
    )


# ------------------------------------------------------------------------------------------ generators and callbacks


def batches(items, size):
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def greedy_reader(items, size):
    items = list(items)
    return iter([items[i : i + size] for i in range(0, len(items), size)])


def test_a_generator_reads_no_more_than_it_needs():
    def cases(seed):
        items = list(range(seed, seed + 7))
        return [Case("7 items in threes", ((stream(items), 3), [("next",)] * 4))]

    task = exercise("test.batches", batches, cases, use=scripted)
    trace = task.expected(task.cases(0))[0]
    assert [read for _, read in trace] == [3, 6, 7, 7] and trace[-1][0].kind == "StopIteration"
    holds(task, [lambda *a: batches(*a)], [greedy_reader, lambda items, size: iter([])])


def test_callbacks_arrive_as_tables():
    def best(score):
        return max(range(4), key=score)

    def cases(seed):
        scores = random.Random(seed).sample(range(10), 4)
        return [Case("four scores", ((table({(i,): s for i, s in enumerate(scores)}),), [(".real",)]))]

    task = exercise("test.best", best, cases, use=scripted)
    holds(task, [lambda score: best(score)], [lambda score: min(range(4), key=score)])


def test_an_optimizer_is_judged_by_the_parameters_after_each_step():
    class Momentum:
        def __init__(self, parameters, lr, reset=False):
            self.p, self.lr, self.m, self.reset = (
                parameters,
                lr,
                [torch.zeros_like(p) for p in parameters],
                reset,
            )

        def step(self):
            for p, m in zip(self.p, self.m, strict=True):
                m.mul_(0.0 if self.reset else 0.9).add_(p.grad)
                p.data.sub_(self.lr * m)

    class Torchs:
        def __init__(self, parameters, lr):
            self.optimizer = torch.optim.SGD([p.requires_grad_() for p in parameters], lr, momentum=0.9)

        def step(self):
            self.optimizer.step()

    def drive(answer, parameters, gradients, lr):
        optimizer, trace = answer(parameters, lr), []
        for step in gradients:
            for p, g in zip(parameters, step, strict=True):
                p.grad = g
            optimizer.step()
            trace.append([p.detach().clone() for p in parameters])
        return trace

    def cases(seed):
        draw = torch.Generator().manual_seed(seed)
        tensors = [[torch.randn(3, generator=draw), torch.randn(2, 2, generator=draw)] for _ in range(5)]
        return [Case("4 steps", (tensors[0], tensors[1:], 0.1))]

    task = exercise("test.momentum", Torchs, cases, use=drive, changes_inputs=True)
    holds(
        task,
        [lambda p, lr: Momentum(p, lr)],
        [lambda p, lr: Momentum(p, lr, reset=True), lambda p, lr: Momentum(p, 2 * lr)],
    )


# ------------------------------------------------------------------------------------------------- chance


def draw_token(logits, generator):
    return int(torch.multinomial(torch.softmax(logits, 0), 1, generator=generator))


@pytest.mark.slow
def test_a_sampler_is_judged_by_its_law():
    def law(case):
        return dict(enumerate(torch.softmax(case.inputs[2].double(), 0).tolist()))

    def cases(seed):
        logits = torch.randn(5, generator=torch.Generator().manual_seed(seed))
        return [Case("5 tokens, 4000 draws", (seed, 4000, 2 * logits))]

    task = exercise("test.sample", draw_token, cases, use=sampled, accept=follows(law))

    def by_race(logits, generator):
        return int((logits - torch.empty_like(logits).exponential_(generator=generator).log()).argmax())

    wrong = [
        lambda logits, generator: int(logits.argmax()),
        lambda logits, generator: int(
            torch.multinomial(torch.softmax(logits / 3, 0), 1, generator=generator)
        ),
        lambda logits, generator: int(torch.randint(5, (), generator=generator)),
        lambda logits, generator: random.randrange(5),
        lambda logits, generator: int(torch.multinomial(torch.softmax(logits, 0), 1)),
        lambda logits, generator: int(
            torch.multinomial(torch.softmax(logits, 0), 1, generator=torch.Generator().manual_seed(1))
        ),
        lambda logits, generator: 7,
        lambda logits, generator: "a",
    ]
    holds(task, [lambda logits, generator: draw_token(logits, generator), by_race], wrong)


def test_the_tail_is_that_of_the_chi_squared_law():
    scipy = pytest.importorskip("scipy.stats")
    for chi2, freedom in ((1.0, 1), (9.3, 4), (80.0, 20), (150.0, 20)):
        assert tail(chi2, freedom) == pytest.approx(scipy.chi2.sf(chi2, freedom), rel=1e-9)


@pytest.mark.parametrize("law", [[0.5, 0.5], [0.9, 0.05, 0.03, 0.015, 0.005], [0.2] * 5])
def test_right_draws_raise_no_alarm(law):
    """The tail is calibrated: of 4000 experiments about one in a hundred is below 1/100, and none below the alarm."""
    generator = np.random.default_rng(0)
    counts = generator.multinomial(2000, law, size=4000)
    expected = 2000 * np.array(law)
    tails = np.array([tail(each, len(law) - 1) for each in ((counts - expected) ** 2 / expected).sum(1)])
    assert 0.005 < (tails < 0.01).mean() < 0.02
    assert tails.min() > FALSE_ALARM
    draws = [i for i, n in enumerate(counts[0]) for _ in range(n)]
    assert frequencies(draws, dict(enumerate(law))) is None
    assert "whose probability is 0" in frequencies([*draws, 99], dict(enumerate(law)))


# -------------------------------------------------------------------------------------- questions and a budget


def search(ask, length, budget):
    word = ["a"] * length
    best = ask(word)
    for i in range(length):
        for letter in "bc":
            trial = [*word]
            trial[i] = letter
            if (score := ask(trial)) > best:
                word, best = trial, score
    return word


def test_questions_are_counted_where_they_are_answered():
    def cases(seed):
        target = random.Random(seed).choices("abc", k=5)
        return [Case("a word of five letters, 12 questions", (5, 12), hidden=target)]

    def ask(case):
        return lambda guess: sum(a == b for a, b in zip(guess, case.hidden, strict=True))

    def use(answer, ask, length, budget):
        return answer(ask, length, budget)

    def accept(case, output, asked):
        if len(asked) > case.inputs[1]:
            return f"{len(asked)} questions, {case.inputs[1]} are allowed"
        return None if output == case.hidden else "that is not the word"

    def spends(ask, length, budget):
        found = search(ask, length, budget)
        for _ in range(3):
            ask(["a"] * length)
        getattr(ask, "__closure__", None)  # a forger of its own count finds nothing to clear
        return found

    task = exercise("test.search", search, cases, use=use, accept=accept, ask=ask)
    holds(task, [lambda *a: search(*a)], [spends, lambda ask, n, b: ["a"] * n])
    assert "hidden" not in str(loads(dumps(task.cases(0)[0].sent), live=True))
    with pytest.raises(ValueError, match="counts questions"):
        task.judge(task.cases(0), [["a"] * 5])


# ---------------------------------------------------------------------------------------------------- the four kinds


def kind(name):
    found = [task for task in exercises() if task.kind == name]
    assert found, f"no exercise of the kind {name}"
    return found


def test_every_kind_has_an_example():
    assert {task.kind for task in exercises()} == {"write", "bug", "predict", "weights", "judge"}


@pytest.mark.slow
@pytest.mark.parametrize("task", kind("bug"), ids=lambda task: task.name)
def test_a_bug_is_given_as_running_code_and_is_recognised(task):
    names: dict = {}
    for cell in source_notebook(CHAPTERS[task.name.partition(".")[0]]).cells[2:]:
        if cell.cell_type == "code":  # the set-up cell
            exec(cell.source, names)
            break
    exec(task.given, names)
    buggy = names[task.function]
    found = judged(task, buggy)
    assert not found.passed and "This is what comes out when" in found.hint
    assert not found.unwritten
    assert task.given.count("def ") == 1
    assert task.right.__name__ == task.function or task.right.__name__ not in task.given


def test_an_open_exercise_says_what_its_kind_asks_for(capsys, tmp_path, monkeypatch):
    task = checks.exercise("lora.mended_bytes")
    (tmp_path / "given.py").write_text(task.given)
    monkeypatch.syspath_prepend(tmp_path)
    untouched = __import__("given").mended_bytes
    checks.check(task.name, untouched)
    said = capsys.readouterr().out
    assert said.startswith("○ lora.mended_bytes   not repaired yet\n") and "NotImplementedError" not in said
    assert "○ not repaired yet" in repr(checks.progress("lora"))
    checks.check("embedding.table_share", None)
    assert "NotImplementedError" not in capsys.readouterr().out


def test_a_prediction_counts_once(capsys):
    task = checks.exercise("embedding.table_share")
    kinds._guesses.clear()
    checks.check(task.name, None)
    assert "put your value above in the place of None" in capsys.readouterr().out
    with pytest.raises(CheckFailed, match="not within a factor 1.5"):
        checks.check(task.name, 50)
    with pytest.raises(
        CheckFailed, match=r"your prediction 50.0, the first of this session,.*\n.*\n +expected = 9.18091$"
    ):
        checks.check(task.name, 9.2)  # the first guess counts
    for right in (9, 8.0, np.float32(9.5), torch.tensor(10.0), np.int64(12)):
        kinds._guesses.clear()
        checks.check(task.name, right)
    for wrong in ("9.2", [9.2], True, float("nan"), float("inf"), -9.2, 0):
        kinds._guesses.clear()
        with pytest.raises(CheckFailed):
            checks.check(task.name, wrong)
    kinds._guesses.clear()


@pytest.mark.parametrize("task", kind("predict"), ids=lambda task: task.name)
def test_a_miss_is_known_also_with_three_digits(task):
    for each in task.mistakes:
        found = judged(task, float(f"{each.function():.3g}"))
        assert found.hint == f"This is what comes out when {each.hint}"


def test_inputs_of_a_machine_have_their_names():
    wrong = {name: torch.zeros(4, 4, dtype=torch.float64) for name in ("W_q", "W_k", "W_v")}
    said = text(judged(checks.exercise("prompting.gradient_step_head"), wrong))
    assert all(f"    {name} = " in said for name in ("X", "y", "x_q", "n_layers")), said


@pytest.mark.slow
def test_weights_are_tried_on_fresh_inputs():
    task = checks.exercise("attention.previous_token_head")
    right = solutions("attention")[task.name]
    wrong = [
        {},
        5,
        {"W_q": right["W_q"]},
        {**right, "W_k": right["W_k"].mT},
        {**right, "W_k": right["W_k"] * float("nan")},
        {name: table.flip(0) for name, table in right.items()},
        {**right, "W_k": "a"},
        right["W_q"],
    ]
    assert judged(task, right).passed
    assert judged(task, {name: table.double().requires_grad_() for name, table in right.items()}).passed
    for answer in wrong:
        assert not judged(task, answer).passed
    assert judged(task, None).unwritten


@pytest.mark.slow
def test_the_impossible_one_is_at_every_place():
    one_of_five = [task for task in kind("judge") if task.cases(0)[0].hidden is not None]
    assert len(one_of_five) >= 5  # others judge each claim for itself
    for task in one_of_five:
        for seed in range(3):
            cases, known = known_at(task.name, seed)
            places = Counter(each[0] if isinstance(each := case.hidden, tuple) else each for case in cases)
            assert len(places) == 5
            for answer in (0, 1, 2, 3, 4, True, "0", 2.0, None):
                outputs = task.run(lambda lists, answer=answer: answer, cases)
                assert not task.judge(cases, outputs, known=known).passed


def test_students_start_with_running_cells():
    for name in chapters():
        stem = name.partition("_")[2]
        cells = {cell.id: cell for cell in _released(name).cells}
        for task in checks.chapter(stem).values():
            source = cells[task.function].source
            assert ("raise NotImplementedError" in source) == (task.kind in ("write", "judge")), task.name
            if task.value:
                assert f"{task.function} = None" in source
            assert cells[f"check_{task.function}"].source.startswith("from lecture_lib.checks import check\n")


def _released(name):
    import nbformat

    return nbformat.read(ROOT / "notebooks" / name / f"{name}.ipynb", as_version=4)


def test_an_array_is_what_accept_gets():
    task = checks.exercise("attention.previous_token_head")
    assert all(isinstance(output, Array) for output in task.expected(task.cases(0)))
    assert session.passed(task.name) in (True, False)
