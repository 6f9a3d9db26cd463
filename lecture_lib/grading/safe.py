"""What may be shown of a submission: no output, text or cell of a student becomes active in anybody's browser, table or terminal."""

import base64
import binascii
import json
import re

from lecture_lib.grading.triage import Triaged

MOST_OUTPUT = 200_000  # characters of one output
MOST_PICTURE = 2 * 2**20
MOST_OUTPUTS = 50
PNG = b"\x89PNG\r\n\x1a\n"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_MATH = re.compile(r"(\$\$.*?\$\$|\$[^$\n]+\$)", re.DOTALL)
_LINK = re.compile(r"\](\s*[(:])(?!\s*(?:https?://|#|mailto:))")


def plain_text(text: object, most: int = MOST_OUTPUT) -> str:
    """Text without control characters, escape sequences and halves of characters, up to a length."""
    text = _CONTROL.sub("", text) if type(text) is str else ""
    return text if len(text) <= most else f"{text[:most]}\n… cut: {len(text) - most} characters more"


def markdown(source: str) -> str:
    """Markdown in which no tag and no link with a scheme of its own is left, however it is parsed.

    A ``<`` before a letter gets an invisible word joiner behind it, inside a formula a space, which changes no formula.
    """
    parts = _MATH.split(plain_text(source))
    parts = [_TAG.sub("< " if place % 2 else "<\u2060", part) for place, part in enumerate(parts)]
    return _LINK.sub(r"]\u2060\1".replace("\\u2060", "\u2060"), "".join(parts))


def cell_of_table(text: object) -> str:
    """A CSV field that no spreadsheet takes for a formula."""
    text = plain_text(str(text)).replace("\n", " ").replace("\t", " ").strip()
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def outputs(given: object) -> list[dict]:
    """Outputs rebuilt from the kinds that cannot act: text, pictures in PNG, errors."""
    rebuilt = [
        clean for each in (given if type(given) is list else [])[:MOST_OUTPUTS] if (clean := _output(each))
    ]
    more = len(given) - MOST_OUTPUTS if type(given) is list else 0
    return [*rebuilt, stream(f"… {more} outputs more")] if more > 0 else rebuilt


def stream(text: object) -> dict:
    """Text as an output."""
    return {"output_type": "stream", "name": "stdout", "text": plain_text(text)}


def _output(each: object) -> dict | None:
    kind = each.get("output_type") if type(each) is dict else None
    if kind == "stream":
        return stream(_joined(each.get("text")))
    if kind == "error":
        name, words = (
            plain_text(_joined(each.get("ename")), 200),
            plain_text(_joined(each.get("evalue")), 2000),
        )
        return {"output_type": "error", "ename": name, "evalue": words, "traceback": [f"{name}: {words}"]}
    if kind in ("display_data", "execute_result"):
        data = each.get("data") if type(each.get("data")) is dict else {}
        shown = {"text/plain": plain_text(_joined(data.get("text/plain")))}
        picture = _picture(_joined(data.get("image/png")))
        return {
            "output_type": "display_data",
            "metadata": {},
            "data": shown | ({"image/png": picture} if picture else {}),
        }
    return None


def _joined(value: object) -> str:
    if type(value) is list:
        value = "".join(each for each in value if type(each) is str)
    return value if type(value) is str else ""


def _picture(text: str) -> str | None:
    try:
        raw = base64.b64decode(text, validate=False) if len(text) <= MOST_PICTURE * 4 // 3 + 8 else b""
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(raw).decode("ascii") if raw.startswith(PNG) else None


def graded_copy(notebook: Triaged) -> str:
    """The notebook as it is shown and handed back: with outputs of ours, and nothing in it that could act."""
    cells = []
    for cell in notebook.cells:
        shown = {key: cell[key] for key in ("cell_type", "metadata", "source")} | {
            "id": f"c{len(cells):03d}-{cell['id'][:40]}"
        }
        shown["id"] = "".join(c for c in shown["id"] if c.isascii() and (c.isalnum() or c in "-_"))
        if cell["cell_type"] == "code":
            shown |= {
                "outputs": outputs(cell["outputs"]),
                "execution_count": None,
                "source": plain_text(cell["source"]),
            }
        else:
            shown["source"] = markdown(cell["source"])
        shown["metadata"] = _metadata(cell["metadata"])
        cells.append(shown)
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def _metadata(given: dict) -> dict:
    """What nbgrader needs, and tags."""
    tags = given.get("tags")
    kept = {"nbgrader": given["nbgrader"]} if type(given.get("nbgrader")) is dict else {}
    return kept | ({"tags": [str(each) for each in tags]} if type(tags) is list else {})
