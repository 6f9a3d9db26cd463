"""Submissions as they come back, broken, careless or hostile, each graded in a class with a neighbour behind it.

Every case goes the whole way: file, marks, gradebook, feedback page. Its own exercises alone lose their points, what was done is said,
the neighbour and the marks of earlier runs are what they were, and no file of the instructor's or of a student's is changed.
"""

import hashlib
import http.server
import json
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from classroom import (
    ASSIGNMENT,
    AUTO,
    FULL,
    ROOT,
    STEM,
    before,
    cell,
    needs_isolation,
    raw,
    release,
    replaced,
    solved,
    unsolved,
    without_metadata,
)
from nbgrader.api import Gradebook
from test_grading import CHEATS
from test_grading_attacks import filled, outside

from lecture_lib.checks import exercise
from lecture_lib.checks.mistake import altered_source
from lecture_lib.command.grade import keep
from lecture_lib.grading import course as classes
from lecture_lib.grading import marks as books
from lecture_lib.grading.collect import collect
from lecture_lib.grading.confine import Limits
from lecture_lib.grading.server import Server
from lecture_lib.grading.submission import Judge, grade, tasks_of

ALL, NONE = set(AUTO), set()
HAND = "why_the_square_root"


def source(name):
    return "".join(cell(solved(), name)["source"])


def mistaken(name):
    task = next(each for each in exercise(name).mistakes if each.changes)
    return altered_source(task.right, *task.changes)


def without(name):
    notebook = solved()
    notebook["cells"].remove(cell(notebook, name))
    return notebook


def twice(name, first=None):
    """A notebook with a copy of a cell before it, `first` in the copy."""
    notebook = solved()
    original = cell(notebook, name)
    copied = {**original, "source": original["source"] if first is None else first}
    notebook["cells"].insert(notebook["cells"].index(original), copied)
    return notebook


def partly(*open_):
    notebook = solved()
    for name in open_:
        replaced(name, cell(unsolved(), name)["source"], notebook)
    return notebook


def bare(name):
    notebook = solved()
    cell(notebook, name)["metadata"] = {}
    return notebook


def with_ids(make):
    """A notebook whose cell ids are made by a function; None: without any."""
    notebook = solved()
    for each in notebook["cells"]:
        each["id"] = make(each["id"])
        if each["id"] is None:
            del each["id"]
    return notebook


def other_kernel():
    notebook = solved()
    notebook["metadata"]["kernelspec"] = {"name": "ir", "display_name": "R", "language": "R"}
    return notebook


def latin():
    notebook = before("softmax", "# café, naïve, Größe")
    return json.dumps(notebook, ensure_ascii=False).encode("latin-1", "replace")


LOOP = "while True:\n    pass"
STUBBORN = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
HOG = "x = []\nwhile True:\n    x.append(b'x' * (64 << 20))"
HELPER = "import lecture_lib.checks\nlecture_lib.checks.check = lambda *given, **named: None"
EQUAL = "class T:\n    def __eq__(self, other): return True\n    def __getattr__(self, name): return self\n"
HANDLER = "get_ipython().set_custom_exc((Exception,), lambda *given, **named: None)"
ASYNC = "async def nothing(*given, **named): pass\ntype(get_ipython()).run_cell_async = nothing"
LEAK = (
    "\n_mine = softmax\ndef softmax(x, dim=-1):\n"
    "    print('LEAK', get_ipython().user_ns.get('In', [''])[-1], x)\n    return _mine(x, dim)"
)
NOISE = "import sys, warnings\nprint('busy', file=sys.stderr)\nwarnings.warn('old')\n"
CONFLICT = b"<<<<<<< HEAD\n%b\n=======\n%b\n>>>>>>> other\n"


@dataclass(frozen=True)
class Case:
    """How a submission is made, which exercises lose their points, and words that the student or the instructor reads."""

    make: object  # -> notebook or bytes
    lost: set
    says: str = ""
    by_hand: bool = True  # whether the question graded by hand waits for a person
    file: str = "{name}.ipynb"


