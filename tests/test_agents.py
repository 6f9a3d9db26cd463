"""Agents: the lecture's architecture, pipelines that fail and run out of budget, laws of votes against enumeration, search."""

import itertools
import math
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, binom

from lecture_lib import agents
from lecture_lib.agents import (
    Candidate,
    Check,
    Critic,
    Fuser,
    Generator,
    Ledger,
    Pipeline,
    Ranker,
    Sort,
    Verifier,
    Vote,
)
from lecture_lib.agents.components import is_yes
from lecture_lib.chat import Reply, open_model
from lecture_lib.corpora.word_problems import steps_are_right
from lecture_lib.zoo import voted


@dataclass
class Written:
    """A chat model that is a function of the messages and the seed; it notes what it was asked."""

    answer: object
    name: str = "written"
    asked: list = field(default_factory=list)

    def replies(self, messages, sampling=None, *, n=1, max_new_tokens=None, stop=(), seed=None):
        self.asked.append((messages, sampling, seed))
        texts = [self.answer(messages, seed) for _ in range(n)]
        return [
            Reply(text, sum(len(m["content"].split()) for m in messages), len(text.split())) for text in texts
        ]


def by_part(messages, seed):
    """A careful model in all parts: draws answers by its seed, knows which is right."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    content = messages[-1]["content"]
    if system.startswith("Name the strengths"):
        return f"criticism of {content.split()[-1]}"
    if system.startswith("Order"):
        return "4, 2"
    if system.startswith("Is this"):
        return "Five and six: yes." if "11" in content.split("Answer:")[1] else "Surely no"
    if system.startswith("Several"):
        return f"fused 1{seed % 2}"
    return f"answer {seed}"


# ------------------------------------------------------------------------------------- the lecture's architecture


def test_the_lectures_architecture_is_the_one_that_is_drawn():
    model = Written(by_part)
    pipeline = agents.lecture_pipeline(model)
    shape = [(part.name, part.width) for part in pipeline.components]
    assert shape == [
        ("generator", 10),
        ("critic", 1),
        ("ranker", 1),
        ("fuser", 6),
        ("verifier", 1),
        ("fuser", 1),
    ]
    result = pipeline.run("how many?", n_workers=3)
    assert [stage.calls for stage in result.stages] == [10, 10, 1, 6, 6, 1]
    assert [stage.candidates for stage in result.stages] == [10, 10, 10, 6, 3, 1]
    assert (result.calls, result.failures, result.stopped) == (34, [], "")
    assert result.text.startswith("fused 1")
    fused = next(m for m, *_ in model.asked if m[0]["content"].startswith("Several"))[1]["content"]
    assert (
        fused.index("Answer 1: answer 3") < fused.index("criticism of 3") < fused.index("Answer 2: answer 1")
    )
    picture = pipeline.picture(result)
    svg = picture._repr_html_()
    assert svg.count("<rect") == 10 + 1 + 1 + 6 + 1 + 1 and "10 generators" in svg
    assert "10 calls" in svg and "failures" not in svg and "6 fusers" in picture.alt


def test_tokens_are_those_of_the_replies():
    model = Written(lambda messages, seed: "one two three")
    result = Pipeline((Generator(model, n=4),)).run("five words are asked here")
    assert (result.stages[0].tokens_in, result.stages[0].tokens_out, result.tokens) == (20, 12, 32)
    assert "generator     4     32    4" in result.table()


def test_seeds_do_not_depend_on_the_order_in_which_calls_end():
    def slow_first(messages, seed):
        time.sleep(0.02 if seed % 3 == 0 else 0)
        return f"seed {seed}"

    found = [
        Pipeline((Generator(Written(slow_first), n=7),)).run("q", n_workers=w, seed=5).candidates
        for w in (1, 4)
    ]
    assert found[0] == found[1] == tuple(Candidate(f"seed {50_000 + k}") for k in range(7))


def test_independent_calls_run_at_the_same_time():
    barrier = threading.Barrier(5, timeout=5)  # passes only when five calls are in it
    result = Pipeline((Generator(Written(lambda *_: str(barrier.wait() >= 0)), n=5),)).run("q", n_workers=5)
    assert not result.failures and len(result.candidates) == 5


# ---------------------------------------------------------------------------------------------------- failures


def failing(every):
    calls = itertools.count()

    def answer(messages, seed):
        if next(calls) % every == 0:
            raise ConnectionError("the line is cut")
        return "11"

    return Written(answer, "shaky")


def test_a_call_that_fails_costs_itself_alone():
    result = Pipeline((Generator(failing(2), n=6), Vote(str))).run("q", n_workers=1)
    assert result.text == "11" and result.calls == 6
    assert [stage.candidates for stage in result.stages] == [3, 1]
    assert result.failures == ["generator: shaky: ConnectionError: the line is cut"] * 3


@pytest.mark.parametrize("part", [Critic, Ranker, Fuser, Verifier])
def test_a_component_whose_calls_all_fail_hands_on_what_it_got(part):
    good, bad = Written(lambda *_: "11"), failing(1)
    result = Pipeline((Generator(good, n=3), part(bad), Vote(str))).run("q")
    assert result.text == "11" and any("the line is cut" in each for each in result.failures)


def test_a_component_that_raises_is_passed_over():
    def broken(question, candidates, ledger):
        raise KeyError("no such thing")

    broken.name, broken.width = "broken", 1
    result = Pipeline((Generator(Written(lambda *_: "11")), broken, Vote(str))).run("q")
    assert result.text == "11" and result.failures == ["broken: KeyError: 'no such thing'"]
    assert "failures" in Pipeline((broken,)).picture(Pipeline((broken,)).run("q"))._repr_html_()


def test_a_call_that_hangs_is_given_up():
    release = threading.Event()

    def hangs(messages, seed):
        if seed == 1:
            release.wait(20)
        return "11"

    start = time.perf_counter()
    result = Pipeline((Generator(Written(hangs), n=3), Vote(str))).run("q", timeout=0.2, n_workers=1)
    assert time.perf_counter() - start < 5
    release.set()
    assert result.text == "11" and result.stages[0].candidates == 2
    assert result.failures == ["generator: written: TimeoutError: no reply within 0.2 s"]


def test_where_nothing_passes_the_candidates_go_on_and_the_result_says_so():
    result = Pipeline((Generator(Written(lambda *_: "12"), n=2), Check(lambda text: text == "11"))).run("q")
    assert result.text == "12" and "lets no candidate pass" in result.failures[0]


def test_nothing_at_all():
    result = agents.lecture_pipeline(failing(1)).run("q")
    assert result.text is None and result.calls == 10 and not result.candidates


# ------------------------------------------------------------------------------------------------------ budget


@pytest.mark.parametrize("max_calls", [0, 1, 9, 10, 13, 20, 21, 24, 33, 34, 50])
def test_never_more_calls_than_the_budget(max_calls):
    model = Written(by_part)
    result = agents.lecture_pipeline(model).run("q", max_calls=max_calls)
    assert result.calls == len(model.asked) == min(max_calls, 34)
    assert bool(result.failures) == (max_calls < 34)
    assert (result.text is None) == (max_calls == 0)
    assert bool(result.stopped) == (max_calls not in (13, 24, 34, 50) and max_calls < 34) or max_calls in (
        13,
        24,
    )


def test_rules_still_run_when_the_budget_is_spent():
    result = Pipeline(
        (Generator(Written(lambda m, s: str(s % 3)), n=7), Critic(Written(by_part)), Vote(str))
    ).run("q", max_calls=5)
    assert result.text == "0" and result.stopped == "the budget is spent: 5 calls, 10 tokens"
    assert result.failures[0] == "generator: 2 of 7 calls not made: the budget is spent"


def test_tokens_end_a_pipeline_too_after_the_calls_that_run():
    model = Written(lambda *_: "a b c")  # 1 + 3 tokens a call
    result = Pipeline((Generator(model, n=10),)).run("q", max_tokens=9, n_workers=1)
    assert result.calls == 3 and result.tokens == 12 and len(result.candidates) == 3
    assert result.failures == ["generator: 7 of 10 calls not made: the budget is spent"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.integers(0, 40), st.integers(0, 10**6))
def test_a_purse_never_gives_more_than_it_has(max_calls, max_tokens, seed):
    rng, purse, running, calls, tokens = random.Random(seed), agents.Purse(max_calls, max_tokens), 0, 0, 0
    for _ in range(30):
        act = rng.choice(["reserve", "settle", "give_back"])
        if act == "reserve":
            n = rng.randint(0, 4)
            allowed = min(n, max_calls - calls) if tokens < max_tokens else 0
            assert purse.reserve(n) == allowed
            calls, running = calls + allowed, running + allowed
        elif running == 0:
            with pytest.raises(ValueError, match="no call is running"):
                purse.settle(1) if act == "settle" else purse.give_back()
        else:
            running -= 1
            spent = rng.randint(0, 9) if act == "settle" else 0
            purse.settle(spent) if act == "settle" else purse.give_back()
            tokens, calls = tokens + spent, calls - (act == "give_back")
        assert (purse.calls, purse.tokens, purse.running) == (calls, tokens, running)
    assert agents.Purse().reserve(1000) == 1000


# ----------------------------------------------------------------------------------------------------- components


@pytest.mark.parametrize(
    ("reply", "n", "order"),
    [
        ("2, 3, 1", 3, [1, 2, 0]),
        ("Best is answer 2.", 3, [1, 0, 2]),
        ("3 3 1", 4, [2, 0, 1, 3]),
        ("0, 7, 12", 3, [0, 1, 2]),
        ("", 2, [0, 1]),
        ("10 > 9", 10, [9, 8, 0, 1, 2, 3, 4, 5, 6, 7]),
        ("anything", 0, []),
    ],
)
def test_an_order_is_read_from_any_reply(reply, n, order):
    assert agents.ranking(reply, n) == order
    assert sorted(agents.ranking(reply, n)) == list(range(n))


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("yes", True),
        ("No.", False),
        ("It says no, but: YES!", True),
        ("", False),
        ("yesterday", False),
        ("I know", False),
    ],
)
def test_a_verdict_is_the_last_yes_or_no(text, yes):
    assert is_yes(text) == yes


def test_a_vote_takes_the_first_of_the_commonest():
    said = [Candidate(text) for text in ("a 3", "b 2", "c 2", "d", "e 3", "f 4")]
    number = lambda text: text[2:] or None  # noqa: E731
    assert Vote(number)("q", said, Ledger()) == [said[0]]
    assert Vote(number)("q", said[1:], Ledger()) == [said[1]]
    assert Vote(number)("q", [said[3]], Ledger()) == []


def test_rules_sort_and_check():
    said = [Candidate(text) for text in ("bb", "a", "ccc", "dd")]
    assert [c.text for c in Sort(lambda c: len(c.text), keep=3)("q", said, Ledger())] == ["ccc", "bb", "dd"]
    assert [c.text for c in Check(lambda text: len(text) == 2)("q", said, Ledger())] == ["bb", "dd"]


def test_a_pipeline_is_a_component():
    inner = Pipeline((Generator(Written(lambda m, s: str(s)), n=3), Sort(lambda c: int(c.text), keep=2)))
    result = Pipeline((inner, Vote(str))).run("q")
    assert result.text == "2" and result.stages[0].calls == 3
    shaky = Pipeline((Pipeline((Generator(failing(2), n=2),)), Vote(str))).run("q", n_workers=1)
    assert shaky.failures == ["pipeline: shaky: ConnectionError: the line is cut"]


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="n must be a positive integer, got 0"):
        Generator(Written(by_part), n=0)
    with pytest.raises(ValueError, match="model must be a chat model"):
        Critic("gpt")
    with pytest.raises(ValueError, match="timeout must be a positive number"):
        Ledger(timeout=0)


# ------------------------------------------------------------------------------------------------- votes, exactly


def by_enumeration(counts, n, again):
    """Hold every vote that there is."""
    chains = [kind for kind, count in enumerate(counts) for _ in range(count)]
    votes = itertools.product(chains, repeat=n) if again else itertools.combinations(chains, n)
    results = []
    for vote in votes:
        tally = Counter(kind for kind in vote if kind != len(counts) - 1)
        most = max(tally.values(), default=0)
        winners = [kind for kind, count in tally.items() if count == most]
        results.append((0 in winners) / max(len(winners), 1))
    return sum(results) / len(results)


@pytest.mark.parametrize(
    "counts", [[2, 1, 0], [2, 2, 1, 1], [3, 1, 1, 2], [1, 2, 0], [2, 1, 1, 1, 1], [0, 3, 1]]
)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("again", [True, False])
def test_a_plurality_is_that_of_all_votes(counts, n, again):
    if again or n <= sum(counts):
        found = agents.vote_accuracy(counts, n, again)
        assert found == pytest.approx(by_enumeration(counts, n, again), abs=1e-12)
    else:
        with pytest.raises(ValueError, match="at most"):
            agents.vote_accuracy(counts, n, again)


def test_two_answers_make_condorcets_sum():
    for right, n in ((7, 31), (9, 5), (3, 4)):
        tied = binom.pmf(n / 2, n, right / 16) / 2 if n % 2 == 0 else 0
        expected = binom.sf(n // 2, n, right / 16) + tied
        assert agents.vote_accuracy([right, 16 - right, 0], n) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("n", [1, 2, 3, 8, 31, 400])
def test_a_majority_is_that_of_the_beta_binomial(p, n):
    assert agents.majority_accuracy(p, 1.0, n) == p
    tied = lambda law: law.pmf(n / 2) / 2 if n % 2 == 0 else 0  # noqa: E731
    law = binom(n, p)
    assert agents.majority_accuracy(p, 0.0, n) == pytest.approx(law.sf(n // 2) + tied(law), abs=1e-9)
    if 0 < p < 1:
        for rho in (0.01, 0.4, 0.95):
            law = betabinom(n, p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho)
            assert agents.majority_accuracy(p, rho, n) == pytest.approx(law.sf(n // 2) + tied(law), abs=1e-9)


@pytest.mark.parametrize(("p", "f"), [*itertools.product([0.0, 0.2, 0.5, 1.0], [0.0, 0.3, 1.0])])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_first_that_passes_is_that_of_all_sequences(p, f, n):
    kinds = {"right": p, "passes": (1 - p) * f, "fails": (1 - p) * (1 - f)}
    expected = 0.0
    for drawn in itertools.product(kinds, repeat=n):
        first = next((kind for kind in drawn if kind != "fails"), "none")
        expected += (first == "right") * math.prod(kinds[kind] for kind in drawn)
    assert agents.first_passing(p, f, n) == pytest.approx(expected, abs=1e-12)
    if p:
        assert agents.first_passing(p, f, 10**6) == pytest.approx(p / (p + (1 - p) * f), abs=1e-9)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(1, 50))
def test_problems_that_differ_make_the_first_that_passes_worse(p, q, share, f, n):
    """The accuracy is concave in p: that of the mean is an upper bound, on which an exercise rests."""
    mixed = share * agents.first_passing(p, f, n) + (1 - share) * agents.first_passing(q, f, n)
    assert mixed <= agents.first_passing(min(share * p + (1 - share) * q, 1.0), f, n) + 1e-9


def test_a_budget_is_split_by_simulation_as_well():
    p, t, f, budget = 0.3, 0.9, 0.3, 16
    n, k = agents.draws_and_checks(p, t, f, budget)
    assert n * (1 + k) <= budget
    rng = np.random.default_rng(0)

    def simulated(n, k, size=200_000):
        right = rng.random((size, n)) < p
        passes = (rng.random((size, n, k)) < np.where(right, t, f)[..., None]).all(-1)
        return (right[np.arange(size), passes.argmax(1)] & passes.any(1)).mean()

    best = simulated(n, k)
    for other in ((1, 0), (8, 1), (4, 3), (2, 7)):
        assert other == (n, k) or simulated(*other) < best + 0.005
    assert agents.draws_and_checks(0.3, 1.0, 1.0, 16) == (
        1,
        0,
    )  # a check that refuses nothing is not paid for


def test_mean_and_correlation_are_found_again():
    rng = np.random.default_rng(0)
    p = rng.beta(1.2, 0.8, size=200_000)
    mean, rho = agents.mean_and_correlation(rng.binomial(16, p), 16)
    assert mean == pytest.approx(0.6, abs=0.005) and rho == pytest.approx(1 / 3, abs=0.005)
    with pytest.raises(ValueError, match="100% are right"):
        agents.mean_and_correlation([4, 4], 4)


# -------------------------------------------------------------------------------------------------------- search


def hill(one):
    """Best at n = 7 with the second rule; more than twelve calls are not allowed."""
    cost = one["n"] * (2 if one["rule"] == "b" else 1)
    return None if cost > 14 else 1 - abs(one["n"] - 7) / 20 - (one["rule"] != "b") / 4


SPACE = {"rule": ["a", "b", "c"], "n": list(range(1, 21))}


def test_every_architecture_is_scored_once():
    found = agents.every_architecture(SPACE, hill)
    assert found.best == {"rule": "b", "n": 7} and found.score == 1 and found.trials == 14 + 7 + 14
    with pytest.raises(ValueError, match="no architecture is within the budget"):
        agents.every_architecture(SPACE, lambda one: None)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_pays_for_no_more_trials_than_it_may(sampler):
    asked = []
    counted = lambda one: asked.append(replace_none(hill(one))) or hill(one)  # noqa: E731
    replace_none = lambda score: score if score is not None else "refused"  # noqa: E731
    found = agents.search_architectures(SPACE, counted, 12, seed=1, sampler=sampler)
    paid = [each for each in asked if each != "refused"]
    assert found.trials == len(paid) == 12 and found.score == max(paid) == hill(found.best)
    again = agents.search_architectures(SPACE, hill, 12, seed=1, sampler=sampler)
    assert again == found and list(found.history) == sorted(found.history)
    with pytest.raises(ValueError, match="no architecture"):
        agents.search_architectures(SPACE, lambda one: None, 3, sampler=sampler)


# ---------------------------------------------------------------------------------------------- with a real model


@pytest.mark.slow
def test_the_course_model_solves_a_problem_with_parts_that_are_programs():
    course, problem = open_model("course_instruct"), voted.asked(0)[4]
    parts = Generator(course, n=6, max_new_tokens=60), Check(steps_are_right), Vote(voted.answer_of)
    result = Pipeline(parts).run(problem.question, max_calls=5, seed=1)
    assert result.calls == 5 and result.stages[0].candidates == 5 and result.tokens > 5 * 30
    assert voted.answer_of(result.text) is not None and steps_are_right(result.text)
    again = Pipeline(parts).run(problem.question, max_calls=5, seed=1, n_workers=1)
    assert again.candidates == result.candidates
    course.close()


def test_an_endpoint_that_counts_no_tokens_costs_calls_alone():
    class Silent(Written):
        def replies(self, *arguments, **named):
            return [
                replace(each, tokens_in=None, tokens_out=None)
                for each in super().replies(*arguments, **named)
            ]

    pipeline = agents.lecture_pipeline(Silent(by_part))
    free = pipeline.run("question")
    assert free.calls == 34 and free.tokens == 0 and not any(s.failures for s in free.stages)
    bound = pipeline.run("question", max_tokens=100)
    assert bound.calls == 34 and "counts no tokens" in bound.stages[0].failures[0]
