"""Public docstrings are complete, their examples run, and the book's reference has every module."""

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
import shapes
import torch

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "lecture_lib"
FILES = sorted(
    path for path in LIBRARY.rglob("*.py") if not path.name.startswith("_") or path.name == "__init__.py"
)


def definitions(path):
    """Public functions, and methods of public classes, with the class they belong to."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield None, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield None, node
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield node, inner


def exported(path):
    """Names that a package's readers see: those of its __init__; None for a module, all of whose names are public."""
    if path.parent == LIBRARY:
        return None
    tree = (
        ast.parse((path.parent / "__init__.py").read_text())
        if (path.parent / "__init__.py").exists()
        else ast.parse("")
    )
    lists = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    ]
    return set(ast.literal_eval(lists[0])) if lists else set()


def is_public(path, owner, node):
    names = exported(path)
    return node.name != "extra_repr" and (names is None or (owner or node).name in names)


PUBLIC = [
    (path, owner, node) for path in FILES for owner, node in definitions(path) if is_public(path, owner, node)
]
FUNCTIONS = [(path, owner, node) for path, owner, node in PUBLIC if isinstance(node, ast.FunctionDef)]


def name(value):
    if isinstance(value, Path):
        return ".".join(value.relative_to(LIBRARY).with_suffix("").parts)
    return getattr(value, "name", "")


def parameters(node):
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    arguments += [node.args.vararg] if node.args.vararg else []
    return [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]


def is_property(node):
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


@pytest.mark.parametrize(("path", "owner", "node"), PUBLIC, ids=name)
def test_there_is_a_docstring(path, owner, node):
    assert ast.get_docstring(node), f"{node.name} has no docstring"


def live(path, owner, node):
    """The function itself."""
    module = importlib.import_module(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    )
    found = getattr(getattr(module, owner.name) if owner else module, node.name)
    return inspect.unwrap(found)


def is_tensor(annotation):
    text = "" if annotation is None else ast.unparse(annotation)
    return "Tensor" in text and not re.search(
        r"(dict|Mapping|Callable|Sequence|list|Iterator|Iterable)\[", text
    )


def is_short_and_internal(path, owner, node):
    """A helper with a docstring of one paragraph, which no package offers by name: it may leave the rest to its code."""
    package = importlib.import_module("lecture_lib." + path.relative_to(LIBRARY).parts[0].removesuffix(".py"))
    offered = owner is None and node.name in getattr(package, "__all__", ())
    return not offered and "Args:" not in (ast.get_docstring(node) or "")


@pytest.mark.parametrize(("path", "owner", "node"), FUNCTIONS, ids=name)
def test_tensors_are_described_here_or_where_the_docstring_refers_to(path, owner, node):
    if is_property(node) or is_short_and_internal(path, owner, node):
        return
    function = live(path, owner, node)
    _, own, _ = shapes.sections(function)
    assert list(own) == [argument for argument in parameters(node) if argument in own], "no such argument"
    described = shapes.descriptions(function)
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    missing = [a.arg for a in arguments if is_tensor(a.annotation) and a.arg not in described]
    missing += ["return"] if is_tensor(node.returns) and "return" not in described else []
    assert not missing, f"{node.name}: say the shape of {missing}, or refer: as `another_function`"


@pytest.mark.parametrize(("path", "owner", "node"), FUNCTIONS, ids=name)
def test_every_error_that_is_raised_is_documented(path, owner, node):
    inner = [each for each in ast.walk(node) if isinstance(each, ast.Raise) and each.exc is not None]
    kinds = {ast.unparse(each.exc.func if isinstance(each.exc, ast.Call) else each.exc) for each in inner}
    if not kinds - {"NotImplementedError", "error"} or is_short_and_internal(path, owner, node):
        return
    function = live(path, owner, node)
    texts = [
        inspect.getdoc(each) or "" for each in (function, *shapes.referred(function.__doc__ or "", function))
    ]
    said = "".join(text.partition("Raises:")[2] for text in texts)
    # "Give an integer, and refuse what is none." says it too.
    said += "ValueError" if re.search(r"\b[Rr]efuse", texts[0]) else ""
    for kind in kinds - {"NotImplementedError", "error"}:
        assert kind.rpartition(".")[2] in said, f"{kind} is raised; say when"


@pytest.mark.parametrize(("path", "owner", "node"), FUNCTIONS, ids=name)
def test_arguments_and_results_are_annotated(path, owner, node):
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    assert [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")] == []
    assert node.returns is not None
    assert node.args.kwarg is None, "no **kwargs"


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=name)
def test_examples_in_docstrings_are_true(path):
    module = importlib.import_module(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    )
    torch.manual_seed(0)
    result = doctest.testmod(
        module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, extraglobs={"torch": torch}
    )
    assert result.failed == 0


def test_the_reference_has_every_module():
    pages = "".join(page.read_text() for page in (ROOT / "book").glob("api_*.md"))
    shown = set(re.findall(r"automodule:: lecture_lib\.(\w+)", pages))
    there = {
        path.stem if path.is_file() else path.name
        for path in LIBRARY.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert shown == there - {"__init__", "exercises"}  # the exercises are read in the notebooks
