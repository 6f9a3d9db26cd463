"""What of a submission is read, run and shown: no process needed."""

import csv
import io
import json
import os
import zipfile

import pytest
from classroom import ASSIGNMENT, cell, code, raw, release, solved, unsolved

from lecture_lib.checks import exercise
from lecture_lib.grading import safe
from lecture_lib.grading.alarms import alarms
from lecture_lib.grading.collect import collect, detect
from lecture_lib.grading.needed import names, needed
from lecture_lib.grading.triage import triage


def opened(notebook):
    return triage(raw(notebook), json.loads(release()))


def ran(notebook, **options):
    triaged = opened(notebook)
    return {triaged.cells[place]["id"] for place in needed(triaged, **options)}


def test_figures_and_experiments_do_not_run_unless_an_answer_needs_them():
    run = ran(solved())
    assert {"softmax", "previous_token_head", "cell-02", "cell-14"} <= run
    assert not run & {"install", "cell-07", "cell-34", "cell-44", "cell-49", "cell-53", "check_softmax"}
    everything = ran(solved(), everything=True)
    assert {"cell-07", "cell-49"} <= everything and not everything & {"install", "cell-53", "check_softmax"}


def test_the_students_own_cells_run_and_what_they_need():
    notebook = solved()
    notebook["cells"].insert(20, code("print(pair)"))  # bound by the figure of chapter 3's clocks
    assert {"mine", "cell-19"} <= ran(notebook)


def test_names_that_a_cell_reads_are_those_not_bound_before():
    assert names("x = 1\ny = x + z\ndef f(a):\n    return a + w") == names("x = 1\ny = z\nf = lambda: w")
    assert names("if z:\n    x = 1\nprint(x)").read == {"z", "x"}
    assert names("%time 1\n!ls\nx = 2").bound == {"x"}
    assert names("def f(:") is None


MARKDOWN = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "[x]( JaVaScRiPt&colon;alert(1))",
    "[x]: data:text/html,<script>alert(1)</script>",
    "<javascript:alert(1)>",
    "```\n<b>\n``` <iframe src=javascript:alert(1)>",
    "$a<b$ <svg/onload=alert(1)>",
    "$<script>alert(1)</script>$",
    "<!-- --><style>*{}</style>",
]


@pytest.mark.parametrize("source", MARKDOWN)
def test_no_tag_is_left_in_markdown(source):
    shown = safe.markdown(source)
    assert not any(
        shown[i] == "<" and (shown[i + 1].isalpha() or shown[i + 1] in "/!?") for i in range(len(shown) - 1)
    )
    assert "](javascript" not in shown and "](data" not in shown


def test_ordinary_markdown_is_unharmed():
    for text in (
        "A score $a < b$ and **bold**, [a link](https://example.org/x), `code`",
        "1. first\n2. second\n\n$$\\sum_i x_i < \\infty$$",
        "x <= 3 and 2 < 3",
    ):
        assert safe.markdown(text) == text
    assert safe.markdown("$a<b$").replace(" ", "") == "$a<b$"


def test_terminals_and_tables_get_text_only():
    assert safe.plain_text("\x1b]0;title\x07a\ud800b\u202ec") == "]0;titleabc"
    for word in ("=1+1", "+1", "-1", "@x", "\t=1"):
        assert safe.cell_of_table(word) == f"'{word.strip()}"
    assert safe.cell_of_table("a = 1\nb") == "a = 1 b"


def test_what_was_made_safe_once_stays_as_it_is():
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["\x1b[31m<b>"]}
    stream = {"output_type": "stream", "name": "stderr", "text": ["a", "b"]}
    shown = {"output_type": "execute_result", "data": {"text/plain": "3", "text/html": "<b>"}, "metadata": {}}
    once = safe.outputs([error, stream, shown])
    assert (
        once[0]["traceback"] == ["ValueError: no"]
        and [each["output_type"] for each in once][2] == "display_data"
    )
    assert safe.outputs(once) == once


def test_alarms_name_the_machinery_and_copies_of_the_course():
    task = exercise("attention.softmax")
    assert alarms("import ctypes", task) == ["uses ctypes"]
    assert "uses lecture_lib.checks.exercise.Exercise" in alarms(
        "from lecture_lib.checks.exercise import Exercise"
    )
    assert alarms("from lecture_lib.checks import check") == []
    answer = "".join(cell(solved(), "softmax")["source"])
    assert alarms(answer, task) == ["is the library's code"]
    assert alarms(answer.replace("dim: int", "dim"), task) == ["is the library's code"]
    assert (
        alarms(
            "def softmax(x, dim=-1):\n    e = (x - x.max()).exp()\n    return e / e.sum(dim, keepdim=True)",
            task,
        )
        == []
    )
    assert alarms("def f(:") == []
    for terms in (300, 1200):  # too deep to be compared, and no error
        assert alarms(f"def softmax(x, dim=-1):\n    return {'+'.join('x' * terms)}", task) == []


