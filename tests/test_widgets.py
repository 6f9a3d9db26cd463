"""Figures to play with: merges on the reader's own text, sliders over drawn frames."""

import re

import pytest
from browser import needs_chromium, opened, page_with
from matplotlib import pyplot as plt

from lecture_lib import widgets
from lecture_lib.corpora.english import english_paragraphs
from lecture_lib.tokenization import BytePairTokenizer


def draw(power, sign):
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.plot([sign * x**power for x in range(5)])
    return figure


def explorer():
    return widgets.explore(
        draw, {"power": [1, 2, 3], "sign": [-1, 1]}, alt="a power <of> x", caption="A power."
    )


def test_every_setting_is_drawn_and_described():
    page = explorer()._repr_html_()
    assert page.count("data-frame style") == 6
    assert re.findall(r'aria-label="([^"]*)"', page)[-1] == "a power &lt;of&gt; x (power 3, sign 1)"
    assert page.count("display:block") == 1
    assert "<figcaption>A power.</figcaption>" in page
    assert not plt.get_fignums(), "figures are closed, or a notebook would show them twice"


@pytest.mark.slow
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


def test_merges_hold_no_markup_of_the_reader():
    page = widgets.merges([("a", "</script>")], "'><b>")._repr_html_()
    assert "value='&#x27;&gt;&lt;b&gt;'" in page
    assert page.count("</script>") == 1


@pytest.fixture(scope="module")
def browser():
    with opened() as browser:
        yield browser


@pytest.mark.browser
@needs_chromium
def test_sliders_work_in_a_browser_by_keyboard(browser, tmp_path):
    tab = browser.new_page(viewport={"width": 360, "height": 700})
    tab.goto(page_with(tmp_path, explorer()._repr_html_()))
    seen = tab.locator("[data-frame]:visible svg")
    assert seen.get_attribute("aria-label") == "a power <of> x (power 1, sign -1)"
    tab.get_by_role("slider", name="power").focus()
    tab.keyboard.press("ArrowRight")
    tab.get_by_role("slider", name="sign").focus()
    tab.keyboard.press("End")
    assert seen.get_attribute("aria-label") == "a power <of> x (power 2, sign 1)"
    assert tab.get_by_role("slider", name="power").get_attribute("aria-valuetext") == "2"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.browser
@needs_chromium
def test_merges_end_in_the_tokens_of_the_tokenizer(browser, tmp_path):
    tokenizer = BytePairTokenizer.train(english_paragraphs(split="train")[:400], 1200)
    tab = browser.new_page(viewport={"width": 390, "height": 700})
    tab.goto(
        page_with(tmp_path, widgets.merges(tokenizer.model["merges"], "It takes courage.")._repr_html_())
    )
    field, slider = tab.get_by_label("your text"), tab.get_by_role("slider", name="merges done")
    for text in ("It takes great courage, don't you think?", "  déjà vu 2025!! 日本  ", "x", ""):
        field.fill(text)
        slider.press("End")
        expected = [tokenizer.decode_bytes([i]) for i in tokenizer.encode(text)]
        shown = [item.replace("␣", " ") for item in tab.locator("ol li").all_text_contents()]
        spelled = b"".join(
            bytes.fromhex(item[1:3]) if re.fullmatch("<[0-9A-F]{2}>", item) else item.encode()
            for item in shown
        )
        assert len(shown) == len(expected)
        assert spelled == b"".join(expected) == text.encode()
        assert f"{len(expected)} tokens. No pair" in tab.get_by_role("status").inner_text()


@pytest.mark.browser
@needs_chromium
def test_merges_are_steered_by_mouse_and_keyboard_and_said_in_words(browser, tmp_path):
    tab = browser.new_page(viewport={"width": 390, "height": 700})
    tab.goto(page_with(tmp_path, widgets.merges([("a", "b"), ("ab", "c")], "abc ab")._repr_html_()))
    status, row = tab.get_by_role("status"), tab.locator("ol li")
    assert status.inner_text() == "0 of 2 merges done, 6 tokens. Next: a and b become ab, merge 1 of 2."
    tab.get_by_role("button", name="next merge").click()
    assert row.all_text_contents() == ["ab", "c", "␣", "ab"]
    tab.get_by_role("slider").press("ArrowRight")
    assert row.all_text_contents() == ["abc", "␣", "ab"]
    assert tab.get_by_role("button", name="next merge").is_disabled()
    tab.get_by_role("button", name="back").focus()
    tab.keyboard.press("Enter")
    assert status.inner_text() == "1 of 2 merges done, 4 tokens. Next: ab and c become abc, merge 2 of 2."
    tab.get_by_label("your text").fill("")
    assert status.inner_text().startswith("0 of 0 merges done, 0 tokens.")
