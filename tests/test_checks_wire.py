"""Plain data over the wire: everything comes back as it was, and nothing that anybody can send does harm."""

import base64
import json
import math
import random
import time

import numpy as np
import pytest
import torch
from answers import exercises
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_lib.checks import Case, exercise
from lecture_lib.checks.compare import difference
from lecture_lib.checks.plain import Array, Raised, Refused, plain, raised
from lecture_lib.checks.wire import MOST_BYTES, NotPlain, dumps, loads

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.binary(),
    st.text(st.characters()),
)
KEYS = st.one_of(SCALARS, st.tuples(SCALARS, SCALARS))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner),
        st.frozensets(KEYS),
        st.sets(KEYS),
    ),
    max_leaves=20,
)


def unordered(value):
    """The types and values in words; a set has no order."""
    if type(value) in (set, frozenset):
        return type(value).__name__, sorted(repr(each) for each in value)
    if type(value) in (list, tuple):
        return type(value).__name__, [unordered(each) for each in value]
    return [(unordered(k), unordered(x)) for k, x in value.items()] if type(value) is dict else repr(value)


@pytest.mark.slow
@given(VALUES)
@settings(max_examples=100)
def test_builtins_come_back(value):
    assert unordered(loads(dumps(value))) == unordered(value)
    assert unordered(loads(dumps(plain(value)))) == unordered(plain(value))


DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128]
DTYPES += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x.mT,
        lambda x: x[1:, ::2],
        lambda x: x[:1].expand(3, 4, 5),
        lambda x: x[0, 0, 0],
        lambda x: x[:0],
        lambda x: x.movedim(0, -1)[1:],
    ],
)
def test_tensors_keep_dtype_values_and_strides(dtype, view):
    x = view((10 * torch.randn(3, 4, 5, dtype=torch.float64)).to(dtype))
    back = loads(dumps(x), live=True)
    assert (back.dtype, back.shape, back.stride()) == (x.dtype, x.shape, x.stride())
    assert torch.equal(back, x)
    array = plain(x)
    again = loads(dumps(array))
    assert (again.kind, again.dtype) == (array.kind, array.dtype) and np.array_equal(
        again.values, array.values
    )


def test_numbers_at_the_edge_come_back():
    for value in (-0.0, math.inf, -math.inf, 10**400, -(2**63), 5e-324, complex(-0.0, math.inf)):
        assert repr(loads(dumps(value))) == repr(value)
    assert math.isnan(loads(dumps(math.nan)))
    x = torch.tensor([-0.0, math.nan, math.inf])
    assert str(loads(dumps(x), live=True)) == str(x)
    assert loads(dumps({(1, "a"): (2,), (): {(0.5,): [()]}})) == {(1, "a"): (2,), (): {(0.5,): [()]}}
    for value in (np.zeros((0, 3)), np.float32([[1.5]]), np.array(3), np.array([True])):
        back = loads(dumps(value), live=True)
        assert back.dtype == value.dtype and np.array_equal(back, value) and back.shape == value.shape


