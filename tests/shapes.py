"""Documented shapes held against real calls: while the tests run, every function of the library is watched.

A docstring's ``Q: (..., N, D_k) queries.`` names axes. In one call an axis has one size, wherever its name stands in the
arguments and in the result; a number is that size. Expressions such as ``2 N`` and shapes that "broadcast" are left alone.

A docstring may refer instead of repeating. "as `features`" before its sections: arguments that it does not describe are
those of `features`. "As `features`" under Returns, or in the place of an argument's description: that is described there.
`features` is a name of the same class or module, or a path from it. Without Returns, a shape in the first line is the result's.
"""

import functools
import importlib.abc
import importlib.machinery
import inspect
import re
import sys

SHAPE = re.compile(r"\(([^()]*)\)")


class ShapeLie(AssertionError):
    """A call whose shapes are not the documented ones."""


def parse(text):
    """Alternative shapes at the start of a description, each a list of axes; [] if it does not start with a shape."""
    shapes = []
    while found := SHAPE.match(text):
        inner = found[1].strip()
        axes = [axis.strip() for axis in inner.split(",") if axis.strip()]
        if not all(re.fullmatch(r"\.\.\.|[\w|^* +/-]+", axis) for axis in axes) or (
            inner and "," not in inner and len(axes) == 1 and inner != "..."
        ):
            return []
        shapes.append(axes)
        text = text[found.end() :]
        if not text.startswith(" or ("):
            break
        text = text.removeprefix(" or ")
    return shapes


def sections(function):
    """The docstring as (text before the sections, {argument: description}, what it says of the result)."""
    text = inspect.getdoc(function) or ""
    parts = dict(re.findall(r"^(Args|Returns|Yields):\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE))
    arguments = dict(re.findall(r"^ {4}(\w+)(?: \([^)]*\))?: (.*)$", parts.get("Args", ""), re.MULTILINE))
    before = re.split(
        r"^(?:Args|Returns|Yields|Raises|Example|Source):", text, maxsplit=1, flags=re.MULTILINE
    )[0]
    return before, arguments, parts.get("Returns", parts.get("Yields", "")).strip()


def referred(text, function):
    """The functions that a piece of a docstring refers to: "as `name`"; a name that is found nowhere is prose."""
    module = sys.modules.get(function.__module__)
    owner = functools.reduce(
        lambda a, name: getattr(a, name, None), function.__qualname__.split(".")[:-1], module
    )
    found = []
    for path in re.findall(r"\bas `([\w.]+)`", text, re.IGNORECASE):
        first, *rest = path.split(".")
        start = getattr(owner, first, None) or getattr(module, first, None)
        other = functools.reduce(lambda a, name: getattr(a, name, None), rest, start)
        other = getattr(other, "__init__", None) if inspect.isclass(other) else other
        if inspect.isfunction(other) and other.__qualname__ != function.__qualname__:
            found.append(other)
    return found


def descriptions(function):
    """What is said of every argument, and of the result under the name "return", here or where the docstring refers to."""
    before, arguments, result = sections(function)
    found = {}
    for other in referred(before, function):
        found |= {name: text for name, text in descriptions(other).items() if name != "return"}
    for name, text in [*arguments.items(), ("return", result or first_shape(before))]:
        there = [] if parse(text) else [descriptions(other).get(name) for other in referred(text, function)]
        if said := next(filter(None, [*there, text]), None):
            found[name] = said
    names = {*inspect.signature(function).parameters, "return"}
    return {name: text for name, text in found.items() if name in names}


def first_shape(before):
    """The summary line from its only shape on, without code and formulas; "" if it has none, or several."""
    line = re.sub(r"`[^`]*`|\$[^$]*\$", "", before.partition("\n")[0])
    texts = [line[found.start() :] for found in SHAPE.finditer(line)]
    texts = [text for text in texts if any(parse(text)) and all(map(is_axis, parse(text)[0]))]
    return texts[0] if len(texts) == 1 else ""


def is_axis(axis):
    """Tell an axis, such as N, D_k or 2 N, from words in brackets."""
    return bool(re.match(r"\.\.\.$|[A-Z0-9|]|[a-z]$", axis))


def documented(function):
    """Shapes of a function's arguments, and of its result under the name "return"."""
    texts = descriptions(function).items()
    return {name: shapes for name, text in texts if "broadcast" not in text and (shapes := parse(text))}


def fits(axes, shape, sizes):
    """Sizes of the axes after one more shape; None if it does not fit."""
    if "..." in axes:
        place = axes.index("...")
        behind = len(axes) - place - 1
        if len(shape) < len(axes) - 1:
            return None
        axes = axes[:place] + axes[place + 1 :]
        shape = shape[:place] + (shape[len(shape) - behind :] if behind else ())
    if len(axes) != len(shape):
        return None
    sizes = dict(sizes)
    for axis, size in zip(axes, shape, strict=True):
        if axis.isdigit() and int(axis) != size:
            return None
        if re.fullmatch(r"[A-Za-z_]\w*|\|V\|", axis) and sizes.setdefault(axis, size) != size:
            return None
    return sizes


def hold(function, shapes, bound, result):
    """Compare one call with its documentation."""
    sizes = {}
    for name, alternatives in shapes.items():
        value = result if name == "return" else bound.get(name)
        if not hasattr(value, "shape") or not hasattr(value, "dtype"):
            continue
        options = [new for axes in alternatives if (new := fits(axes, tuple(value.shape), sizes)) is not None]
        if not options:
            wanted = " or ".join(f"({', '.join(axes)})" for axes in alternatives)
            raise ShapeLie(
                f"{function.__qualname__}: {name} is documented as {wanted}, is {tuple(value.shape)} with {sizes}"
            )
        sizes = options[0]


def watched(function):
    """The function, held to its documented shapes; itself if it documents none."""
    shapes = documented(function)
    if not shapes:
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        result = function(*args, **kwargs)
        hold(function, shapes, signature.bind(*args, **kwargs).arguments, result)
        return result

    return call


def watch_module(module):
    """Replace the module's own functions, and the methods of its classes, by watched ones."""
    for name, thing in list(vars(module).items()):
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing):
            setattr(module, name, watched(thing))
        elif inspect.isclass(thing):
            for method, function in list(vars(thing).items()):
                if inspect.isfunction(function) and (method == "__call__" or not method.startswith("__")):
                    setattr(thing, method, watched(function))


class Finder(importlib.abc.MetaPathFinder):
    """Import hook that watches the library's modules as they are loaded, so that whoever imports from them gets the watched ones."""

    def find_spec(self, name, path, target=None):
        if not name.startswith("lecture_lib.") or name.startswith("lecture_lib.checks"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (execute(module), watch_module(module))
        return spec


def install():
    """Watch everything of the library that is imported from now on."""
    loaded = [name for name in sys.modules if name.startswith("lecture_lib.")]
    assert not loaded, f"too late: {loaded} are loaded"
    sys.meta_path.insert(0, Finder())
