"""The library's architecture: who may import whom, how long a module and a function may be, what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "lecture_lib"
FLOORS = [
    {"files", "fields", "weights", "packed", "padding", "plots"},
    {
        "tokenization",
        "embedding",
        "sampling",
        "quantization",
        "arena",
        "prompting",
        "corpora",
        "widgets",
    },
    {"attention"},  # queries and keys are rotated by the embedding of positions
    {"transformer"},
    {"encoder", "decoder", "encoder_decoder"},
    {"generation", "training", "pretrained"},
    {"kv_cache", "lora", "roofline"},
    {"rlhf", "serving"},  # replies are drawn through the cache
    {"zoo"},
    {"chat"},
    {"agents"},
    {"checks"},
    {"exercises"},
    {"grading"},
    {"capstone"},  # the cells of a notebook that an answer needs are found as in grading
    {"command"},
]
FLOOR = {name: height for height, names in enumerate(FLOORS) for name in names}
WITHOUT_TORCH = [
    "",
    ".files",
    ".fields",
    ".tokenization",
    ".corpora",
    ".arena",
    ".plots",
    ".widgets",
    ".checks",
]
MODULES = sorted(LIBRARY.rglob("*.py"))


def topic(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lecture_lib"):
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lecture_lib.")
            }
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_a_module_imports_only_from_lower_floors(path):
    name = topic(path)
    if name == "__init__":
        return
    assert name in FLOOR, f"{name} has no floor yet: give it one here"
    above = {other for other in imported(ast.parse(path.read_text())) - {name} if FLOOR[other] >= FLOOR[name]}
    assert not above, f"{name} (floor {FLOOR[name]}) imports {above}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_modules_and_functions_stay_short(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 250
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            has_docstring = ast.get_docstring(node) is not None
            first = node.body[1] if has_docstring and len(node.body) > 1 else node.body[0]
            length = node.end_lineno - first.lineno + 1
            assert length <= 40, f"{node.name}: {length} lines"


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_what_needs_no_torch_does_not_import_it(module):
    command = f"import sys, lecture_lib{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


@pytest.mark.slow
def test_an_import_brings_no_heavy_library():
    """pyplot, Altair and ipywidgets come when a figure is drawn, the compiler when something is compiled."""
    modules = sorted({topic(path) for path in MODULES} - {"__init__"})
    slow = (
        "matplotlib.pyplot",
        "altair",
        "ipywidgets",
        "IPython",
        "pandas",
        "transformers",
        "torch._dynamo",
        "sympy",
    )
    command = f"import sys, importlib; [importlib.import_module('lecture_lib.' + m) for m in {modules}]; "
    command += f"print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.slow
def test_nothing_but_grading_imports_exercises():
    for path in MODULES:
        if topic(path) not in ("exercises", "grading"):
            assert "exercises" not in imported(ast.parse(path.read_text())), path


@pytest.mark.slow
@pytest.mark.parametrize(
    "chapter", sorted(path.name for path in (LIBRARY / "exercises").iterdir() if path.is_dir())
)
def test_declaring_exercises_costs_next_to_nothing(chapter):
    """Nothing is compiled, drawn or trained while a module of exercises is imported: measured against its own library."""
    if chapter.startswith("__"):
        return
    command = f"""
import sys, time, torch, lecture_lib.{chapter}, lecture_lib.checks, lecture_lib.corpora.samples, lecture_lib.training, lecture_lib.tokenization
names = set(sys.modules)
import lecture_lib.exercises.{chapter} as content
assert not any("function" in vars(each) for task in content.EXERCISES for each in task.mistakes)
new = [name for name in set(sys.modules) - names if not name.startswith("lecture_lib.")]
assert len(new) <= 5, new
"""
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0
