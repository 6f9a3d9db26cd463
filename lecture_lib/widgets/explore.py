"""Sliders over frames that were drawn beforehand, for pictures that cannot be data."""

import hashlib
import html
import itertools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lecture_lib.plots.look import svg
from lecture_lib.plots.picture import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCRIPT = """
(function () {
  const box = document.getElementById("%(key)s"), sizes = %(sizes)s, labels = %(labels)s;
  const sliders = [...box.querySelectorAll("input")], frames = [...box.querySelectorAll("[data-frame]")];
  function draw() {
    let index = 0;
    sliders.forEach((slider, i) => {
      index = index * sizes[i] + Number(slider.value);
      slider.nextElementSibling.textContent = labels[i][slider.value];
      slider.setAttribute("aria-valuetext", labels[i][slider.value]);
    });
    frames.forEach((frame, i) => { frame.style.display = i === index ? "block" : "none"; });
  }
  sliders.forEach((slider) => slider.addEventListener("input", draw));
  draw();
})();
"""


def explore(
    render: "Callable[..., Figure | str]",
    choices: dict[str, Sequence],
    alt: str,
    caption: str = "",
    name: str | None = None,
) -> Picture:
    """Draw a figure for every setting and put sliders above it.

    Args:
        render: called as render(name=value, ...) for every combination; returns a matplotlib figure or a piece of HTML.
        choices: for each slider its name and its values; all combinations are drawn, 200 at most.
        alt: what the figure shows, for readers who cannot see it; the setting is added.
        caption: text below it; empty: the alt text.
        name: label for references in the book.

    Returns:
        An object that a notebook or a page displays.

    Raises:
        ValueError: a slider has no values, or there are more than 200 combinations.
    """
    sizes = [len(values) for values in choices.values()]
    combinations = list(itertools.product(*choices.values()))
    if not 1 <= len(combinations) <= 200:
        raise ValueError(f"1 to 200 settings can be drawn; {', '.join(choices)} make {len(combinations)}")
    frames = []
    for place, values in enumerate(combinations):
        setting = dict(zip(choices, values, strict=True))
        words = ", ".join(f"{name} {value}" for name, value in setting.items())
        shown = "block" if place == 0 else "none"
        frames.append(
            f"<div data-frame style='display:{shown}'>{_picture(render(**setting), f'{alt} ({words})')}</div>"
        )
    labels = [[str(value) for value in values] for values in choices.values()]
    key = "explore-" + hashlib.sha256("".join(frames).encode()).hexdigest()[:12]
    rows = "".join(_slider(name, texts) for name, texts in zip(choices, labels, strict=True))
    script = _SCRIPT % {
        "key": key,
        "sizes": json.dumps(sizes),
        "labels": json.dumps(labels).replace("</", "<\\/"),
    }
    page = f"<div id='{key}' style='max-width:44em'>{rows}{''.join(frames)}</div><script>{script}</script>"
    return Picture(page, caption or f"{alt}.", f"{alt}: a figure with sliders for {', '.join(choices)}", name)


def _slider(name: str, texts: list[str]) -> str:
    shown, style = html.escape(name), "display:flex;gap:.7em;align-items:center;margin:.2em 0"
    control = f"<input type='range' min='0' max='{len(texts) - 1}' value='0' style='flex:1;min-width:6em' aria-label='{shown}'>"
    value = (
        f"<output style='min-width:5em;font-variant-numeric:tabular-nums'>{html.escape(texts[0])}</output>"
    )
    return f"<label style='{style}'><span style='min-width:6em'>{shown}</span>{control}{value}</label>"


def _picture(frame: "Figure | str", alt: str) -> str:
    if isinstance(frame, str):
        return frame
    from matplotlib import pyplot as plt

    plt.close(frame)
    return svg(frame, alt)
