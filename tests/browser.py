"""A headless Chromium for the tests that need a real browser."""

import contextlib
import shutil

import pytest

from scripts import assets
from scripts.settings import ROOT

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@contextlib.contextmanager
def opened():
    """A browser that is closed again."""
    from playwright.sync_api import sync_playwright

    assets.main()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, "--disable-component-update", "--disable-sync"]
        )
        yield browser
        browser.close()


def page_with(folder, body: str) -> str:
    """Address of a page with a piece of HTML in it, with the book's own style and scripts."""
    static = (ROOT / "book" / "_static").as_uri()
    path = folder / "page.html"
    style = f"<meta charset=utf-8><link rel=stylesheet href='{static}/course.css'><style>body{{margin:8px}}figure{{margin:0!important}}</style>"
    path.write_text(
        f"<!doctype html>{style}<article>{body}</article><script defer src='{static}/charts.js'></script>"
    )
    return path.as_uri()
