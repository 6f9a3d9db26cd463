"""The built book in a real browser: nothing scrolls sideways, nothing is fetched from elsewhere, no script fails, all can be read.

`make book` has looked at links, alt texts and addresses already.
"""

import re

import pytest
from browser import needs_chromium, opened

from scripts import assets, pages

BOOK = sorted((pages.PAGES / "book").glob("*.html"))
CHAPTERS = [page for page in BOOK if page.stem[:2].isdigit()]
# The chapters first: the same place in both lists is the same page, so all tests of a page follow one another.
PAGES = [
    *CHAPTERS,
    *(page for page in BOOK if page not in CHAPTERS),
    *sorted((pages.PAGES / "notebooks").glob("*/*.html")),
]
pytestmark = [
    pytest.mark.browser,
    needs_chromium,
    pytest.mark.skipif(not PAGES, reason="the book is not built: `make book`, then `make pages`"),
]


PHONE, DESK = 360, 1440


def name(path):
    return "/".join(path.parts[-2:])


@pytest.fixture(scope="module")
def browser():
    with opened() as browser:
        yield browser


@pytest.fixture(scope="module")
def visit(browser):
    """Opens a page once on a phone and once on a desk; then its window is made as wide and as dark as a test asks."""
    tabs = {}

    def at(path, width=1100, theme="light"):
        if tabs and path not in {known for known, _ in tabs}:
            for tab in tabs.values():
                tab.close()
            tabs.clear()
        device = path, PHONE if width < 500 else DESK
        tab = tabs[device] = tabs.get(device) or opened_page(browser, *device)
        if tab.now != (width, theme):
            tab.set_viewport_size({"width": width, "height": 900})
            tab.emulate_media(color_scheme=theme)
            tab.wait_for_function(f"document.documentElement.dataset.theme == '{theme}'")
            tab.wait_for_timeout(300)
            tab.now = width, theme
        return tab

    return at


