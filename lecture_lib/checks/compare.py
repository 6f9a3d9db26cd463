"""When are two plain results the same? Types first, then shapes, then number types, then values."""

import numpy as np

from lecture_lib.checks.plain import SCALARS, Array, Raised, Refused, type_name

TOLERANCE = {
    "float64": 1e-9,
    "complex128": 1e-9,
    "float32": 1e-5,
    "complex64": 1e-5,
    "float16": 5e-3,
    "bfloat16": 4e-2,
}


def difference(
    found: object, expected: object, tolerance: float | None = None, entry: str = "entry"
) -> str | None:
    """What separates a result from the expected one, as a sentence; None if nothing does.

    Args:
        found: plain form of the result.
        expected: plain form of the reference's result.
        tolerance: largest allowed |found - expected| / (1 + |expected|) of 32 and 64 bits; None takes 1e-5 for
            float32 and 1e-9 for float64 and Python's own floats. Half precision has its own.
        entry: what the reader calls an entry of a list.

    Returns:
        None, or the difference in words, with both values.
    """
    if isinstance(found, Raised | Refused) or isinstance(expected, Raised | Refused):
        return _abnormal(found, expected)
    if _label(found) != _label(expected):
        return f"returned {describe(found)}; expected {describe(expected)}"
    if isinstance(found, Array):
        return _array_difference(found, expected, tolerance)
    if type(found) in (list, tuple):
        return _sequence_difference(found, expected, tolerance, entry)
    if type(found) is dict:
        return _dict_difference(found, expected, tolerance)
    if type(found) in (float, complex):
        same = bool(_close(found, expected, 1e-9 if tolerance is None else tolerance))
    elif type(found) in (set, frozenset):
        same = set(map(repr, found)) == set(map(repr, expected))  # 1, 1.0 and True are three things here
    else:
        same = found == expected
    return None if same else _both(found, expected)


def describe(value: object) -> str:
    """A result in a few words: ``one torch.Tensor (2, 4)``, ``a tuple (torch.Tensor, None)``."""
    if isinstance(value, Refused):
        return value.reason
    if isinstance(value, Array):
        return f"one {value.kind} {_shape(value)} of {value.dtype}"
    if type(value) in (list, tuple) and len(value) <= 4:
        return f"a {type(value).__name__} ({', '.join(_label(each) for each in value)})"
    if type(value) in (list, tuple, dict, set, frozenset):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"{type_name(value)} {shorten(value)}"


