"""Documented shapes held against real calls: while the tests run, every function of the library is watched.

A docstring's ``Q: (..., N, D_k) queries.`` names axes. In one call an axis has one size, wherever its name stands in the
arguments and in the result; a number is that size. Expressions such as ``2 N`` and shapes that "broadcast" are left alone.
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


def documented(function):
    """Shapes of a function's arguments, and of its result under the name "return"."""
    text = inspect.getdoc(function) or ""
    sections = dict(re.findall(r"^(Args|Returns):\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE))
    found = {}
    for name, description in re.findall(r"^ {4}(\w+): (.*)$", sections.get("Args", ""), re.MULTILINE):
        if "broadcast" not in description and (shapes := parse(description)):
            found[name] = shapes
    result = sections.get("Returns", "").strip()
    if shapes := parse(result):
        found["return"] = shapes
    return found


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
    """Replace the module's own functions, and the forward methods of its classes, by watched ones."""
    for name, thing in list(vars(module).items()):
        if inspect.isfunction(thing) and thing.__module__ == module.__name__:
            setattr(module, name, watched(thing))
        elif inspect.isclass(thing) and thing.__module__ == module.__name__ and "forward" in vars(thing):
            thing.forward = watched(thing.forward)


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
