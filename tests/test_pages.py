"""The built book in a real browser: nothing scrolls sideways, nothing is fetched from elsewhere, no script fails."""

import check_book
import pytest
from browser import needs_chromium, opened

PAGES = sorted((check_book.PAGES / "book").glob("*.html")) + sorted(
    (check_book.PAGES / "notebooks").glob("*/*.html")
)
pytestmark = [
    pytest.mark.browser,
    needs_chromium,
    pytest.mark.skipif(not PAGES, reason="the book is not built: `make book`, then `make pages`"),
]


@pytest.fixture(scope="module")
def browser():
    with opened() as browser:
        yield browser


def test_links_pictures_and_addresses():
    assert check_book.faults(check_book.PAGES) == []


@pytest.mark.parametrize("path", [p for p in PAGES if p.stem[:2].isdigit()], ids=lambda path: path.stem)
def test_a_chapter_shows_its_figures(browser, path):
    tab = browser.new_page()
    tab.goto(path.as_uri(), wait_until="load")
    assert tab.locator("article .cell_output img").count() >= 3


@pytest.mark.parametrize("width", [360, 768, 1100, 1600])
def test_no_page_scrolls_sideways(browser, width):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    for path in PAGES:
        tab.goto(path.as_uri(), wait_until="load")
        tab.wait_for_timeout(300)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, path.name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_stands_alone(browser, path):
    tab = browser.new_page(viewport={"width": 1100, "height": 900})
    complaints = []
    tab.on(
        "request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None
    )
    tab.on("requestfailed", lambda request: complaints.append(f"missing {request.url}"))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(path.as_uri(), wait_until="load")
    tab.wait_for_timeout(800)
    assert complaints == []
    assert tab.locator("mjx-merror").count() == 0, "a formula that MathJax cannot set"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_sliders_change_what_is_seen(browser, path):
    tab = browser.new_page(viewport={"width": 360, "height": 900})
    tab.goto(path.as_uri(), wait_until="load")
    for box in tab.locator("[id^=explore-]").all():
        for slider in box.locator("input[type=range]").all():
            before = box.locator("[data-frame]:visible").evaluate("frame => frame.innerHTML")
            slider.focus()
            slider.press("End")
            assert box.locator("[data-frame]:visible").count() == 1
            assert box.locator("[data-frame]:visible").evaluate("frame => frame.innerHTML") != before
