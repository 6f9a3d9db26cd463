"""The playground's fields and buttons, and where they stand; with ipywidgets 7.7 to 8."""

from typing import Any

from lecture_lib.sampling import SamplingParameters

WIDE = {"description_width": "9.5em"}


class Panel:
    """The widgets of a playground: `box` holds all of them.

    Args:
        model: what stands in the field of the model.
        choices: models that are offered; any other name, folder or address may be typed.
    """

    def __init__(self, model: str, choices: list[str]) -> None:
        import ipywidgets as w

        full = w.Layout(width="100%")
        style = {"layout": full, "style": WIDE}
        self.model = w.Combobox(
            value=model, options=choices, ensure_option=False, description="Model", **style
        )
        self.system = w.Textarea(description="System prompt", rows=2, **style)
        self.automatic = w.Checkbox(value=True, description="automatic length", indent=False, layout=full)
        self.length = w.BoundedIntText(
            value=64, min=1, max=10**6, description="Output length", disabled=True, **style
        )
        self.temperature = w.FloatSlider(
            value=1.0, min=0, max=2, step=0.05, description="Temperature", **style
        )
        self.top_p = w.FloatSlider(value=1.0, min=0.01, max=1, step=0.01, description="Top-p", **style)
        self.top_k = w.IntSlider(value=0, min=0, max=100, description="Top-k (0: off)", **style)
        self.penalty = w.FloatSlider(
            value=1.0, min=0.5, max=2, step=0.05, description="Repetition penalty", **style
        )
        self.question = w.Textarea(
            placeholder="Your message", rows=3, layout=full, description="Message", style=WIDE
        )
        self.send = w.Button(description="Send", button_style="primary", layout=w.Layout(width="6em"))
        self.stop = w.Button(description="Stop", disabled=True, layout=w.Layout(width="6em"))
        self.clear = w.Button(description="New conversation", layout=w.Layout(width="auto"))
        self.step = w.IntSlider(value=1, min=1, max=1, description="Token", disabled=True, **style)
        self.talk, self.status, self.bars = w.HTML(), w.HTML(), w.HTML(layout=full)
        self.box = self._arranged(w)
        self.automatic.observe(self._lock_length, "value")

    def _arranged(self, w: Any) -> Any:
        knobs = [self.model, self.system, self.automatic, self.length, self.temperature]
        left = w.VBox(
            [*knobs, self.top_p, self.top_k, self.penalty], layout=w.Layout(flex="1 1 20em", padding=".5em")
        )
        buttons = w.HBox([self.send, self.stop, self.clear], layout=w.Layout(flex_flow="row wrap"))
        rows = [self.talk, self.question, buttons, self.status, self.step, self.bars]
        right = w.VBox(rows, layout=w.Layout(flex="2 1 24em", padding=".5em"))
        return w.HBox([left, right], layout=w.Layout(flex_flow="row wrap", align_items="flex-start"))

    def _lock_length(self, change: Any) -> None:
        self.length.disabled = self.automatic.value

    def sampling(self) -> SamplingParameters:
        """What the knobs say."""
        return SamplingParameters(
            temperature=self.temperature.value,
            top_p=self.top_p.value if self.top_p.value < 1 else None,
            top_k=self.top_k.value or None,
            repetition_penalty=self.penalty.value,
        )

    def limit(self) -> int | None:
        """Number of new tokens; None: automatic, up to the end of the context."""
        return None if self.automatic.value else self.length.value

    def busy(self, running: bool) -> None:
        """Let only that be pressed which makes sense."""
        self.stop.disabled, self.clear.disabled = not running, running
        self.send.button_style = "" if running else "primary"
