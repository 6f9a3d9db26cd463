"""Check the built pages: links inside the book lead somewhere, pictures have words, nothing is fetched from elsewhere.

python -m scripts.pages [folder with the built pages]
"""

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

from scripts.settings import ROOT

PAGES = ROOT / "_build" / "book" / "_build" / "html"
FETCHED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
FETCHING_RELATIONS = {"stylesheet", "preload", "icon", "shortcut"}


def faults(root: Path) -> list[str]:
    """What is wrong with the pages below a folder, a line each.

    Args:
        root: folder of the built pages.
    """
    pages = {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in sorted(root.rglob("*.html"))
    }
    anchors = {path: {tag["id"] for tag in page.find_all(id=True)} for path, page in pages.items()}
    found = []
    for path, page in pages.items():
        where = path.relative_to(root)
        found += [f"{where}: link to {link}" for link in dead_links(path, page, anchors)]
        if where.parts[0] in ("book", "notebooks"):
            article = page.find("article") or page
            found += [
                f"{where}: no alt text on {str(img)[:90]}"
                for img in article.find_all("img")
                if not img.get("alt")
            ]
        found += [f"{where}: fetches {address}" for address in fetched(page)]
    return found


def dead_links(path: Path, page: BeautifulSoup, anchors: dict[Path, set[str]]) -> list[str]:
    """Links inside the book whose page or place does not exist."""
    dead = []
    for tag in page.find_all("a", href=True):
        parts = urlsplit(tag["href"])
        if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.exists() or (
            parts.fragment and target in anchors and unquote(parts.fragment) not in anchors[target]
        ):
            dead.append(tag["href"])
    return dead


def fetched(page: BeautifulSoup) -> list[str]:
    """Addresses on other servers that a browser would load to show the page."""
    addresses = []
    for name, attribute in FETCHED.items():
        for tag in page.find_all(name):
            if name != "link" or FETCHING_RELATIONS & set(tag.get("rel", [])):
                addresses.append(tag.get(attribute, ""))
    return [address for address in addresses if urlsplit(address).netloc]


def main() -> None:
    """Print every fault and exit with 1 if there is one."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES
    if not root.is_dir():
        sys.exit(f"{root} is not there: `make book` first")
    if found := faults(root.resolve()):
        sys.exit("\n".join([*sorted(set(found)), f"{len(set(found))} faults in the built pages"]))


if __name__ == "__main__":
    main()
