"""Fields: every helper takes NumPy's numbers as Python's own, refuses the rest, and says in one sentence what may be."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lecture_lib.fields import (
    at_least,
    chance,
    chance_below_one,
    check_fields,
    choice,
    number,
    one_of,
    positive,
    positive_real,
    probability,
    real,
    token_ids,
    token_sequences,
    whole,
)

INTEGERS = [
    np.int8,
    np.uint8,
    np.int16,
    np.uint16,
    np.int32,
    np.uint32,
    np.int64,
    np.uint64,
    torch.tensor,
    int,
]
FLOATS = [np.float16, np.float32, np.float64, torch.tensor, float]


@dataclass(frozen=True)
class Numbers:
    """A field of every kind."""

    n: int = at_least(2)
    rate: float = positive()
    share: float = probability(0.5)
    drop: float = probability(0.0, below_one=True)
    slope: float = number(-1, 0.0)
    kind: str = one_of(("a", "b"), "a")
    ids: tuple[int, ...] = token_ids()
    words: tuple[tuple[int, ...], ...] = token_sequences()
    flag: bool = False
    plain: float = 1.0
    label: str | None = None
    k: int | None = at_least(1, None)
    limit: float | None = positive(3.0)

    def __post_init__(self) -> None:
        check_fields(self)


# --- what is taken ---


@given(st.integers(0, 100))
def test_whole_numbers_of_any_kind_become_pythons(n):
    for kind in INTEGERS:
        assert whole("n", kind(n)) == n and type(whole("n", kind(n))) is int
    assert whole("n", np.array(n)) == n


@given(st.floats(-8, 8, width=16))
def test_real_numbers_of_any_kind_become_pythons(x):
    for kind in FLOATS:
        assert real("x", kind(x)) == x and type(real("x", kind(x))) is float
    assert real("x", 3) == 3.0 and real("x", Fraction(1, 2)) == 0.5 and real("x", np.int64(3)) == 3.0


def test_a_config_holds_pythons_numbers():
    config = Numbers(
        np.int64(3), np.float32(0.5), np.float64(1), np.int8(0), -1, "b", np.array([1, 2]), [np.array([1]), (2, 3)],
        k=np.uint8(1), plain=np.float16(2),
    )  # fmt: skip
    assert config == Numbers(3, 0.5, 1.0, 0.0, -1.0, "b", (1, 2), ((1,), (2, 3)), k=1, plain=2.0)
    kinds = [type(value) for value in vars(config).values()]
    assert kinds == [int, float, float, float, float, str, tuple, tuple, bool, float, type(None), int, float]
    assert {type(i) for i in (*config.ids, *config.words[1])} == {int}
    for ids in ([1, 2], (1, 2), range(1, 3), torch.tensor([1, 2]), [np.int64(1), 2]):
        assert Numbers(2, 1, ids=ids).ids == (1, 2)


def test_truth_values():
    for value in (True, np.True_, torch.tensor(True), np.array(True)):
        assert Numbers(2, 1.0, flag=value).flag is True
        for name in ("n", "rate", "share", "k"):
            with pytest.raises(ValueError, match=f"^{name} must be "):
                Numbers(**{"n": 2, "rate": 1.0, name: value})


def test_none_passes_where_it_is_meant():
    config = Numbers(2, 1.0, label=None, k=None, limit=None)
    assert config.k is config.limit is config.label is None
    for name in ("share", "n", "flag", "plain", "kind", "ids"):
        with pytest.raises(ValueError, match=f"^{name}|every token id in {name}"):
            Numbers(**{"n": 2, "rate": 1.0, name: None})


def test_what_is_checked_keeps_its_value():
    assert [whole("n", 5, 5), real("x", -0.0), chance("p", 0), chance("p", 1), choice("c", "a", "abc")]
    assert chance("p", np.float32(0.25)) == 0.25 and positive_real("x", 1e-300) == 1e-300
    assert choice("c", None, ("a", None)) is None


# --- what is refused ---

NO_INTEGERS = [
    2.0,
    2.5,
    np.float64(2),
    "2",
    b"2",
    None,
    True,
    False,
    np.True_,
    [2],
    (2,),
    math.nan,
    torch.tensor(2.0),
    2j,
]
NO_NUMBERS = [
    "2",
    b"2",
    None,
    True,
    np.True_,
    [2],
    (2,),
    math.nan,
    np.float32("nan"),
    2j,
    torch.ones(2),
    np.ones(2),
    10**400,
]


@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
def test_no_integer(value):
    for low, wanted in (
        (0, "an integer, 0 or more"),
        (1, "a positive integer"),
        (3, "an integer, 3 or more"),
    ):
        with pytest.raises(ValueError, match=f"^n must be {wanted}, got "):
            whole("n", value, low)
    with pytest.raises(ValueError, match="n must be an integer, 2 or more"):
        Numbers(value, 1.0)
    with pytest.raises(
        ValueError, match="every token id in ids must be an integer, 0 or more|ids must be a list"
    ):
        Numbers(2, 1.0, ids=[value])


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: str(value)[:20])
def test_no_number(value):
    with pytest.raises(ValueError, match="^x must be a number, got "):
        real("x", value)
    with pytest.raises(ValueError, match="^rate must be a positive number, got "):
        Numbers(2, value)
    with pytest.raises(ValueError, match="^plain must be a number, got "):
        Numbers(2, 1.0, plain=value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 1}, "n must be an integer, 2 or more, got 1"),
        ({"rate": 0}, "rate must be a positive number, got 0"),
        ({"rate": -1.0}, "rate must be a positive number, got -1.0"),
        ({"rate": math.inf}, "rate must be a positive number, got inf"),
        ({"share": 1.01}, "share must be a probability, 0 to 1, got 1.01"),
        ({"share": -1e-9}, "share must be a probability, 0 to 1, got -1e-09"),
        ({"drop": 1}, "drop must be a probability below 1, got 1"),
        ({"slope": -1.5}, "slope must be a number, -1 or more, got -1.5"),
        ({"slope": math.inf}, "slope must be a number, -1 or more, got inf"),
        ({"kind": "c"}, "kind must be one of a, b; got 'c'"),
        ({"ids": 3}, "ids must be a list or tuple, got 3"),
        ({"ids": "12"}, "ids must be a list or tuple, got '12'"),
        ({"ids": (1, -1)}, "every token id in ids must be an integer, 0 or more, got -1"),
        ({"words": (1,)}, "every item of words must be a list or tuple, got 1"),
        ({"words": ((1,), ())}, r"every item of words must hold at least one token id, got \(\(1,\), \(\)\)"),
        ({"words": "ab"}, "words must be a list or tuple, got 'ab'"),
        ({"flag": 1}, "flag must be True or False, got 1"),
        ({"flag": "yes"}, "flag must be True or False, got 'yes'"),
        ({"plain": math.inf}, "plain must be a number, got inf"),
        ({"label": 3}, "label must be a str or None, got 3"),
        ({"k": 0}, "k must be a positive integer, got 0"),
        ({"limit": 0}, "limit must be a positive number, got 0"),
    ],
)
def test_out_of_range(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Numbers(**{"n": 2, "rate": 1.0, **changes})


def test_a_field_without_a_default_is_required():
    with pytest.raises(TypeError, match="rate"):
        Numbers(2)


def test_what_fits_is_said_in_the_message():
    with pytest.raises(ValueError, match="^x must be even, got 3$"):
        real("x", 3, lambda x: x % 2 == 0, "even")
    with pytest.raises(ValueError, match="^p must be a probability below 1, got 1$"):
        chance_below_one("p", 1)
    with pytest.raises(ValueError, match=r"^c must be one of a, None; got 'b'$"):
        choice("c", "b", ("a", None))
