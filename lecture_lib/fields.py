"""Ranges of numbers and choices, said once where a field or an argument stands, checked in one place.

A config declares `n_heads: int = at_least(1)` and calls `check_fields(self)`; a function calls
`n = whole("n_heads", n, 1)`. NumPy's integers and floats count as numbers and become Python's.
"""

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, field, fields
from functools import partial
from typing import Any, get_args

REQUIRED = MISSING  # a field without a default


def whole(name: str, value: Any, low: int = 0, high: int | None = None, why: str = "") -> int:
    """Give an integer, NumPy's too, as Python's own, and refuse what is none, such as True, or outside `low` ... `high`.

    `name` is for the message, and so is `why`, which says where the largest comes from.
    """
    wanted = "a positive integer" if low == 1 else f"an integer, {low} or more"
    wanted = wanted if high is None else f"an integer from {low} to {high}{why}"
    try:
        number = None if is_truth(value) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return number


def real(
    name: str, value: Any, fits: Callable[[float], bool] = math.isfinite, wanted: str = "a number"
) -> float:
    """Give a real number, NumPy's too, as Python's own, and refuse what is none, or not `wanted`: what `fits` says no to."""
    try:
        number = math.nan if is_truth(value) or isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    if math.isnan(number) or not fits(number):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return number


# As `real`, in a range: `p = chance("p", p)`.
chance = partial(real, fits=lambda x: 0 <= x <= 1, wanted="a probability, 0 to 1")
chance_below_one = partial(real, fits=lambda x: 0 <= x < 1, wanted="a probability below 1")
positive_real = partial(real, fits=lambda x: 0 < x < math.inf, wanted="a positive number")


def choice(name: str, value: Any, choices: Iterable) -> Any:
    """Give a value that is among the choices, and refuse another."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}; got {value!r}")
    return value


def declared(check: Callable[[str, Any], Any], default: Any) -> Any:
    """A dataclass field whose value goes through `check(name, value)`; None passes where it is the default."""
    return field(default=default, metadata={"check": check})


def at_least(low: int, default: Any = REQUIRED) -> Any:
    """A field that holds an integer, `low` or more."""
    return declared(lambda name, value: whole(name, value, low), default)


def positive(default: Any = REQUIRED) -> Any:
    """A field that holds a finite number above 0."""
    return declared(positive_real, default)


def number(low: float, default: Any = REQUIRED) -> Any:
    """A field that holds a finite number, `low` or more."""
    wanted = f"a number, {low:g} or more"
    return declared(lambda name, value: real(name, value, lambda x: low <= x < math.inf, wanted), default)


def probability(default: Any = REQUIRED, below_one: bool = False) -> Any:
    """A field that holds a number from 0 to 1; with `below_one`, 1 itself is refused."""
    return declared(chance_below_one if below_one else chance, default)


def token_ids(default: tuple[int, ...] = ()) -> Any:
    """A field that holds token ids; any sequence or array of them becomes a tuple."""
    return declared(ids_of, default)


def token_sequences(default: tuple[tuple[int, ...], ...] = ()) -> Any:
    """A field that holds sequences of token ids, made a tuple of tuples; an empty one is refused."""

    def check(name: str, value: Any) -> tuple[tuple[int, ...], ...]:
        sequences = tuple(ids_of(f"every item of {name}", item) for item in items_of(name, value))
        if not all(sequences):
            raise ValueError(f"every item of {name} must hold at least one token id, got {value!r}")
        return sequences

    return declared(check, default)


def one_of(choices: tuple, default: Any = REQUIRED) -> Any:
    """A field that holds one of the choices."""
    return declared(lambda name, value: choice(name, value, choices), default)


def check_fields(config: Any) -> None:
    """Check every field of a dataclass by what it declares, or else by its type; call it in `__post_init__`.

    Numbers are replaced by Python's own, in a frozen one too. The first field whose value does not fit is refused by name.
    """
    for each in fields(config):
        value = getattr(config, each.name)
        if value is None and (each.default is None or type(None) in get_args(each.type)):
            continue
        checked = declared_check(each)(each.name, value)
        if checked is not value:
            object.__setattr__(config, each.name, checked)


def declared_check(each: Field) -> Callable[[str, Any], Any]:
    """The check that a field declares, or that of its type, such as `bool` or `RotaryScaling | None`."""
    kinds = get_args(each.type) or (each.type,)
    plain = all(isinstance(kind, type) for kind in kinds)
    return (
        each.metadata.get("check")
        or BY_TYPE.get(each.type)
        or partial(instance, kinds if plain else (object,))
    )


def instance(kinds: tuple[type, ...], name: str, value: Any) -> Any:
    """Give a value that is an instance of one of the classes, and refuse another."""
    if not isinstance(value, kinds):
        names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ValueError(f"{name} must be a {names}, got {value!r}")
    return value


def items_of(name: str, value: Any) -> list:
    """Give the items of a list, tuple, set, array or tensor, and refuse what is not a row of them."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(value, list | tuple | set | frozenset | range):
        raise ValueError(f"{name} must be a list or tuple, got {value!r}")
    return list(value)


def ids_of(name: str, value: Any) -> tuple[int, ...]:
    """Give token ids as a tuple of Python's integers, and refuse what is no list of them."""
    return tuple(whole(f"every token id in {name}", token) for token in items_of(name, value))


def flag(name: str, value: Any) -> bool:
    """Give a truth value, NumPy's too, as Python's own, and refuse what only acts like one."""
    if not is_truth(value):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def is_truth(value: Any) -> bool:
    """Tell True and False, also those of NumPy and torch, from numbers."""
    kind = str(getattr(value, "dtype", "")).removeprefix("torch.")
    return isinstance(value, bool) or (kind == "bool" and not getattr(value, "ndim", 0))


BY_TYPE: dict[Any, Callable[[str, Any], Any]] = {bool: flag, float: real}
