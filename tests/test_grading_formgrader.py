"""The graded course in nbgrader's formgrader, in a real browser: copies, marks, a mark given by hand that stays."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from browser import needs_chromium, opened
from classroom import ASSIGNMENT, FULL, ROOT, needs_isolation, raw, replaced, solved
from test_grading_class import command, scores

HAND = "why_the_square_root"


@contextlib.contextmanager
def formgrader(course):
    """Address of a Jupyter server with formgrader for a course."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = {
        name: str(course / "home" / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    }
    line = [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--port={port}"]
    line += ["--ServerApp.port_retries=0", "--IdentityProvider.token="]
    line += ["--ServerApp.jpserver_extensions={'nbgrader.server_extensions.formgrader': True}"]
    with open(course / "server.log", "w") as log:
        server = subprocess.Popen(
            line, cwd=course, env={**os.environ, **home, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        )
        try:
            yield ready(f"http://127.0.0.1:{port}", server)
        finally:
            server.terminate()
            server.wait(30)


def ready(address, server):
    """The address, once formgrader answers there."""
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{address}/formgrader", timeout=10).read()
            return address
        except OSError:
            assert time.monotonic() < end and server.poll() is None, "the server did not start"
            time.sleep(0.3)


@pytest.mark.browser
@pytest.mark.slow
@needs_chromium
def test_a_mark_given_by_hand_in_formgrader_stays(tmp_path):
    needs_isolation()
    (tmp_path / "notebooks" / ASSIGNMENT).mkdir(parents=True)
    shutil.copy(ROOT / "notebooks" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", tmp_path / "notebooks" / ASSIGNMENT)
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    back = tmp_path / "came back"
    back.mkdir()
    (back / "ada.ipynb").write_bytes(raw(replaced("softmax", "softmax = 7")))
    (back / "bela.ipynb").write_bytes(raw(solved()))
    command(tmp_path, "grade", "came back", "--jobs", "1")
    with formgrader(tmp_path) as address, opened() as browser:
        tab = browser.new_page()
        tab.set_default_timeout(60_000)
        assert graded_rows(tab, address) == {
            "ada": f"{FULL - 3} / {FULL + 3}",
            "bela": f"{FULL} / {FULL + 3}",
        }
        look_at(tab, address, "ada")
        assert scores_shown(tab)["check_softmax"] == ("", "0", False)
        assert scores_shown(tab)["check_cross_attention"] == ("", "3", False)
        assert scores_shown(tab)[HAND] == ("", "", True)
        assert "this is a int" in tab.inner_text("body")  # the message of the check
        with tab.expect_response(lambda told: "/api/grade/" in told.url and told.request.method == "PUT"):
            tab.fill(f".score[id='{HAND}']", "2")
            tab.press(f".score[id='{HAND}']", "Tab")
        assert scores(tmp_path) == {"ada": FULL - 3 + 2, "bela": FULL}
        command(tmp_path, "grade", "came back", "--jobs", "1")
        assert scores(tmp_path) == {"ada": FULL - 3 + 2, "bela": FULL}
        look_at(tab, address, "ada")
        assert scores_shown(tab)[HAND][0] == "2" and not scores_shown(tab)[HAND][2]


def graded_rows(tab, address):
    """Name and overall score of each submission in the list."""
    tab.goto(f"{address}/formgrader/gradebook/{ASSIGNMENT}/{ASSIGNMENT}")
    tab.wait_for_selector("td a")
    rows = tab.evaluate(
        "[...document.querySelectorAll('tbody tr')].map(row => [row.querySelector('a.name-shown').textContent, row.innerText])"
    )
    return {name: next(cell for cell in text.split("\t") if "/" in cell).strip() for name, text in rows}


def look_at(tab, address, name):
    """Open the graded copy of a student."""
    graded_rows(tab, address)
    link = tab.evaluate(
        f"[...document.querySelectorAll('a.name-shown')].find(a => a.textContent == '{name}').href"
    )
    tab.goto(link)
    tab.wait_for_selector(f".score[id='{HAND}']")
    tab.wait_for_function("[...document.querySelectorAll('.score')].some(each => each.placeholder == '3')")


def scores_shown(tab):
    """What stands in each field: a mark by hand, the automatic one, whether a person is asked for."""
    fields = tab.evaluate(
        "[...document.querySelectorAll('.score')]"
        ".map(e => [e.id, e.value, e.placeholder, e.classList.contains('needs_manual_grade')])"
    )
    return {name: tuple(more) for name, *more in fields}