CASES = {
    "01 perfect": Case(solved, NONE, "✓ attention.softmax"),
    "02 empty": Case(unsolved, ALL, "not written yet", by_hand=False),
    "03 wrong": Case(
        lambda: replaced("softmax", mistaken("attention.softmax")),
        {"softmax"},
        "This is what comes out when",
    ),
    "04 partial": Case(
        lambda: partly("softmax", "cross_attention"), {"softmax", "cross_attention"}, "not written"
    ),
    "05 an endless loop": Case(lambda: replaced("softmax", LOOP), {"softmax"}, "s of computing"),
    "05b a loop that swallows interrupts": Case(
        lambda: replaced("softmax", STUBBORN), {"softmax"}, "s of computing"
    ),
    "06 sys.exit": Case(lambda: replaced("softmax", "import sys\nsys.exit()"), {"softmax"}, "not written"),
    "06b sys.exit in a function": Case(
        lambda: replaced("softmax", "def softmax(x, dim=-1):\n    import sys\n    sys.exit()"),
        {"softmax"},
        "SystemExit",
    ),
    "07 os._exit in the last exercise": Case(
        lambda: replaced("keys_without_scaling", "import os\nos._exit(0)"),
        {"keys_without_scaling"},
        "the process ended",
    ),
    "07b kill -9 in the last exercise": Case(
        lambda: replaced("keys_without_scaling", "import os\nos.kill(os.getpid(), 9)"),
        {"keys_without_scaling"},
        "the process ended",
    ),
    "08 memory": Case(lambda: replaced("softmax", HOG), {"softmax"}, "MB of memory"),
    "09 a check deleted": Case(
        lambda: without("check_softmax"), NONE, "check_softmax: the cell was missing and was put back"
    ),
    "10 a check edited": Case(
        lambda: replaced("check_softmax", "assert True", partly("softmax")),
        {"softmax"},
        "check_softmax: the check was changed; the course's own counts",
    ),
    "11 a check twice": Case(lambda: twice("check_softmax"), NONE, "check_softmax: 2 copies"),
    "11b an answer twice": Case(
        lambda: twice("softmax", cell(unsolved(), "softmax")["source"]), NONE, "softmax: 2 copies"
    ),
    "11c a question twice": Case(lambda: twice(HAND, "YOUR ANSWER HERE"), NONE, f"{HAND}: 2 copies"),
    "12 renamed": Case(solved, NONE, file="{name}/03_attention (1).ipynb"),
    "13 cut off": Case(lambda: raw(solved())[:5000], ALL, "cut off or damaged", by_hand=False),
    "14 all metadata lost": Case(lambda: without_metadata(solved()), NONE, "was lost and put back"),
    "14b the metadata of a check lost": Case(
        lambda: bare("check_softmax"), NONE, "was lost and put back: check_softmax"
    ),
    "15 fifty long lines": Case(
        lambda: before("softmax", "for _ in range(50):\n    print('x' * (1 << 20))"), NONE
    ),
    "15b 500,000 lines": Case(lambda: before("softmax", "for i in range(500_000):\n    print(i)"), NONE),
    "16 a helper replaced": Case(
        lambda: before("softmax", HELPER, partly(*ALL)), ALL, "uses lecture_lib.checks"
    ),
    "16b every cell becomes `pass`": Case(
        lambda: before("softmax", CHEATS["an input transformer that empties every cell"], partly(*ALL)), ALL
    ),
    "16c equal to everything": Case(
        lambda: replaced("softmax", f"{EQUAL}softmax = lambda x, dim=-1: T()"), {"softmax"}, "0 of "
    ),
    "16d exceptions handled": Case(lambda: before("softmax", HANDLER, partly(*ALL)), ALL),
    "16e the shell patched": Case(lambda: before("softmax", ASYNC, partly(*ALL)), ALL),
    "17b the check printed": Case(lambda: replaced("softmax", source("softmax") + LEAK), NONE),
    "21 latin-1": Case(latin, NONE, "not UTF-8"),
    "22 another kernel": Case(other_kernel, NONE),
    "23 warnings": Case(lambda: replaced("softmax", NOISE + source("softmax")), NONE, "✓ attention.softmax"),
    "24 input": Case(lambda: replaced("softmax", "x = input('?')\n" + source("softmax")), {"softmax"}),
    "25 a byte-order mark": Case(lambda: b"\xef\xbb\xbf" + raw(solved()), NONE, "byte-order mark"),
    "26 no cell ids": Case(lambda: with_ids(lambda old: None), NONE),
    "27 the same cell ids": Case(lambda: with_ids(lambda old: "same"), NONE),
    "28 a syntax error": Case(lambda: replaced("softmax", "def softmax(x dim):"), {"softmax"}, "not written"),
    "29 a backend that is not there": Case(
        lambda: replaced("softmax", "%matplotlib widget\n" + source("softmax")), {"softmax"}, "not written"
    ),
    "30 a merge conflict": Case(
        lambda: CONFLICT % (raw(solved()), raw(unsolved())), ALL, "merge conflict", by_hand=False
    ),
}
# Cells that print "won" if they got what they wanted, or leave a process: with the instructor's rights they do, else they would test nothing.
ATTACKS = {
    "17 read the source and the gradebook": (
        "print('won' if 'BEGIN SOLUTION' in open('{root}/_build/source/solution.ipynb').read()\n"
        "      and open('{root}/_grading/gradebook.db', 'rb').read(6) == b'SQLite' else '')"
    ),
    "17c read the neighbours": (
        "import os\nplace = '{root}/came back'\n"
        "print('won' if any(b'cells' in open(f'{place}/{n}', 'rb').read() for n in os.listdir(place)) else '')"
    ),
    "18 write marks": (
        "import sqlite3\nbook = sqlite3.connect('{root}/_grading/gradebook.db')\n"
        "n = book.execute('UPDATE grade SET manual_score = 99').rowcount\nbook.commit()\nprint('won' if n else '')"
    ),
    "18b lock the gradebook": (
        "import sqlite3\nbook = sqlite3.connect('file:{root}/_grading/gradebook.db?mode=rw', uri=True)\n"
        "book.execute('BEGIN EXCLUSIVE')\nprint('won')"
    ),
    "18c delete the neighbours' work": (
        "import os\nplace = '{root}/came back'\nfor name in os.listdir(place):\n"
        "    if name.startswith('z'): os.unlink(f'{place}/{name}'); print('won')"
    ),
    "18d delete the gradebook": "import os\nos.unlink('{root}/_grading/gradebook.db')\nprint('won')",
    "19 the network": "import urllib.request\nprint('won' if urllib.request.urlopen('{address}', timeout=2).status == 200 else '')",
    "20 a process that stays": (
        "import subprocess as s\ns.Popen(['sleep', '{nap}'], stdout=s.DEVNULL, stderr=s.DEVNULL)"
    ),
    "20b a daemon": (
        "import os\nif os.fork() == 0:\n    try: os.setsid()\n    except OSError: pass\n"
        "    os.dup2(os.open('/dev/null', os.O_RDWR), 1); os.dup2(1, 2)\n"
        "    if os.fork() == 0: os.execvp('sleep', ['sleep', '{nap}'])\n    os._exit(0)"
    ),
}
CASES |= {what: Case(None, NONE) for what in ATTACKS}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A course with its hidden material, a gradebook in which a student has marks, and a server on the network."""
    needs_isolation()
    root = tmp_path_factory.mktemp("course")
    for name, text in (
        (f"notebooks/{ASSIGNMENT}/{ASSIGNMENT}.ipynb", release().decode()),
        ("_build/source/solution.ipynb", "### BEGIN SOLUTION"),
    ):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text)
    book = books.Marks(root / "_grading" / "gradebook.db", ASSIGNMENT, json.loads(release()))
    book.save("earlier", {f"check_{name}": float(points) for name, points in AUTO.items()}, {HAND})
    book.book.find_grade(HAND, ASSIGNMENT, ASSIGNMENT, "earlier").manual_score = 2.0
    book.book.db.commit()
    book.close()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield {"root": root, "address": f"http://127.0.0.1:{web.server_port}/", "nap": f"7{os.getpid()}.5"}
        web.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):  # noqa: N802 (the name is http.server's)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def graders():
    needs_isolation()
    with Server("nested", Limits(tree_mb=800)) as server:
        yield server, Judge(77)


def files(*folders):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def napping(nap):
    """Numbers of the processes that an attack has left."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [int(place.parent.name)] if nap.encode() in place.read_bytes().split(b"\0") else []
        except OSError:
            continue
    return found


