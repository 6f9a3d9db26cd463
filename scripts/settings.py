"""Where things are: the repository, its address (which stands once, in _config.yml), the chapters."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def config() -> dict[str, Any]:
    """The settings of the book, from _config.yml."""
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def repository() -> tuple[str, str]:
    """URL and branch of the course's repository, from the one place where they stand."""
    settings = config()["repository"]
    return settings["url"].rstrip("/"), settings["branch"]


def slug() -> str:
    """Owner and name of the repository, as in owner/name."""
    return re.sub(r"^https?://github\.com/", "", repository()[0])


def colab_url(name: str) -> str:
    """Address that opens the notebook of a chapter in Colab."""
    return f"https://colab.research.google.com/github/{slug()}/blob/{repository()[1]}/notebooks/{name}/{name}.ipynb"


def book_url(page: str = "") -> str:
    """Address of the published book on GitHub Pages, or of one of its pages such as `book/03_attention.html`."""
    owner, name = slug().split("/")
    site = config().get("html", {}).get("baseurl") or f"https://{owner.lower()}.github.io/{name}"
    return f"{site.rstrip('/')}/{page}"


def chapters() -> list[str]:
    """Names of the chapters that have an authored notebook, such as 03_attention."""
    return sorted(path.stem for path in (ROOT / "solutions").glob("[0-9][0-9]_*.md"))


def tools_path() -> str:
    """The search path of programs with those beside this Python first: nbgrader calls `alembic` by name."""
    import sys

    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
