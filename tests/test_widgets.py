"""Figures with sliders."""

import re

import pytest
from browser import needs_chromium, opened
from matplotlib import pyplot as plt

from lecture_lib import widgets


def draw(power, sign):
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.plot([sign * x**power for x in range(5)])
    return figure


def explorer():
    return widgets.explore(draw, {"power": [1, 2, 3], "sign": [-1, 1]}, alt="a power <of> x")


def test_every_setting_is_drawn_and_described():
    page = explorer()._repr_html_()
    assert page.count("data-frame style") == 6
    assert re.findall(r"alt='([^']*)'", page)[-1] == "a power &lt;of&gt; x (power 3, sign 1)"
    assert page.count("display:block") == 1
    assert not plt.get_fignums(), "figures are closed, or a notebook would show them twice"


def test_the_page_is_the_same_every_time():
    assert explorer()._repr_html_() == explorer()._repr_html_()
    assert repr(explorer()) == "a power <of> x: a figure with sliders for power, sign"


def test_html_frames_are_taken_as_they_are():
    page = widgets.explore(lambda step: f"<p>step {step}</p>", {"step": range(4)}, alt="steps")
    assert "<p>step 3</p>" in page._repr_html_()


@pytest.mark.parametrize("choices", [{"x": []}, {"x": range(300)}])
def test_too_few_or_too_many_settings_are_refused(choices):
    with pytest.raises(ValueError, match="1 to 200 settings"):
        widgets.explore(lambda x: "", choices, alt="")


@pytest.mark.browser
@needs_chromium
def test_sliders_work_in_a_browser_by_keyboard(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{explorer()._repr_html_()}")
    with opened() as browser:
        tab = browser.new_page(viewport={"width": 360, "height": 700})
        tab.goto(path.as_uri())
        seen = tab.locator("[data-frame]:visible img")
        assert seen.get_attribute("alt") == "a power <of> x (power 1, sign -1)"
        tab.get_by_label("power").focus()
        tab.keyboard.press("ArrowRight")
        tab.get_by_label("sign").focus()
        tab.keyboard.press("End")
        assert seen.get_attribute("alt") == "a power <of> x (power 2, sign 1)"
        assert tab.get_by_label("power").get_attribute("aria-valuetext") == "2"
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
