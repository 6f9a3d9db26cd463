"""A class for the tests of grading: submissions of chapter 3 made from its solutions, and a server that confines them."""

import copy
import functools
import json
from pathlib import Path

import nbformat
import pytest

from lecture_lib.grading.way import works
from scripts.authored import source_notebook

ROOT = Path(__file__).resolve().parents[1]
ASSIGNMENT, STEM = "03_attention", "attention"
AUTO = {"softmax": 3, "scaled_dot_product_attention": 4, "apply_rotary": 4, "multi_head_attention": 5}
AUTO |= {"cross_attention": 3, "previous_token_head": 3, "keys_without_scaling": 1}
FULL = sum(AUTO.values())


@functools.cache
def release() -> bytes:
    return (ROOT / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_bytes()


@functools.cache
def _solved() -> str:
    return nbformat.writes(source_notebook(ASSIGNMENT))


def solved() -> dict:
    """A notebook in which every answer is right."""
    return json.loads(_solved())


def unsolved() -> dict:
    """The notebook as it was handed out."""
    return json.loads(release())


def cell(notebook: dict, name: str) -> dict:
    return next(each for each in notebook["cells"] if each.get("id") == name)


def replaced(name: str, source: str, notebook: dict | None = None) -> dict:
    """A notebook with another answer."""
    notebook = notebook or solved()
    cell(notebook, name)["source"] = source
    return notebook


def before(name: str, source: str, notebook: dict | None = None) -> dict:
    """A notebook with a cell of the student's own before an answer."""
    notebook = notebook or solved()
    place = notebook["cells"].index(cell(notebook, name))
    notebook["cells"].insert(place, code(source))
    return notebook


def code(source: str) -> dict:
    return {
        "cell_type": "code",
        "id": "mine",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": 1,
    }


def raw(notebook: dict) -> bytes:
    return json.dumps(notebook).encode()


def without_metadata(notebook: dict) -> dict:
    notebook = copy.deepcopy(notebook)
    for each in notebook["cells"]:
        each["metadata"] = {}
    return notebook


@functools.cache
def _reason() -> str:
    return works("nested")


def needs_isolation() -> None:
    if _reason():
        pytest.skip(f"student code cannot be shut in on this machine: {_reason()}")