def shorten(value: object, width: int = 160) -> str:
    """A printed value, cut in the middle of a long one."""
    if type(value) is int and value.bit_length() > 4000:
        return f"an int of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= width else f"{text[: width // 2]} … {text[-width // 3 :]}"


def _both(found: object, expected: object) -> str:
    """Two results; floats with six digits, where these tell them apart."""
    mine, theirs = shorten(found), shorten(expected)
    if type(found) is type(expected) is float and max(len(mine), len(theirs)) > 8:
        six = f"{found:.6g}", f"{expected:.6g}"
        mine, theirs = six if six[0] != six[1] else (mine, theirs)
    return f"yours {mine}, expected {theirs}"


def _abnormal(found: object, expected: object) -> str | None:
    if isinstance(found, Refused) and found == expected:  # two wrong answers refused for the same reason
        return None
    if isinstance(found, Refused) and found.is_sentence:
        return found.reason
    if isinstance(found, Refused):
        wanted = "" if isinstance(expected, Raised) else f"; expected {describe(expected)}"
        return f"returned {found.reason}{wanted}"
    if isinstance(expected, Raised) and isinstance(found, Raised):
        kin = found.kind == expected.kind if not expected.family else expected.family[0] in found.family
        return None if kin else f"raised {found.kind}; expected {expected.kind}" + _where(found)
    if isinstance(expected, Raised):
        return f"returned {describe(found)}; this input must raise {expected.kind}"
    if isinstance(expected, Refused):
        return f"returned {describe(found)}"
    return f"raised {found.kind}: {found.words}" + _where(found) + _explained(found)


def _where(found: Raised) -> str:
    return f"\n      {found.line}" if found.line else ""


def _explained(found: Raised) -> str:
    if "leaf Variable that requires grad" in found.words:
        return "\n      `X += ...` writes into the caller's X; `X = X + ...` makes a new tensor"
    if "modified by an inplace operation" in found.words:
        return (
            "\n      `X += ...` overwrites numbers that the gradient needs; `X = X + ...` makes a new tensor"
        )
    return ""


def _label(value: object) -> str:
    if isinstance(value, Refused):
        return value.reason
    return value.kind if isinstance(value, Array | Raised) else type_name(value)


def _shape(array: Array) -> str:
    return str(tuple(int(n) for n in array.values.shape))


def _close(found: object, expected: object, tolerance: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        error = np.abs(np.asarray(found) - np.asarray(expected))
        near = np.isfinite(expected) & (error <= tolerance * (1 + np.abs(expected)))
        both_nan = np.isnan(found) & np.isnan(expected)  # so that a known mistake is recognised by its NaN
        return (np.asarray(found) == np.asarray(expected)) | near | both_nan


def _array_difference(found: Array, expected: Array, tolerance: float | None) -> str | None:
    if found.values.shape != expected.values.shape:
        return f"returned shape {_shape(found)}; expected {_shape(expected)}"
    if found.dtype != expected.dtype or found.values.dtype != expected.values.dtype:
        return f"shape {_shape(found)} is right; its numbers are {found.dtype}, expected {expected.dtype}"
    if np.issubdtype(found.values.dtype, np.inexact):
        usual = TOLERANCE.get(found.dtype, 4e-2)
        if (
            usual > 1e-4
        ):  # half precision: every step rounds, and the size of the largest number decides how much
            finite = np.abs(expected.values[np.isfinite(expected.values)].astype(np.float64))
            tolerance = usual * (1 + float(finite.max(initial=0.0)))
        same = _close(found.values, expected.values, usual if tolerance is None else tolerance)
    else:
        same = np.equal(found.values, expected.values)
    return None if np.all(same) else _count(found.values, expected.values, ~np.asarray(same))


def _count(found: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str:
    where = tuple(int(n) for n in np.argwhere(wrong)[0]) if found.ndim else ()
    words = f"shape {found.shape} is right; {wrong.sum()} of {found.size} entries differ, the first at {list(where)}: "
    words += f"yours {_number(found[where])}, expected {_number(expected[where])}"
    if np.issubdtype(found.dtype, np.inexact):
        if np.isnan(found).any():
            return f"{words}; {np.isnan(found).sum()} entries are NaN"
        with np.errstate(all="ignore"):
            words += f"; largest difference {np.abs(found - expected)[wrong].max():.3g}"
    return words


def _number(value: np.generic) -> str:
    if not isinstance(value, np.floating) or value == 0:
        return f"{value}"
    return f"{float(value):.4f}" if 1e-3 < abs(float(value)) < 1e5 else f"{float(value):.6g}"


def _sequence_difference(
    found: list | tuple, expected: list | tuple, tolerance: float | None, entry: str
) -> str | None:
    for place, (mine, theirs) in enumerate(zip(found, expected, strict=False)):
        if words := difference(mine, theirs, tolerance):
            if _small(mine) and _small(theirs):
                words = _both(mine, theirs)
            return f"{entry} {place}{f' of {len(expected)}' if entry == 'entry' else ''}: {words}"
    if len(found) == len(expected):
        return None
    return f"returned {len(found)} entries, expected {len(expected)}: {_both(found, expected)}"


def _small(value: object) -> bool:
    """Whether an entry is told whole: a short tuple of scalars, such as a pair."""
    return type(value) is tuple and len(value) <= 6 and all(type(each) in SCALARS for each in value)


def _dict_difference(found: dict, expected: dict, tolerance: float | None) -> str | None:
    mine, theirs = set(map(repr, found)), set(map(repr, expected))
    for key in (key for key in expected if repr(key) in mine):
        if words := difference(found[key], expected[key], tolerance):
            return f"at {shorten(key)}: {words}"
    if missing := [key for key in expected if repr(key) not in mine]:
        return f"the key {shorten(missing[0])} is missing ({len(missing)} in all)"
    if extra := [key for key in found if repr(key) not in theirs]:
        return f"the key {shorten(extra[0])} does not belong there ({len(extra)} in all)"
    return None
