"""The playground: what its buttons do in every state, what it shows of an answer, and the whole panel in a real JupyterLab."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import httpx
import nbformat
import pytest
from browser import needs_chromium, opened
from endpoints import Told, chunk, free_port, refusal
from test_chat import ASK, GREEDY, KEY, told  # noqa: F401 (a fixture)

from lecture_lib import chat, zoo
from lecture_lib.chat import Playground, Reply, shown
from lecture_lib.chat.local import writers
from lecture_lib.pretrained import save_pretrained
from lecture_lib.sampling import SamplingParameters

EVIL = "<img src=x onerror='window.won=1'><script>window.won=1</script> a < b & c"
QUESTION = ASK[0]["content"]


class Spoken:
    """A model that says a piece whenever it is allowed to."""

    name = "spoken"

    def __init__(self, pieces, reply=None):
        self.pieces, self.reply, self.asked, self.closed = pieces, reply, [], threading.Event()
        self.go = threading.Semaphore(0)

    def stream(self, messages, sampling=SamplingParameters(), *, max_new_tokens=None, stop=(), seed=None):
        self.asked.append((messages, sampling, max_new_tokens))
        try:
            for piece in self.pieces:
                assert self.go.acquire(timeout=20)
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            yield self.reply or Reply("".join(self.pieces), 5, len(self.pieces))
        finally:
            self.closed.set()


def wait(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def asked(playground, question=QUESTION):
    playground.panel.question.value = question
    playground.panel.send.click()
    return playground.panel


def idle(playground):
    wait(lambda: playground.state == "idle")
    return playground.panel


def test_an_answer_streams_and_is_counted():
    model = Spoken(["one ", "two", " three"])
    playground = Playground(model)
    panel = asked(playground)
    wait(lambda: playground.state == "answering")
    assert panel.question.value == "" and not panel.stop.disabled and panel.clear.disabled
    assert QUESTION in panel.talk.value and "aria-busy='true'" in panel.talk.value
    for so_far in ("one", "one two"):
        model.go.release()
        wait(lambda text=so_far: f">{text}" in panel.talk.value)
    model.go.release()
    idle(playground)
    assert panel.stop.disabled and not panel.clear.disabled and "aria-busy='false'" in panel.talk.value
    assert "5 tokens in, 3 out, " in panel.status.value and "tokens/s" in panel.status.value
    assert playground.turns[-1] == {"role": "assistant", "content": "one two three"}
    asked(playground, "and then?")
    model.go.release(3)
    idle(playground)
    assert [each["role"] for each in model.asked[-1][0]] == ["user", "assistant", "user"]
    panel.clear.click()
    assert playground.turns == [] and panel.status.value == "" and "You" not in panel.talk.value


def test_the_knobs_arrive():
    model = Spoken(["x"])
    playground = Playground(model)
    panel, values = playground.panel, {"temperature": 0.5, "top_p": 0.8, "top_k": 7, "penalty": 1.3}
    model.go.release(9)
    asked(playground)
    idle(playground)
    assert model.asked[-1][1:] == (SamplingParameters(), None) and panel.length.disabled
    for name, value in values.items():
        getattr(panel, name).value = value
    panel.automatic.value, panel.length.value, panel.system.value = False, 12, " Be brief. "
    assert not panel.length.disabled
    asked(playground)
    idle(playground)
    messages, sampling, limit = model.asked[-1]
    assert sampling == SamplingParameters(temperature=0.5, top_p=0.8, top_k=7, repetition_penalty=1.3)
    assert limit == 12 and messages[0] == {"role": "system", "content": "Be brief."}


def test_stop_keeps_what_was_said_and_the_model_is_stopped():
    model = Spoken(["one ", "two"])
    playground = Playground(model)
    panel = asked(playground)
    model.go.release()
    wait(lambda: playground.said == "one ")
    panel.stop.click()
    assert playground.state == "idle" and "Stopped" in panel.status.value and panel.stop.disabled
    model.go.release()
    assert model.closed.wait(10)
    assert playground.turns == [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "one"},
    ]
    panel.stop.click()  # nothing to stop: nothing happens
    assert len(playground.turns) == 2


def test_a_stopped_answer_that_goes_on_disturbs_no_later_one():
    slow, fast = Spoken(["old"]), Spoken(["new"])
    playground = Playground(slow)
    panel = asked(playground, "first")
    wait(lambda: slow.asked)
    panel.stop.click()
    assert panel.question.value == "first" and playground.turns == []
    playground.opened = fast
    asked(playground, "second")
    slow.go.release()  # wakes up in the middle of the second answer
    assert slow.closed.wait(10)
    assert playground.said == "" and playground.state != "idle"
    fast.go.release()
    idle(playground)
    assert [each["content"] for each in playground.turns] == ["second", "new"]


def test_a_second_click_is_refused_kindly_and_an_empty_message_is_none():
    model = Spoken(["one"])
    playground = Playground(model)
    playground.panel.send.click()
    assert "Write a message first" in playground.panel.status.value and playground.state == "idle"
    panel = asked(playground)
    wait(lambda: model.asked)
    asked(playground, "again")
    assert "One answer at a time" in panel.status.value and panel.question.value == "again"
    panel.clear.click()
    assert len(playground.turns) == 1
    model.go.release()
    idle(playground)
    assert len(model.asked) == 1 and [each["content"] for each in playground.turns] == [QUESTION, "one"]


@pytest.mark.parametrize(
    "error", [chat.ChatError("it is <b>broken</b>"), ValueError("it is <b>broken</b>"), KeyError()]
)
def test_an_error_is_said_and_the_message_comes_back(error):
    model = Spoken([error])
    model.go.release()
    playground = Playground(model)
    panel = asked(playground)
    idle(playground)
    assert ("it is &lt;b&gt;broken" in panel.status.value) or "KeyError" in panel.status.value
    assert panel.question.value == QUESTION and playground.turns == [] and panel.stop.disabled
    model.pieces = ["fine"]
    model.go.release()
    panel.send.click()
    idle(playground)
    assert playground.turns[-1]["content"] == "fine"


def test_an_answer_is_text_whatever_it_holds():
    model = Spoken([EVIL])
    model.go.release()
    playground = Playground(model)
    panel = asked(playground, EVIL)
    idle(playground)
    playground.steps = [(EVIL, [(EVIL, 0.5, 1.0)])]
    playground._draw()
    for page in (panel.talk.value, panel.bars.value, shown.status(EVIL)):
        assert "&lt;img" in page and "<img" not in page and "<script" not in page


def test_a_shipped_model_gives_bars_for_each_token():
    playground = Playground()
    playground.panel.temperature.value = 0
    panel = asked(playground)
    idle(playground)
    expected = chat.open_model("course_instruct").replies(ASK, GREEDY)[0]
    assert playground.turns[-1]["content"] == expected.text.strip()
    assert f"{expected.tokens_in} tokens in, {expected.tokens_out} out" in panel.status.value
    assert panel.step.max == panel.step.value == expected.tokens_out == len(playground.steps)
    assert "drawn: &lt;eos&gt;" in panel.bars.value and not panel.step.disabled
    panel.step.value = 1
    word, rows = playground.steps[0]
    assert f"drawn: {word}." in panel.bars.value and "100.0 %" in panel.bars.value
    assert f"{100 * rows[0][1]:.1f} %" in panel.bars.value and panel.bars.value.count("scope='row'") == 8


@pytest.mark.slow
def test_folders_and_endpoints_are_opened_and_the_former_model_is_closed(tmp_path, told, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MY_KEY", KEY)
    save_pretrained(*zoo.load("gpt_draft"), tmp_path / "mine")
    playground = Playground(str(tmp_path / "mine"))
    panel = playground.panel
    panel.automatic.value, panel.length.value = False, 3
    asked(playground)
    wait(lambda: playground.state != "loading")
    assert "no chat template" in panel.status.value or playground.state == "idle"
    idle(playground)
    former = playground.opened
    told.answers = [[chunk("fine"), chunk("", "stop")], refusal(401, KEY)]
    playground.key_variable = "MY_KEY"
    panel.model.value = f"{told.url} m"
    asked(playground)
    idle(playground)
    assert playground.turns[-1]["content"] == "fine" and not former.service.thread.is_alive()
    assert "does not count tokens" in panel.status.value and panel.bars.value == "" and panel.step.disabled
    asked(playground)
    idle(playground)
    assert "refuses the key in MY_KEY" in panel.status.value
    widgets = [repr(each.get_state()) for each in vars(panel).values() if hasattr(each, "get_state")]
    assert len(widgets) > 15 and KEY not in "".join(widgets)
    panel.model.value = "nothing"
    panel.send.click()
    idle(playground)
    assert "the zoo has" in panel.status.value
    assert set(panel.model.options) == set(writers()) > {"gpt", "course_instruct"}
    for name in writers():
        chat.load_decoder(name)


# --- in a browser ---

CELL = "from lecture_lib.chat import Playground\nplayground = Playground('course_instruct')\nplayground"


@contextlib.contextmanager
def jupyterlab(folder):
    """Address of a JupyterLab on loopback that serves a folder."""
    port, token = free_port(), "for-this-test"
    place = {
        name: str(folder / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "HOME")
    }
    place["JUPYTER_DATA_DIR"] = str(folder / "data")
    options = [
        f"--ServerApp.port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        "--no-browser",
    ]
    options += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--allow-root"]
    options += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    log = open(folder / "log", "wb")  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env=os.environ | place,
        stdout=log,
        stderr=log,
        cwd=folder,
    )
    try:
        end = time.monotonic() + 90
        while True:
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            with contextlib.suppress(httpx.HTTPError):
                if (
                    httpx.get(f"http://127.0.0.1:{port}/api/status", params={"token": token}).status_code
                    == 200
                ):
                    break
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/lab/tree/play.ipynb?token={token}"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.mark.slow
@pytest.mark.browser
@needs_chromium
def test_the_panel_works_in_jupyterlab(tmp_path):
    cells = [nbformat.v4.new_code_cell(CELL), nbformat.v4.new_code_cell("print('the kernel', 'is free')")]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, tmp_path / "play.ipynb")
    server, hangs = Told(), [chunk("one "), chunk("two "), 60]
    server.answers = [[chunk(EVIL), chunk("", "stop")], hangs]
    with jupyterlab(tmp_path) as address, opened() as browser:
        tab = browser.new_page(viewport={"width": 1200, "height": 1100})
        tab.set_default_timeout(60_000)
        tab.goto(address)
        tab.get_by_text("| Idle").wait_for()
        first = tab.locator(".jp-Notebook .jp-CodeCell").first
        first.locator(".cm-content").click()
        tab.keyboard.press("Shift+Enter")  # the cursor is in the second cell then
        message, send, log = (
            tab.get_by_label("Message"),
            tab.get_by_role("button", name="Send"),
            tab.get_by_role("log"),
        )

        message.fill(QUESTION)
        send.click()
        tab.get_by_text("tokens/s").wait_for()
        assert log.inner_text().split("\n")[:3] == ["You", QUESTION, "Model"]
        assert tab.get_by_role("rowheader").count() >= 8  # the bars of the last token
        if shot := os.environ.get("SHOT"):
            tab.screenshot(path=shot)

        tab.get_by_label("Model", exact=True).fill(f"{server.url} m")
        message.fill("be evil")
        send.click()
        tab.get_by_text("does not count tokens").wait_for()
        assert (
            EVIL in log.inner_text()
            and tab.evaluate("window.won") is None
            and tab.locator("img[src=x]").count() == 0
        )

        message.fill("be slow")
        send.click()
        log.get_by_text("one two").wait_for()
        message.fill("another")
        send.click()
        tab.get_by_text("One answer at a time").wait_for()
        tab.locator(".jp-Notebook .jp-CodeCell").nth(1).locator(".cm-content").click()
        tab.keyboard.press("Shift+Enter")
        tab.get_by_text("the kernel is free", exact=True).wait_for()  # while the answer hangs
        tab.get_by_role("button", name="Stop", exact=True).click()
        tab.get_by_text("Stopped.").wait_for()
        assert "one two" in log.inner_text() and message.input_value() == "another"
    server.close()
    assert [body["messages"][-1]["content"] for _, body in server.asked] == ["be evil", "be slow"]
