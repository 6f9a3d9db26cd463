"""Byte-pair encoding step by step on a text that the reader types, computed in the page by `merges.js`."""

import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources

from lecture_lib.plots.picture import Picture

_ROW = "display:flex;gap:.7em;align-items:center;margin:.4em 0;flex-wrap:wrap"
_BOX = """<div id='{key}' class='course-merges' style='max-width:44em'>
<label style='{row}'><span>your text</span><input type='text' value='{text}' maxlength='200' autocomplete='off'
 spellcheck='false' style='flex:1;min-width:12em;font:inherit;padding:.2em .4em'></label>
<div style='{row}'><button type='button'>back</button><button type='button'>next merge</button>
<input type='range' min='0' max='0' value='0' aria-label='merges done' style='flex:1;min-width:8em'></div>
<ol aria-label='tokens' style='display:flex;flex-wrap:wrap;list-style:none;padding:0;margin:.6em 0;line-height:1.7'></ol>
<p role='status'></p></div>"""


def merges(
    pairs: Sequence[Sequence[str] | str],
    text: str,
    caption: str = "",
    name: str | None = None,
) -> Picture:
    """Let the reader type a text and watch the merges of a byte-pair tokenizer, one after the other.

    Args:
        pairs: the merges in their order, as `tokenizer.model["merges"]` has them, spelled in the byte alphabet.
        text: what stands in the field at first.
        caption: text below it; empty: what is seen.
        name: label for references in the book.

    Returns:
        The figure, to be displayed.
    """
    spelled = [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]
    code = resources.files("lecture_lib.widgets").joinpath("merges.js").read_text(encoding="utf-8")
    data = json.dumps(spelled, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    key = "merges-" + hashlib.sha256((data + text).encode()).hexdigest()[:12]
    box = _BOX.format(key=key, row=_ROW, text=html.escape(text, quote=True))
    script = f'<script type="module">{code}\nstart(document.getElementById("{key}"), {data});</script>'
    default = "Byte-pair encoding on your own text. Framed: the pair that is merged next; a gap ends a word."
    alt = "A text field, and below it the tokens of the text after a number of merges."
    return Picture(box + script, caption or default, alt, name)
