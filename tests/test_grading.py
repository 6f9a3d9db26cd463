"""What comes back from a class, broken, cheating or right: each gets the mark it should, whoever stands beside it."""

import base64
import json
import time

import nbformat
import pytest
from classroom import (
    ASSIGNMENT,
    AUTO,
    FULL,
    STEM,
    before,
    cell,
    code,
    needs_isolation,
    raw,
    release,
    replaced,
    solved,
    unsolved,
    without_metadata,
)

from lecture_lib import checks
from lecture_lib.grading.server import Ended, Server
from lecture_lib.grading.submission import Judge, grade, tasks_of

RIGHT = {f"check_{name}": float(points) for name, points in AUTO.items()}


@pytest.fixture(scope="module")
def server():
    needs_isolation()
    with Server("nested", stem="attention") as server:
        yield server


@pytest.fixture(scope="module")
def judge():
    return Judge(20_261)


def graded(server, judge, notebook, **options):
    result = grade(
        notebook if isinstance(notebook, bytes) else raw(notebook), release(), STEM, server, judge, **options
    )
    if result.notebook:
        nbformat.validate(nbformat.reads(result.notebook, as_version=4))
    return result


def lost(result):
    """Names of the exercises that did not get their points."""
    return {name for name in AUTO if result.marks[f"check_{name}"] != AUTO[name]}


@pytest.mark.slow
def test_a_right_notebook_gets_all_points(server, judge):
    result = graded(server, judge, solved())
    assert {name: mark for name, mark in result.marks.items() if name in RIGHT} == RIGHT
    assert not result.failures and not result.repairs


@pytest.mark.slow
def test_an_empty_notebook_gets_none(server, judge):
    result = graded(server, judge, unsolved())
    assert sum(result.marks.values()) == 0 and not result.failures and not result.alarms
    assert "not written yet" in result.messages["check_softmax"]


@pytest.mark.slow
def test_a_copy_that_a_cell_makes_of_itself_does_not_answer_too(server, judge):
    result = graded(server, judge, before("softmax", "import os\nos.fork()"))
    assert not lost(result) and not result.failures


ENDS = {
    "an endless loop": ("while True:\n    pass", "computing"),
    "a loop that swallows interrupts": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "computing",
    ),
    "os._exit": ("import os\nos._exit(0)", "ended"),
    "kill -9 of itself": ("import os\nos.kill(os.getpid(), 9)", "ended"),
    "a segmentation fault": ("import ctypes\nctypes.string_at(0)", "ended"),
    "SIGSTOP": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "stopped"),
    "processes that compute": (
        "import os\nfor _ in range(6):\n    if os.fork() == 0:\n        while True: pass\nos.wait()",
        "computing",
    ),
    "memory over many processes": (
        "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        x = b'x' * (600 << 20)\n"
        "        time.sleep(60)\ntime.sleep(60)",
        "memory",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", ENDS)
def test_what_ends_its_process_costs_its_own_points_only(server, judge, what):
    source, why = ENDS[what]
    for place in ("softmax", "keys_without_scaling"):  # the first and the last exercise
        result = graded(server, judge, replaced(place, source), seconds=20.0 if why == "memory" else 3.0)
        assert lost(result) == {place}, result.failures
        assert any(why in line for line in result.failures), result.failures


@pytest.mark.slow
def test_an_answer_that_ends_its_process_when_it_is_called(server, judge):
    for source in (
        "def softmax(x, dim=-1):\n    import os; os._exit(0)",
        "def softmax(x, dim=-1):\n    while True: pass",
    ):
        assert lost(graded(server, judge, replaced("softmax", source))) == {"softmax"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.exit()",
        "def softmax(x, dim=-1):\n    import sys\n    sys.exit()",
        "def softmax(x dim):",
        "def softmax(x, dim=-1):\n    return input('?')",
        "%pip install nothing-of-the-kind\ndef softmax(x, dim=-1):\n    return x",
        "class E(Exception):\n    def __str__(self): raise self\ndef softmax(x, dim=-1):\n    raise E()",
        "x = bytearray(100 << 30)",
        "softmax = 7",
        "class T:\n    def __eq__(self, other): return True\ndef softmax(x, dim=-1):\n    return T()",
    ],
)
def test_a_wrong_answer_costs_its_own_points_only(server, judge, source):
    assert lost(graded(server, judge, replaced("softmax", source))) == {"softmax"}


@pytest.mark.slow
def test_warnings_and_bars_cost_nothing(server, judge):
    noisy = (
        cell(solved(), "softmax")["source"] if isinstance(cell(solved(), "softmax")["source"], str) else ""
    )
    noisy = noisy or "".join(cell(solved(), "softmax")["source"])
    noise = "import sys, warnings\nprint('busy', file=sys.stderr)\nwarnings.warn('old')\n"
    assert lost(graded(server, judge, replaced("softmax", noise + noisy))) == set()


