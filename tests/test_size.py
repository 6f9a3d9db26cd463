"""How much of the library is docstring, how much checks arguments, how many rooms a call walks through.

`python tests/test_size.py [PACKAGE ...]` prints the table, with the files of the packages named.
"""

import ast
import builtins
import inspect
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

LIBRARY = Path(__file__).resolve().parents[1] / "lecture_lib"
EXERCISES = {"checks", "exercises"}  # their sentences are their content
KINDS = ("lines", "docstrings", "code", "validation")


def is_docstring(node):
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def lines_of(node):
    return set(range(node.lineno, node.end_lineno + 1))


def is_refusal(node):
    """`raise ValueError(...)` and its like: an error that Python knows, not one handed on from below."""
    if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
        return False
    error = getattr(builtins, getattr(node.exc.func, "id", ""), None)
    return inspect.isclass(error) and issubclass(error, ValueError | TypeError | LookupError)


def is_checker(node):
    """A function whose name says that it checks, and nothing else."""
    return isinstance(node, ast.FunctionDef) and node.name.lstrip("_").startswith(("check_", "refuse_"))


def validating(node):
    """Lines that check arguments: refusals, the ifs that guard nothing else, functions whose names say that they check.

    A `raise` inside an `except` says what went wrong below, and a call such as `whole("n", n, 1)` declares a range.
    """
    handlers = [each for each in ast.walk(node) if isinstance(each, ast.ExceptHandler)]
    translated = {id(each) for handler in handlers for each in ast.walk(handler)}
    refusals = {id(each) for each in ast.walk(node) if is_refusal(each)} - translated
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.If) and all(id(inner) in refusals for inner in each.body):
            found |= set(range(each.lineno, each.body[-1].end_lineno + 1))
        elif id(each) in refusals or is_checker(each):
            found |= lines_of(each)
    return found


def measured(path):
    """Numbers of lines of a file: all, in docstrings, of code, of code that checks arguments."""
    source = path.read_text()
    tree = ast.parse(source)
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    strings = [
        each.body[0]
        for each in ast.walk(tree)
        if isinstance(each, owners) and each.body and is_docstring(each.body[0])
    ]
    docstrings = set().union(*map(lines_of, strings))
    written = {
        n
        for n, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#")
    }
    code = written - docstrings
    return Counter(
        dict(
            zip(
                KINDS, map(len, (source.splitlines(), docstrings, code, validating(tree) & code)), strict=True
            )
        )
    )


def library():
    """The numbers of every package; single modules count as packages."""
    packages = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        package = path.relative_to(LIBRARY).parts[0].removesuffix(".py")
        if package not in EXERCISES:
            packages[package] = packages.get(package, Counter()) + measured(path)
    return packages


def table(rows):
    """A line for each, those with the largest share of docstrings first, and the sum."""
    rows = dict(sorted(rows.items(), key=lambda row: -row[1]["docstrings"] / row[1]["lines"]))
    rows["all"] = sum(rows.values(), Counter())
    lines = [f"{'':32}{'lines':>7}{'docstrings':>18}{'code':>7}{'validation':>18}"]
    for name, n in rows.items():
        parts = n["docstrings"] / max(n["lines"], 1), n["validation"] / max(n["code"], 1)
        lines.append(
            f"{name:32}{n['lines']:7}{n['docstrings']:9}{parts[0]:9.1%}{n['code']:7}{n['validation']:9}{parts[1]:9.1%}"
        )
    return "\n".join(lines)


@pytest.mark.slow
def test_docstrings_are_at_most_a_quarter_of_the_lines():
    packages = library()
    total = sum(packages.values(), Counter())
    assert total["docstrings"] <= 0.25 * total["lines"], "\n" + table(packages)


@pytest.mark.slow
def test_checks_of_arguments_are_at_most_six_percent_of_the_code():
    packages = library()
    total = sum(packages.values(), Counter())
    assert total["validation"] <= 0.06 * total["code"], "\n" + table(packages)


def test_what_counts_as_validation():
    source = """
def f(n):
    if n < 0:
        raise ValueError(
            "no"
        )
    if n == 1:
        n = 2
        raise KeyError(n)
    m = whole("n", n)
    check_all(n)
    if n > 5:
        raise OSError("disk")
    try:
        return n
    except KeyError:
        raise ValueError("below")

def check_all(n):
    pass
"""
    assert sorted(validating(ast.parse(source))) == [3, 4, 5, 6, 9, 19, 20]