def test_errors_and_refusals_come_back():
    try:
        raise ValueError("\ud800 é")
    except ValueError as error:
        told = raised(error)
    for value in (told, Raised("A", "b", "c", ("d", "e"), True), Refused("é", True), Refused("x")):
        assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        print,
        [1, {"a": torch.nn.Linear(1, 1)}],
        torch.eye(2).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.nn.Parameter(torch.zeros(2)),
        np.array(["a"]),
        np.array([object()]),
        np.float64(1.0),
        range(3),
        bytearray(3),
        2**20_000,
        [0] * 10**6,
        dict.fromkeys(range(10**4)),
        np.zeros(2 * 10**6),
        type("Sub", (list,), {})(),
        Case("a case", ()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_plain_is_not_sent(value):
    with pytest.raises(NotPlain):
        dumps(value)


def nested(depth):
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE = [
    b"", b"null x", b"{}", b"[]", b"[1]", b'["torch"]', b'["dict",[[],1]]', b'["dict",[["list"],1]]', b"1.5", b"NaN",
    b"\xff", b'"\\ud800', b'["set",["list"]]', b'["Array","torch.Tensor","float32","float32",[2],"AAAA"]',
    b'["Array","evil","float32","float32",[1],"AAAAAA=="]', b'["Array","torch.Tensor","float32","object",[1],"AAAAAA=="]',
    b'["Raised","x"]', b'["Refused","QQ==",1]', b'["float","0x1p99999"]', b'["float",1]', b'["int","0x' + b"f" * 9999 + b'"]',
    b'["str","!"]', b'["bytes",5]', b'["tuple"' + b",1" * 500_000 + b"]", b"9" * 5000, b"[" * 10**5, json.dumps(nested(900)).encode(),
    b'["numpy","float32",[1],"AAAAAA=="]', b'["torch","float32",[1],[1],"AAAAAA=="]', b'["Array","torch.Tensor","float32","float32",[-1],""]',
    b'["Array","torch.Tensor","float32","float32",[0,1099511627775,1099511627775],""]', b'["Case"]', b"0" * (MOST_BYTES + 1),
]  # fmt: skip


@pytest.mark.parametrize("raw", HOSTILE, ids=lambda raw: repr(raw[:30]))
def test_a_hostile_message_is_refused_at_once(raw):
    start = time.process_time()
    with pytest.raises(NotPlain):
        loads(raw)
    assert time.process_time() - start < 5  # no more than a bound on runaway work
    with pytest.raises(NotPlain):
        loads("not bytes")


def test_a_live_tensor_cannot_reach_beyond_its_bytes():
    text = base64.b64encode(bytes(8)).decode()
    for shape, stride in (([3], [1]), ([2], [2]), ([2, 2], [1, 10**12]), ([10**9], [0]), ([2], [-1])):
        message = json.dumps(["torch", "float32", shape, stride, text]).encode()
        with pytest.raises(NotPlain):
            loads(message, live=True)
    assert loads(json.dumps(["torch", "float32", [2], [1], text]).encode(), live=True).tolist() == [0.0, 0.0]


@pytest.mark.slow
def test_keys_that_all_collide_are_bounded():
    collide = json.dumps(["dict", *([["int", hex(k * (2**61 - 1))], 0] for k in range(1, 10**5))]).encode()
    with pytest.raises(NotPlain):
        loads(collide)


@pytest.mark.slow
@pytest.mark.parametrize("task", exercises(), ids=lambda task: task.name)
def test_every_case_comes_back(task):
    for case in task.cases(1):
        back = Case(*loads(dumps(case.sent), live=True))
        assert difference(plain([back.inputs, back.named]), plain([case.inputs, case.named]), 0.0) is None


def mutated(raw, draw):
    data = bytearray(raw)
    for _ in range(draw.randrange(1, 6)):
        kind, place = draw.randrange(5), draw.randrange(len(data))
        if kind == 0:
            data[place] = draw.randrange(256)
        elif kind == 1:
            data[place] = draw.choice(b'[]",0123456789-elt')
        elif kind == 2:
            del data[place : place + draw.randrange(1, 20)]
        elif kind == 3:
            data[place:place] = data[draw.randrange(len(data)) :][: draw.randrange(30)]
        else:
            data[place:place] = draw.choice(
                [b"[", b'["list",', b"null", b'["Refused","",true]', b"1e9", b"99999999999999999999"]
            )
        if not data:
            return b"0"
    return bytes(data)


def mutated_messages_are_judged_or_refused(count):
    draw, tasks = (
        random.Random(0),
        ["attention.softmax", "tokenization.learn_merges", "attention.previous_token_head"],
    )
    plain_ones = 0
    for name in tasks:
        task = exercise(name)
        cases = task.cases(0)[:2]
        known = task.known(cases)
        messages = [dumps(output) for output in known.expected] + [
            dumps(raised(ValueError("x"))),
            dumps(Refused("y")),
        ]
        for _ in range(count // len(tasks)):
            try:
                value = loads(mutated(draw.choice(messages), draw))
            except NotPlain:
                continue
            plain_ones += 1
            assert task.judge(cases, [value, value], None, known) is not None
    assert plain_ones > count / 100


def test_mutated_messages_are_judged_or_refused():
    mutated_messages_are_judged_or_refused(600)


@pytest.mark.slow
def test_many_mutated_messages_are_judged_or_refused():
    mutated_messages_are_judged_or_refused(10_000)


def test_an_array_that_lies_about_itself_is_judged():
    task = exercise("attention.softmax")
    case = task.cases(0)[0]
    for values in (np.zeros(3, bool), np.zeros(3, complex), np.zeros(3, np.int64), np.zeros((), np.float32)):
        lie = loads(dumps(Array("torch.Tensor", "float32", values)))
        assert not task.judge([case], [lie]).passed