def handed_in(root, submission, file):
    """The folder as it came back, with a neighbour's notebook behind the submission."""
    folder = root / "came back"
    shutil.rmtree(folder, ignore_errors=True)
    for name, given in ((file, submission), ("zoe.ipynb", solved())):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(given if isinstance(given, bytes) else raw(given))
    return folder


def class_graded(root, folder, graders):
    """The steps of `lecture grade` with a server that is there already; outcomes by student."""
    places = classes.Places(root, ASSIGNMENT)
    submissions, remarks = collect(folder, ASSIGNMENT)

    def grader(todo):
        for each in todo:
            yield (
                each,
                classes.unread(each, STEM) or grade(each.raw, release(), STEM, *graders, seconds=3.0),
            )

    outcomes = list(classes.run(places, submissions, grader))
    keep(places, outcomes, json.loads(release()), tasks_of(STEM), remarks)
    return {each.submission.student: each.result for each in outcomes}, places


def in_the_gradebook(root):
    with Gradebook(f"sqlite:///{root}/_grading/gradebook.db") as book:
        submissions = book.assignment_submissions(ASSIGNMENT)
        return {each.student.id: (each.score, each.needs_manual_grade) for each in submissions}


@pytest.mark.slow
@pytest.mark.parametrize("what", sorted(CASES))
def test_what_comes_back_gets_its_marks_and_harms_nobody(what, room, graders):
    case, name = CASES[what], f"mate {what.split()[0]}"
    made = case.make() if case.make else before("softmax", filled(ATTACKS[what], room))
    folder = handed_in(room["root"], made, case.file.format(name=name))
    came = files(folder, room["root"] / "notebooks", room["root"] / "_build")
    results, places = class_graded(room["root"], folder, graders)
    marks, mine = in_the_gradebook(room["root"]), results[name]
    assert marks[name] == (FULL - sum(AUTO[each] for each in case.lost), case.by_hand)
    assert {each for each in AUTO if mine.marks[f"check_{each}"] != AUTO[each]} == case.lost
    told = [*mine.failures, *mine.repairs, *mine.alarms, *mine.messages.values()]
    assert any(case.says in line for line in told), told
    assert marks["zoe"] == (FULL, True) and marks["earlier"] == (FULL + 2, True)
    assert came == files(folder, room["root"] / "notebooks", room["root"] / "_build")
    shown = [
        each.get("text", "")
        for cell in (json.loads(mine.notebook)["cells"] if mine.notebook else ())
        for each in cell.get("outputs", [])
    ]
    assert "won" not in "".join(shown).split() and not napping(room["nap"])
    assert len(mine.notebook) < 1_000_000 and "LEAK" not in "".join(shown) + "".join(told)
    assert "LEAK [" not in places.feedback(name).read_text()
    if mine.notebook:
        nbformat.validate(nbformat.reads(mine.notebook, as_version=4))
        written = books.written_by_hand(mine.notebook, json.loads(release()))
        assert written == ({HAND} if case.by_hand else set())