# --- how far a call walks ---


def walked(call):
    """The functions of the library that a call goes through, as (file, name); comprehensions belong to their function."""
    seen = set()

    def note(frame, event, argument):
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if event == "call" and is_function and code.co_filename.startswith(str(LIBRARY)):
            seen.add((str(Path(code.co_filename).relative_to(LIBRARY)), code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return seen


def listed(seen):
    files = {}
    for file, name in sorted(seen):
        files.setdefault(file, []).append(name)
    rooms = "\n".join(f"  {file}: {', '.join(names)}" for file, names in files.items())
    return f"{len(seen)} functions in {len(files)} files\n{rooms}"


def cached_generation():
    """What one cached `generate` walks through: a small decoder, a prompt, a few drawn tokens."""
    from lecture_lib.decoder import Decoder
    from lecture_lib.kv_cache import generate
    from lecture_lib.sampling import SamplingParameters
    from lecture_lib.transformer import ModelConfig

    config = ModelConfig(vocab_size=12, d_model=8, n_heads=2, n_layers=2, context_length=16, norm_first=True)
    model = Decoder(config, generator=torch.Generator().manual_seed(0)).eval()
    playground = SamplingParameters(temperature=0.7, top_k=5, top_p=0.9)
    return walked(lambda: generate(model, [1, 2, 3], 4, playground))


BUILT = {
    "attention",
    "embedding",
    "transformer",
    "decoder",
    "encoder",
    "encoder_decoder",
    "tokenization",
    "sampling",
}
SHAPES = {
    "gpt2": {"activation": "gelu_tanh"},
    "llama": {
        "activation": "swiglu",
        "norm": "rms",
        "positions": "rotary",
        "qkv_bias": False,
        "out_bias": False,
        "mlp_bias": False,
        "tied_head": False,
    },
}


def loading(folder, family):
    """What `load_pretrained` walks through for a folder with a model and its tokenizer, beside what makes these two."""
    from lecture_lib.decoder import Decoder
    from lecture_lib.pretrained import load_pretrained, save_pretrained
    from lecture_lib.tokenization import BytePairTokenizer
    from lecture_lib.transformer import ModelConfig

    sizes = {
        "vocab_size": 260,
        "d_model": 8,
        "n_heads": 2,
        "n_layers": 1,
        "context_length": 16,
        "norm_first": True,
    }
    model = Decoder(ModelConfig(**sizes, **SHAPES[family]))
    save_pretrained(model, BytePairTokenizer.train(["low lower lowest"], 260), folder)
    seen = walked(lambda: load_pretrained(folder))
    return {
        (file, name)
        for file, name in seen
        if Path(file).parts[0].removesuffix(".py") not in BUILT | {"fields"}
    }


def test_a_cached_generation_walks_through_few_functions_and_files():
    """The goal is 25 functions in 8 files; this holds what is reached."""
    seen = cached_generation()
    assert len(seen) <= 44 and len({file for file, _ in seen}) <= 13, listed(seen)


@pytest.mark.parametrize("family", SHAPES)
def test_loading_a_checkpoint_walks_through_few_files(tmp_path, family):
    seen = loading(tmp_path / "model", family)
    assert len({file for file, _ in seen}) <= 8, listed(seen)


@pytest.mark.parametrize("calls", [1, 2])
def test_functions_are_counted_once(calls):
    from lecture_lib import fields

    def call():
        return [fields.at_least(low) for low in range(calls)]

    assert walked(call) == {("fields.py", "at_least"), ("fields.py", "declared")}


if __name__ == "__main__":
    import tempfile

    print(table(library()))
    for package in sys.argv[1:]:
        paths = [
            path
            for path in LIBRARY.rglob("*.py")
            if path.relative_to(LIBRARY).parts[0].removesuffix(".py") == package
        ]
        print("\n" + table({str(path.relative_to(LIBRARY)): measured(path) for path in paths}))
    print("\ncached generate:", listed(cached_generation()))
    for family in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            print(f"\nload_pretrained, {family}:", listed(loading(Path(folder) / "model", family)))