# --- what comes back ---


def students(folder):
    found, remarks = collect(folder, ASSIGNMENT)
    return {each.student: each for each in found}, remarks


def put(path, notebook=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw(notebook or solved()))


def test_nbgraders_tree(tmp_path):
    put(tmp_path / "ada" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")
    put(tmp_path / "ada" / "01_tokenization" / "01_tokenization.ipynb")
    put(tmp_path / "bob" / ASSIGNMENT / "renamed (1).ipynb")
    put(tmp_path / "bob" / ASSIGNMENT / ".ipynb_checkpoints" / "x.ipynb")
    found, remarks = students(tmp_path)
    assert set(found) == {"ada", "bob"} and not remarks


def test_a_flat_folder_with_odd_names_and_two_by_one_student(tmp_path):
    for name in (
        "ada.ipynb",
        f"Zoë O'Neill_{ASSIGNMENT}.ipynb",
        f"{ASSIGNMENT} bob.ipynb",
        "李雷.ipynb",
        "carl (1).ipynb",
        "carl.ipynb",
    ):
        put(tmp_path / name)
    os.utime(tmp_path / "carl.ipynb", (1, 1))
    found, remarks = students(tmp_path)
    assert set(found) == {"ada", "Zoë O'Neill", "bob", "李雷", "carl"}
    assert found["carl"].file == "carl (1).ipynb" and "2 notebooks" in remarks[0]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    put(tmp_path / "secret.ipynb")
    put(tmp_path / "in" / "ada.ipynb")
    (tmp_path / "in" / "eve.ipynb").symlink_to(tmp_path / "secret.ipynb")
    found, _ = students(tmp_path / "in")
    assert found["ada"].raw and not found["eve"].raw and "link" in found["eve"].problem


@pytest.mark.slow
def test_a_zip_of_a_platform_and_a_bomb(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"Ada L_123_assignsubmission_file/{ASSIGNMENT}.ipynb", raw(solved()))
        archive.writestr("../../evil/x.ipynb", raw(solved()))
        archive.writestr("bomb.ipynb", b"0" * (101 << 20))
    found, _ = students(path)
    assert {"Ada L_123", "evil", "bomb"} == set(found)
    assert (
        found["Ada L_123"].raw and "MB" in found["bomb"].problem and not (tmp_path.parent / "evil").exists()
    )


def test_a_date_that_is_none_loses_nobody(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("ada.ipynb", (2026, 2, 1, 0, 0, 0)), raw(solved()))
    whole = path.read_bytes()
    for place, date in ((10, whole.index(b"PK\3\4")), (12, whole.index(b"PK\1\2"))):
        whole = whole[: date + place + 2] + b"\0\0" + whole[date + place + 4 :]  # month 0, day 0
    path.write_bytes(whole)
    found, _ = students(path)
    assert found["ada"].raw and found["ada"].handed_in == 0


def test_nothing_to_grade_is_said(tmp_path):
    with pytest.raises(ValueError, match="no notebook"):
        collect(tmp_path, ASSIGNMENT)
    with pytest.raises(ValueError, match="neither a folder nor a zip"):
        collect(tmp_path / "x", ASSIGNMENT)


def test_the_assignment_is_found_out(tmp_path):
    releases = {ASSIGNMENT: json.loads(release())}
    from classroom import ROOT

    for other in ("01_tokenization", "02_embedding"):
        releases[other] = json.loads((ROOT / "notebooks" / other / f"{other}.ipynb").read_bytes())
    put(tmp_path / "ada.ipynb", unsolved())
    assert detect(tmp_path, releases) == ASSIGNMENT
    (tmp_path / "ada.ipynb").write_text("nothing")
    with pytest.raises(ValueError, match="--assignment"):
        detect(tmp_path, releases)


def test_the_table_is_csv_that_no_spreadsheet_computes():
    file = io.StringIO()
    csv.writer(file).writerow([safe.cell_of_table('=HYPERLINK("x")\n"')])
    assert file.getvalue().startswith("\"'=")
