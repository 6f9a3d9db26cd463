"""`lecture check`: a reader's notebook in a clean kernel says what it says in Jupyter, and is never changed."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from classroom import AUTO, ROOT, before, cell, raw, replaced, solved, unsolved, without_metadata
from test_grading_matrix import mistaken

from lecture_lib.command.check import marked


def checked(folder, notebook, *words, code=1):
    """What is printed on standard output, and on the other."""
    path = folder / "my notebook.ipynb"
    path.write_bytes(notebook if isinstance(notebook, bytes) else raw(notebook))
    came = path.read_bytes()
    ran = subprocess.run(
        [sys.executable, "-m", "lecture_lib.command", "check", str(path), *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert path.read_bytes() == came and os.listdir(folder) == [path.name]
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran.stdout, ran.stderr


def half():
    """One known mistake, one exercise that is open, one cell that is no Python."""
    notebook = replaced("softmax", mistaken("attention.softmax"))
    replaced("cross_attention", cell(unsolved(), "cross_attention")["source"], notebook)
    return replaced("merge_heads", "def merge_heads(x dim):", notebook)


@pytest.mark.slow
def test_a_solved_notebook_passes(tmp_path):
    for notebook in (solved(), without_metadata(solved())):
        told, other = checked(tmp_path, notebook, code=0)
        assert told.count("✓") == 9 and "9 of 9 checks, 23 of 23 points; 3 more are given by hand" in told
        assert "✓ attention.softmax" in told and "[3 of 3]" in told and "checking" in other


@pytest.mark.slow
def test_a_half_solved_notebook_says_what_it_says_in_jupyter(tmp_path):
    told, _ = checked(tmp_path, half())
    assert "6 of 9 checks, 17 of 23 points" in told and "! cell 25: SyntaxError" in told
    from nbclient import NotebookClient

    notebook = nbformat.reads(raw(half()), as_version=4)
    shown = {"install", "experiment", "gpu"}
    notebook.cells = [each for each in notebook.cells if not shown & set(each.metadata.get("tags", []))]
    NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    verdicts = [
        out["data"]["text/plain"]
        for each in notebook.cells
        if each.get("id", "").startswith("check_")
        for out in each.outputs
        if out.output_type == "display_data"
    ]
    assert len(verdicts) == 8  # `merge_heads` is no name there: its check cell is an error of Python's
    for verdict in verdicts:
        first, _, rest = verdict.partition("\n")
        assert first in told and rest in told, verdict
    assert "This is what comes out when" in told and "not written yet" in told


@pytest.mark.slow
def test_what_hangs_or_ends_the_kernel_costs_its_own_points_and_a_sentence(tmp_path):
    notebook = replaced("softmax", "while True:\n    pass")
    replaced("split_heads", "import os\nos._exit(1)", notebook)
    told, _ = checked(tmp_path, notebook, "--timeout", "15")
    assert "! softmax: no end within 15 s" in told and "! split_heads: the kernel died" in told
    assert "7 of 9 checks, 20 of 23 points" in told


BROKEN = {
    b"": "it is empty",
    b"{": "it is no JSON",
    b"[1]": "no notebook",
    b'{"cells": []}': "no check of the course",
    b'{"cells": [{"cell_type": "code", "source": "check(\\"no.such\\", f)"}, 3]}': "no check of the course",
}


@pytest.mark.slow
@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_is_one_sentence(tmp_path, content):
    _, other = checked(tmp_path, content)
    assert BROKEN[content] in other and len(other.strip().splitlines()) == 1


def test_a_file_that_is_not_there_and_help():
    from typer.testing import CliRunner

    from lecture_lib.command import app

    with pytest.raises(ValueError, match="there is no file"):
        CliRunner().invoke(app, ["check", "nowhere.ipynb"], catch_exceptions=False)
    told = CliRunner().invoke(app, ["check", "--help"])
    assert told.exit_code == 0 and all(
        word in told.output for word in ("--timeout", "--all-cells", "clean kernel")
    )


def test_marks_that_were_lost_are_found_by_what_a_check_calls():
    bare = json.loads(raw(before("softmax", "softmax = None", without_metadata(solved()))))
    assert marked(bare) == "attention"
    names = [each["metadata"]["nbgrader"]["grade_id"] for each in bare["cells"] if each["metadata"]]
    assert {name for name in names if name.startswith("check_")} >= {f"check_{name}" for name in AUTO}
    assert len(names) == len(set(names)) == 18
    place = next(i for i, each in enumerate(bare["cells"]) if each["metadata"])
    assert "def softmax" in "".join(bare["cells"][place]["source"])  # the last definition counts