def opened_page(browser, path, width):
    """A tab with a page whose charts have all been drawn."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="light")
    tab.complaints, tab.now = [], None
    tab.on("request", lambda r: tab.complaints.append(r.url) if r.url.startswith("http") else None)
    tab.on("requestfailed", lambda request: tab.complaints.append(f"missing {request.url}"))
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on(
        "console", lambda message: tab.complaints.append(message.text) if message.type == "error" else None
    )
    tab.goto(path.as_uri(), wait_until="load")
    for chart in tab.locator(".course-chart").all():
        chart.scroll_into_view_if_needed()
        chart.locator("svg").first.wait_for()
    tab.wait_for_function(
        "!window.MathJax || !MathJax.startup || !MathJax.startup.promise || window.typeset || "
        "(MathJax.startup.promise.then(() => { window.typeset = true }), false)"
    )
    return tab


every_page = pytest.mark.parametrize("path", PAGES, ids=name, scope="module")
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=name, scope="module")
NUMBERED = [each for each in PAGES if each.stem[:2].isdigit()]  # chapters and their exercises
every_numbered = pytest.mark.parametrize("path", NUMBERED, ids=name, scope="module")


@every_chapter
def test_every_figure_of_a_chapter_has_a_number_a_caption_and_words(visit, path):
    tab = visit(path)
    drawn = tab.locator("article .cell_output").locator(
        "img, svg, .course-chart, [id^=explore-], .course-merges"
    )
    alone = drawn.evaluate_all(
        "all => all.filter(each => !each.closest('figure, button')).map(each => each.outerHTML.slice(0, 90))"
    )
    assert alone == [], "a figure without a caption"
    captions = tab.locator("article figure figcaption").all_inner_texts()
    assert len(captions) >= 3
    assert all(re.match(r"Fig\. \d+\.\d+ .{20}", text.strip(), re.DOTALL) for text in captions), captions
    nameless = (
        "all => all.filter(s => !s.closest('[aria-hidden=true]') && !s.getAttribute('aria-label')).length"
    )
    assert tab.locator("article figure svg[role=img]").evaluate_all(nameless) == 0


@every_numbered
def test_formulas_of_their_own_line_and_the_table_of_points_fit_a_phone(visit, path):
    tab = visit(path, width=390)
    wide = (
        "all => all.filter(e => [e, e.parentElement].some(x => x.scrollWidth > x.clientWidth + 2))"
        ".map(e => e.innerText.slice(0, 60))"
    )
    assert tab.locator("article mjx-container[display=true]").evaluate_all(wide) == []
    points = tab.locator("article .cell_output table", has_text="graded by hand")
    assert points.evaluate_all(wide) == []


@every_chapter
def test_text_in_figures_is_large_enough_on_a_phone(visit, path):
    tab = visit(path, width=390)
    sizes = tab.evaluate(
        "[...document.querySelectorAll('article figure svg text')].filter(t => t.getClientRects().length).map(t => {"
        " const m = t.getScreenCTM(); return [Math.hypot(m.a, m.b) * parseFloat(getComputedStyle(t).fontSize), t.textContent]; })"
    )
    assert [text for size, text in sizes if size < 10.9] == []


@pytest.mark.parametrize("width", [360, 768, 1100, 1600])
@every_page
def test_no_page_scrolls_sideways(visit, path, width):
    assert visit(path, width).evaluate("document.documentElement.scrollWidth") <= width


@every_page
def test_a_page_stands_alone(visit, path):
    tab = visit(path)
    assert tab.complaints == []
    assert tab.locator("mjx-merror").count() == 0, "a formula that MathJax cannot set"
    assert tab.locator("script[src*=fontawesome]").count() == 0


# Names, order and keys do not depend on the theme: in the dark one the colours are asked for.
RULES = {"light": "", "dark": "runOnly: ['color-contrast', 'link-in-text-block']"}


@pytest.mark.parametrize("theme", RULES)
@pytest.mark.parametrize("width", [390, 1440])
@every_page
def test_everybody_can_read_and_use_a_page(visit, path, width, theme):
    tab = visit(path, width, theme)
    if not tab.evaluate("!!window.axe"):
        tab.add_script_tag(path=str(assets.TOOLS / "axe.min.js"))
    found = tab.evaluate(f"axe.run(document, {{resultTypes: ['violations'], {RULES[theme]}}})")["violations"]
    grave = [
        (rule["id"], node["target"], node["failureSummary"][:200])
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]
    assert grave == []


@every_chapter
def test_formulas_are_no_stops_by_keyboard(visit, path):
    tab = visit(path, width=1440)
    assert tab.locator("mjx-container[tabindex]:not(.course-scrolls)").count() == 0


@every_chapter
def test_a_chapter_leads_to_colab_notebook_source_and_says_how_long_it_takes(visit, path):
    tab = visit(path)
    line = tab.locator(".course-line")
    assert re.match(r"\d+ min to read", line.inner_text())
    assert line.locator("a").all_inner_texts() == ["Exercises", "Open in Colab", "Notebook", "Source"]
    assert tab.locator(".header-article__right button[aria-label='Launch interactive content']").count() == 0


@every_page
def test_sliders_change_what_is_seen(visit, path):
    tab = visit(path, width=360)
    for box in tab.locator("[id^=explore-]").all():
        for slider in box.locator("input[type=range]").all():
            before = box.locator("[data-frame]:visible").evaluate("frame => frame.innerHTML")
            slider.focus()
            slider.press("End")
            assert box.locator("[data-frame]:visible").count() == 1
            assert box.locator("[data-frame]:visible").evaluate("frame => frame.innerHTML") != before
    for chart in tab.locator(".course-chart").all():
        for control in chart.locator("input[type=range]").all():
            before = chart.locator("svg").first.evaluate("svg => svg.outerHTML")
            control.press("ArrowLeft")
            tab.wait_for_timeout(250)
            assert chart.locator("svg").first.evaluate("svg => svg.outerHTML") != before


def test_a_search_shows_text_of_the_page(browser):
    tab = browser.new_page()
    tab.goto((pages.PAGES / "search.html").as_uri() + "?q=attention")
    tab.wait_for_timeout(1500)
    text = tab.evaluate(
        "Search.htmlToText('<main role=main><ul><li>Download source file</li></ul><article><h1>A</h1><p>Text.</p></article></main>')"
    )
    assert text == "AText."