CHEATS = {
    "an input transformer that empties every cell": "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass\\n'])",
    "the course's judge replaced": "import lecture_lib.checks.exercise as e\ne.Exercise.judge = lambda *a, **k: None",
    "run replaced": "from lecture_lib.checks.exercise import Exercise\nExercise.run = lambda self, answer, cases, ask=None: [self.call(self.reference, c) for c in cases]",
    "the sender replaced": "import lecture_lib.grading.hands as h\nh.send = lambda line, message: None",
    "a frame sent before it is asked for": (
        "import socket, os, struct, json\nfor fd in range(3, 64):\n    try:\n        s = socket.socket(fileno=os.dup(fd))\n"
        "        r = json.dumps({'results': []}).encode()\n        s.send(struct.pack('>I', len(r)) + r)\n    except OSError: pass"
    ),
    "a frame of four gigabytes": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'\\xff\\xff\\xff\\xff' + b'x' * 1000)\n    except OSError: pass"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CHEATS)
def test_meddling_gains_nothing(server, judge, what):
    result = graded(server, judge, before("softmax", CHEATS[what], unsolved()))
    gained = {name for name, mark in result.marks.items() if mark}
    borrowed = (
        what == "run replaced"
    )  # the reference called in the student's process: a copied solution, and an alarm
    assert gained == set() or (borrowed and any("lecture_lib.checks" in each for each in result.alarms))
    assert lost(graded(server, judge, solved())) == set()  # the next one


