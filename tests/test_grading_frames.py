"""Whatever a confined process writes on its line: the judge gets data or `Ended`, goes on, and gives no mark for it."""

import json
import os
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_lib.checks import exercise, wire
from lecture_lib.checks.plain import NotPlain
from lecture_lib.checks.script import Questions
from lecture_lib.grading import frames
from lecture_lib.grading.confine import Limits
from lecture_lib.grading.server import Child, Ended

TASK = exercise("attention.softmax")
OURS = TASK.cases(2)
KNOWN = TASK.known(OURS)
# Right results of other cases: the best that anybody can send who has not seen ours.
THEIRS = [wire.dumps(each).decode() for each in TASK.known(TASK.cases(1)).expected]


def frame(message):
    raw = json.dumps(message).encode()
    return struct.pack(">I", len(raw)) + raw


READY = frame({"ready": 1})
ASK = {"ask": 0, "with": wire.dumps((1.0,)).decode()}


@pytest.fixture(scope="module")
def handle():
    """A process that does nothing, in the place of the confined one."""
    process = subprocess.Popen(["sleep", "1000"])
    handle = os.pidfd_open(process.pid)
    yield handle
    os.close(handle)
    process.kill()
    process.wait()


@contextmanager
def child(handle, written, hang_up=True):
    """A child on whose line those bytes stand, and nothing behind them."""
    mine, theirs = socket.socketpair()
    with mine, theirs:
        writing = threading.Thread(target=write, args=(theirs, READY + written, hang_up))
        writing.start()
        try:
            yield Child(mine, handle, Limits())
        finally:
            mine.close()
            writing.join()


def write(line, raw, hang_up):
    try:
        line.sendall(raw)
        if hang_up:
            line.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def mark(child, questions=None):
    """Whether the results that come give the points; None: the process is taken for ended."""
    try:
        return TASK.judge(OURS, child.calls(TASK.name, "softmax", OURS, 1.0, questions), None, KNOWN).passed
    except Ended:
        return None


numbers = st.one_of(st.integers(), st.integers(10**300, 10**301), st.floats(), st.booleans(), st.none())
values = st.recursive(
    st.one_of(numbers, st.text(max_size=20), st.sampled_from(THEIRS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=12), st.dictionaries(st.sampled_from(["results", "ask", "with", "x"]), inner)
    ),
    max_leaves=30,
)
messages = st.one_of(
    st.fixed_dictionaries({"results": st.lists(values, min_size=len(OURS), max_size=len(OURS))}),
    st.fixed_dictionaries({"results": st.permutations((THEIRS * 3)[: len(OURS)])}),
    st.fixed_dictionaries({"ask": values, "with": values}),
    st.just(ASK),
    st.dictionaries(st.sampled_from(["results", "ask", "outputs", "ready", "told"]), values),
    values,
)


@st.composite
def lines(draw):
    """Frames one behind the other, some with a wrong length, some cut off, some changed, some said twice."""
    raw = b""
    for message in draw(st.lists(messages, min_size=1, max_size=4)):
        one = bytearray(frame(message))
        kind = draw(st.sampled_from(["as it is", "length", "cut", "bytes", "twice"]))
        if kind == "length":
            one[:4] = struct.pack(">I", draw(st.one_of(st.integers(0, 2**32 - 1), st.integers(0, len(one)))))
        elif kind == "cut":
            del one[draw(st.integers(0, len(one))) :]
        elif kind == "bytes":
            for place in draw(st.lists(st.integers(0, len(one) - 1), max_size=5)):
                one[place] = draw(st.integers(0, 255))
        raw += bytes(one) * (1 + (kind == "twice"))
    return raw


@pytest.mark.slow
@given(st.one_of(lines(), st.binary(max_size=200)))
@settings(max_examples=400)
def test_no_line_is_a_crash_or_a_mark(handle, written):
    questions = Questions(lambda case: lambda *asked: 0.0, OURS)
    for asking in (None, questions):
        with child(handle, written) as process:
            assert not mark(process, asking)
            for _ in range(2):  # what is left on the line meets the next requests
                try:
                    process.cell("1 + 1", 1.0)
                except Ended:
                    break
            assert not mark(process, asking)


def test_right_results_of_our_cases_are_a_mark(handle):
    """Or the fuzz would test nothing."""
    right = [wire.dumps(each).decode() for each in KNOWN.expected]
    with child(handle, frame({"results": right})) as process:
        assert mark(process)
    with child(handle, frame({"results": THEIRS})) as process:
        assert mark(process) is False
    with child(handle, frame({"results": right[:-1]})) as process:
        assert mark(process) is None


@pytest.mark.slow
@given(st.lists(st.dictionaries(st.text(), values), min_size=1, max_size=4), st.integers(1, 50))
def test_frames_arrive_whole_in_whatever_pieces(sent, piece):
    mine, theirs = socket.socketpair()
    with mine, theirs:
        raw = b"".join(map(frame, sent))

        def drip():
            for place in range(0, len(raw), piece):
                theirs.sendall(raw[place : place + piece])

        dripping = threading.Thread(target=drip)
        dripping.start()
        got = [frames.receive(mine) for _ in sent]
        dripping.join()
    assert json.dumps(got) == json.dumps(sent)


HUGE = {
    "a length of four gigabytes": b"\xff\xff\xff\xff",
    "a length one above the limit": struct.pack(">I", frames.MOST + 1),
    "deep nesting": struct.pack(">I", 10**6) + b"[" * 10**6,
    "a number of a million digits": struct.pack(">I", 10**6) + b"9" * 10**6,
    "millions of empty objects": struct.pack(">I", 3 * 10**6 + 15)
    + b'{"results": [0'
    + b",{}" * 10**6
    + b"]",
    "no JSON": struct.pack(">I", 4) + b"{'a'",
    "not ASCII": struct.pack(">I", 4) + b'"\xc3\xa9"',
    "not an object": struct.pack(">I", 2) + b"[]",
}


@pytest.mark.parametrize("what", HUGE)
def test_a_frame_that_would_take_room_or_time_is_refused(what):
    mine, theirs = socket.socketpair()
    with mine, theirs:
        writing = threading.Thread(target=write, args=(theirs, HUGE[what], True))
        writing.start()
        before = time.process_time()
        with pytest.raises(NotPlain):
            frames.receive(mine)
        assert time.process_time() - before < 5
        mine.close()
        writing.join()


def test_questions_are_kept_up_to_a_size(handle):
    large = frame({"ask": 0, "with": wire.dumps(("x" * 400_000,)).decode()})
    questions = Questions(lambda case: lambda *asked: 0.0, OURS)
    with child(handle, large * 100) as process, pytest.raises(Ended, match="bytes of questions"):
        process.calls(TASK.name, "softmax", OURS, 1.0, questions)
    assert len(questions.asked[0]) == frames.MOST // 400_006 < 100
