"""The playground of the lecture: a panel with every knob, answers that stream, and the bars of the next token.

The answer is written in a thread, so the notebook stays free. Every run has a number: what an older run still brings, after
a stop, is dropped.
"""

import threading
import time
from contextlib import closing
from functools import partial
from typing import Any

from lecture_lib.chat import shown
from lecture_lib.chat.door import open_model
from lecture_lib.chat.local import LocalModel, writers
from lecture_lib.chat.panel import Panel
from lecture_lib.chat.protocol import ChatModel, Reply

REDRAW = 0.1  # seconds between two pictures of a growing answer


class Playground:
    """A panel to try a model in: let it be the last line of a cell.

    In the field of the model may stand what `open_model` takes; the name of a server's model follows its address after a
    space. Bars are there for models that run here, for each token of the last answer.

    Args:
        model: what stands there at first, or a chat model that is open already.
        key_variable: environment variable with the key of an address, as `Endpoint`; the key itself is never shown.
        device: of models that run here, as `load_decoder`.

    Example:
        >>> panel = Playground("course_instruct").panel
        >>> panel.sampling().temperature, panel.limit()
        (1.0, None)
    """

    def __init__(
        self,
        model: str | ChatModel = "course_instruct",
        key_variable: str | None = None,
        device: str | None = None,
    ) -> None:
        given = isinstance(model, str)
        self.where, self.opened = (None, None) if given else (model.name, model)
        self.key_variable, self.device = key_variable, device
        self.panel = Panel(model if given else model.name, writers() if given else [model.name])
        self.panel.model.disabled = not given
        self.turns: list[dict[str, str]] = []
        self.steps: list[tuple[str, list[tuple[str, float, float]]]] = []
        self.run, self.state, self.said, self.waits = 0, "idle", "", None
        self.lock, self.opening = threading.RLock(), threading.Lock()
        self.panel.send.on_click(lambda _: self.send())
        self.panel.stop.on_click(lambda _: self.stop())
        self.panel.clear.on_click(lambda _: self.clear())
        self.panel.step.observe(lambda _: self._draw_bars(), "value")

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.panel.box)

    def send(self) -> None:
        """Ask what stands in the field; while an answer is being written, say so and do nothing."""
        panel = self.panel
        with self.lock:
            question = panel.question.value.strip()
            if self.state != "idle":
                panel.status.value = shown.status("One answer at a time: wait for this one, or stop it.")
            elif not question:
                panel.status.value = shown.status("Write a message first.")
            else:
                self.run, self.state, self.said, self.steps = self.run + 1, "loading", "", []
                self.turns.append({"role": "user", "content": question})
                panel.question.value, panel.step.disabled, panel.bars.value = "", True, ""
                panel.status.value = shown.status(f"Opening {panel.model.value} ...")
                panel.busy(True)
                self._draw()
                asked = (
                    self.run,
                    panel.model.value.strip(),
                    self._messages(),
                    panel.sampling(),
                    panel.limit(),
                )
                threading.Thread(target=self._work, args=asked, daemon=True, name="playground").start()

    def stop(self) -> None:
        """Stop the answer; what was written of it stays."""
        with self.lock:
            if self.state != "idle":
                self._end("Stopped.")

    def clear(self) -> None:
        """Begin a new conversation."""
        with self.lock:
            if self.state == "idle":
                self.turns, self.steps, self.said = [], [], ""
                self.panel.status.value = self.panel.bars.value = ""
                self.panel.step.disabled = True
                self._draw()

    def _messages(self) -> list[dict[str, str]]:
        system = self.panel.system.value.strip()
        return [{"role": "system", "content": system}] * bool(system) + list(self.turns)

    def _work(self, run: int, where: str, messages: list, sampling: Any, limit: int | None) -> None:
        """Write one answer, in a thread of its own."""
        try:
            model = self._open(where)
            with self.lock:
                if run != self.run:
                    return
                self.state = "answering"
                self.panel.status.value = shown.status(
                    getattr(model, "note", "") or f"{model.name} answers ..."
                )
            began = time.perf_counter()
            watch = {"watch": partial(self._note, run)} if isinstance(model, LocalModel) else {}
            with closing(model.stream(messages, sampling, max_new_tokens=limit, **watch)) as pieces:
                for piece in pieces:
                    if not self._take(run, piece, time.perf_counter() - began):
                        break
        except Exception as error:
            with self.lock:
                if run == self.run:
                    self._end(f"{error}" or type(error).__name__)

    def _open(self, where: str) -> ChatModel:
        with self.opening:
            if self.where != where:
                if self.opened is not None:
                    self.opened.close()
                self.where = self.opened = None
                if where.startswith("http"):
                    self.opened = open_model(*where.split(maxsplit=1), key_variable=self.key_variable)
                else:
                    self.opened = open_model(where, device=self.device)
                self.where = where
            return self.opened

    def _note(self, run: int, word: str, rows: list[tuple[str, float, float]]) -> None:
        with self.lock:
            if run == self.run:
                self.steps.append((word, rows))

    def _take(self, run: int, piece: str | Reply, seconds: float) -> bool:
        """Show a piece of an answer; False: it was stopped."""
        with self.lock:
            if run != self.run:
                return False
            if isinstance(piece, Reply):
                self.said = piece.text
                self._end(shown.count(piece, seconds))
            else:
                self.said += piece
                self._draw_soon()
            return True

    def _draw_soon(self) -> None:
        """Draw all that has come in a moment, and only once."""
        if not self.waits:
            self.waits = threading.Timer(REDRAW, self._draw_late)
            self.waits.daemon = True
            self.waits.start()

    def _draw_late(self) -> None:
        with self.lock:
            self.waits = None
            self._draw()

    def _end(self, sentence: str) -> None:
        """Keep what was said; a message without an answer goes back into its field."""
        self.run, self.state = self.run + 1, "idle"
        if self.said.strip():
            self.turns.append({"role": "assistant", "content": self.said.strip()})
        else:
            message = self.turns.pop()["content"]
            self.panel.question.value = self.panel.question.value or message
        self.said = ""
        self.panel.busy(False)
        self.panel.status.value = shown.status(sentence)
        self._draw()

    def _draw(self) -> None:
        """Show the conversation, and the last token's bars."""
        live = self.state != "idle"
        growing = [{"role": "assistant", "content": self.said.lstrip() or "..."}] if live else []
        self.panel.talk.value = shown.conversation([*self.turns, *growing], live)
        if self.steps:
            self.panel.step.max = len(self.steps)
            self.panel.step.value, self.panel.step.disabled = len(self.steps), live
            self._draw_bars()

    def _draw_bars(self) -> None:
        with self.lock:
            if self.steps:
                self.panel.bars.value = shown.bars(*self.steps[self.panel.step.value - 1])