@pytest.mark.parametrize("what", sorted(ATTACKS))
def test_the_attacks_of_the_matrix_win_with_the_instructors_rights(what, room, tmp_path):
    """On a copy of the course."""
    handed_in(room["root"], solved(), "ada.ipynb")
    there = shutil.copytree(room["root"], tmp_path / "copy")
    words = outside(filled(ATTACKS[what], {**room, "root": there}))
    end = time.monotonic() + 30  # a daemon may still be on its way
    while not (left := napping(room["nap"])) and what.startswith("20") and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left if what.startswith("20") else "won" in words


@pytest.mark.slow
@pytest.mark.parametrize("what", ["16 a helper replaced", "16b every cell becomes `pass`"])
def test_cheats_of_the_matrix_win_where_the_kernel_is_believed(what, monkeypatch):
    """Executed as nbgrader does it, and its own rule for the marks."""
    from nbclient import NotebookClient
    from nbgrader.utils import determine_grade

    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.reads(raw(CASES[what].make()), as_version=4)
    notebook.cells = [
        each for each in notebook.cells if not {"experiment", "gpu"} & set(each.metadata.get("tags", []))
    ]
    NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    graded = [
        each
        for each in notebook.cells
        if each.metadata.get("nbgrader", {}).get("grade") and each.cell_type == "code"
    ]
    assert sum(determine_grade(each)[0] for each in graded) == FULL


@pytest.mark.slow
def test_the_matrix_is_whole():
    numbers = {what.split()[0].rstrip("bcde") for what in CASES}
    assert numbers == {f"{n:02d}" for n in range(1, 31)} and len(CASES) == 47