@pytest.mark.slow
def test_broken_files(server, judge):
    good = raw(solved())
    text = good.decode()
    for file, why in (
        (good[: len(good) // 2], "no JSON"),
        (b"", "empty"),
        (b"[1, 2]", "no notebook"),
        (b'{"cells": 3}', "no notebook"),
        (b"<<<<<<< HEAD\n" + good + b"\n=======\n" + good + b"\n>>>>>>> other\n", "conflict"),
        (b"[" * 100_000, "no JSON"),
        (raw({"cells": [code("1 + 1")], "metadata": {}}), "another notebook"),
    ):
        result = graded(server, judge, file)
        assert sum(result.marks.values()) == 0 and why in result.failures[0], (why, result.failures)
    for file, why in (
        (b"\xef\xbb\xbf" + good, "byte-order"),
        (
            json.dumps(solved(), ensure_ascii=False).replace("the", "thé", 1).encode("latin-1", "replace"),
            "not UTF-8",
        ),
        (text.encode("utf-16"), "not UTF-8"),
    ):
        result = graded(server, judge, file)
        assert lost(result) == set() and why in result.repairs[0], result.repairs


@pytest.mark.slow
def test_cells_that_lost_their_metadata(server, judge):
    result = graded(server, judge, without_metadata(solved()))
    assert lost(result) == set() and "put back" in result.repairs[0]
    bare = without_metadata(solved())
    for each in bare["cells"]:
        each.pop("id")
    assert lost(graded(server, judge, bare)) == set()


@pytest.mark.slow
def test_deleted_edited_and_copied_cells(server, judge):
    notebook = solved()
    notebook["cells"].remove(cell(notebook, "check_softmax"))
    result = graded(server, judge, notebook)
    assert lost(result) == set() and "check_softmax: the cell was missing" in result.repairs[0]
    assert (
        "check_softmax: the check was changed"
        in graded(server, judge, replaced("check_softmax", "assert True")).repairs[0]
    )
    assert lost(graded(server, judge, replaced("check_softmax", "assert True", unsolved()))) == set(AUTO)
    notebook = solved()
    answer = cell(notebook, "softmax")
    for empty_first in (True, False):
        copy = {**answer, "source": cell(unsolved(), "softmax")["source"]}
        place = notebook["cells"].index(answer)
        twice = {**notebook, "cells": list(notebook["cells"])}
        twice["cells"].insert(place + (not empty_first), copy)
        result = graded(server, judge, twice)
        assert lost(result) == set() and "2 copies" in result.repairs[0], empty_first
    notebook["cells"] = [
        each for each in notebook["cells"] if each.get("id") not in ("softmax", "check_softmax")
    ]
    assert lost(graded(server, judge, notebook)) == {"softmax"}


@pytest.mark.slow
def test_the_answer_is_called_where_its_check_stands(server, judge):
    notebook = solved()
    place = notebook["cells"].index(cell(notebook, "check_softmax"))
    notebook["cells"].insert(place + 1, code("softmax = None"))
    assert lost(graded(server, judge, notebook)) == set()


@pytest.mark.slow
def test_outputs_are_capped_and_inactive(server, judge):
    noise = "print('x' * 5_000_000)\nfor _ in range(3000): display(3)\nfrom IPython.display import HTML\nHTML('<script>1</script>')\n"
    result = graded(server, judge, before("softmax", noise + "from IPython.display import display", solved()))
    assert lost(result) == set() and len(result.notebook) < 2_000_000
    outputs = [each.get("outputs", []) for each in json.loads(result.notebook)["cells"]]
    assert max(map(len, outputs)) <= 51 and "<script" not in json.dumps(outputs)


@pytest.mark.slow
def test_submitted_outputs_stay_without_what_could_act(server, judge):
    notebook = solved()
    figure = cell(notebook, "cell-53")
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 20).decode()
    figure["outputs"] = [
        {
            "output_type": "display_data",
            "data": {"image/png": png, "text/html": "<script>", "image/svg+xml": "<svg onload=1>"},
        },
        {"output_type": "display_data", "data": {"image/png": "no picture", "text/plain": ["\x1b[31mred"]}},
        {"output_type": "unheard of"},
        7,
    ]
    shown = [
        each
        for each in json.loads(graded(server, judge, notebook).notebook)["cells"]
        if "cell-53" in each["id"]
    ][0]
    assert shown["outputs"] == [
        {"output_type": "display_data", "metadata": {}, "data": {"text/plain": "", "image/png": png}},
        {"output_type": "display_data", "metadata": {}, "data": {"text/plain": "[31mred"}},
    ]


@pytest.mark.slow
def test_all_cells_draw_their_figures(server, judge):
    drawn = graded(
        server, judge, before("softmax", "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    )
    cells = json.loads(drawn.notebook)["cells"]
    (mine,) = (each for each in cells if each["id"].endswith("-mine"))
    assert any("image/png" in each.get("data", {}) for each in mine["outputs"])


@pytest.mark.slow
def test_questions_share_one_time(server):
    """An answer that asks for ever, a little at a time, is ended like one that computes for ever."""
    child = server.start()
    try:
        child.cell(
            "import time\nfrom lecture_lib.grading import hands\n"
            "def forever(shell, request, ask):\n    while True: ask(0)(1)\nhands.run_calls = forever",
            5,
        )
        cases = checks.exercise("attention.softmax").cases(0)
        start = time.monotonic()
        with pytest.raises(Ended, match="computing|no answer within"):
            child.calls("attention.softmax", "x", cases, 1.0, lambda place: lambda *asked: 0)
        assert time.monotonic() - start < 30
    finally:
        child.close()


@pytest.mark.slow
def test_a_notebook_that_only_waits_is_ended(server, judge, monkeypatch):
    monkeypatch.setattr("lecture_lib.grading.submission.WHOLE", 1)
    notebook = before("scaled_dot_product_attention", "import time\ntime.sleep(4)")
    result = graded(server, judge, notebook, seconds=3.0)
    assert result.by_clock and "whole notebook" in " ".join(result.failures)
    assert result.marks["check_softmax"] == AUTO["softmax"]


@pytest.mark.slow
def test_ten_thousand_outputs_and_a_large_file(server, judge):
    notebook = solved()
    stream = {"output_type": "stream", "name": "stdout", "text": "line\n" * 100}
    cell(notebook, "cell-53")["outputs"] = [stream] * 10_000
    result = graded(server, judge, notebook)
    assert lost(result) == set() and len(result.notebook) < 1_000_000
    result = graded(server, judge, raw(solved()) + b" " * (101 << 20))
    assert "MB" in result.failures[0]


OWN = """
import types
from lecture_lib.checks import exercise
{name} = exercise({task!r}).mistakes[{place}].function
if isinstance({name}, types.FunctionType):  # a function of the reader's own with the same mistake
    f, code = {name}, {name}.__code__.replace(co_name="own", co_filename="cell")
    {name} = types.FunctionType(code, dict(f.__globals__), "own", f.__defaults__, f.__closure__)
    {name}.__kwdefaults__ = f.__kwdefaults__
"""


@pytest.mark.slow
@pytest.mark.parametrize("stem", checks.chapters())
def test_a_mark_and_a_hint_are_those_of_the_notebook(server, stem):
    """Every known mistake: run here as a notebook does, and through a confined process."""
    judge, child = Judge(11), server.start()
    try:
        for task in tasks_of(stem).values():
            cases, known = judge.known(task)
            for place in range(len(task.mistakes) if not (task.value or task.ask) else 0):
                source, mine = OWN.format(name="wrong", task=task.name, place=place), {}
                exec(source, mine)
                here = task.judge(cases, task.run(mine["wrong"], cases), None, known)
                child.cell(source, 20)
                there = task.judge(cases, child.calls(task.name, "wrong", cases, task.seconds), None, known)
                told = (task.name, task.mistakes[place].hint)
                assert (here.passed, here.hint) == (there.passed, there.hint) and not here.passed, told
    finally:
        child.close()


def test_the_assignment_has_the_points_that_these_tests_expect():
    assert sum(task.points for task in tasks_of(STEM).values()) == FULL and ASSIGNMENT.endswith(STEM)
