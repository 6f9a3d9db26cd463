"""What in the README is built: the way to the book, the table of chapters, the output of its example, the moving picture.

python -m scripts.readme    draws the picture anew; `make notebooks` does the rest
"""

import contextlib
import html
import io
import re
import zlib
from unittest import mock

from lecture_lib.checks import exercise, session
from lecture_lib.files import write_text
from lecture_lib.plots import PALETTE
from scripts.authored import BADGE, HEADING
from scripts.settings import ROOT, book_url, chapters, colab_url, repository

PICTURE = ROOT / "book" / "_static" / "merges.svg"
SENTENCE = "It takes great courage to let yourself appear weak."


def chapter_table() -> str:
    """The table of chapters: title, exercises, minutes, the way to Colab."""
    rows = ["| chapter | exercises | minutes | |", "|---|---|---|---|"]
    for name in chapters():
        text = (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
        title = re.search(r"^# (.+)$", text, re.MULTILINE)[1]
        asked = HEADING.findall((ROOT / "solutions" / f"{name}.md").read_text(encoding="utf-8"))
        minutes = sum(exercise(task).minutes for _, task in asked)
        page, tasks = f"[{title}](book/{name}.md)", " · ".join(task for task, _ in asked)
        way = f"[![Open in Colab]({BADGE})]({colab_url(name)})"
        rows.append(f"| {int(name[:2])} {page} | {tasks} | {minutes} | {way} |")
    return "\n".join(rows)


def links() -> str:
    """The published book first."""
    site = f"**[Read the book]({book_url()})**"
    return f"{site} · [solve it in Colab]({colab_url(chapters()[0])}) · [the repository]({repository()[0]})"


def printed(code: str) -> str:
    """What a piece of code that ends in a check prints: its output, and the text of the check that failed.

    A check draws its cases by the day and the reader; here everybody gets the same ones on every day.
    """
    out = io.StringIO()
    with contextlib.redirect_stdout(out), mock.patch.object(session, "todays_seed", return_value=10_000):
        try:
            exec(compile(code, "<README>", "exec"), {})
        except AssertionError as failed:
            print(failed)
    return out.getvalue().strip()


def readme(text: str) -> str:
    """The README with everything between its markers built anew."""
    parts = {"links": links(), "chapters": chapter_table()}
    if example := re.search(r"```python\n(.*?)```\n+<!-- output -->", text, re.DOTALL):
        parts["output"] = f"```\n{printed(example[1])}\n```"
    for name, part in parts.items():
        block = f"<!-- {name} -->\n{part}\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


def merge_states(vocab_size: int = 4096) -> list[list[str]]:
    """The tokens of the sentence after each merge that changes it, the first being its letters."""
    from lecture_lib.corpora.english import english_paragraphs
    from lecture_lib.tokenization import BytePairTokenizer, merge

    tokenizer = BytePairTokenizer.train(english_paragraphs(split="train"), vocab_size)
    words = [list(word.replace(" ", "Ġ")) for word in tokenizer.split_words(SENTENCE)]
    states = [sum(words, [])]
    for left, right in tokenizer.model["merges"]:
        words = [merge(word, (left, right), left + right) for word in words]
        if len(tokens := sum(words, [])) < len(states[-1]):
            states.append(tokens)
    return states


def moving_picture(states: list[list[str]], wide: int = 14, seconds: float = 0.6) -> str:
    """The merges of the sentence, one after the other, as an SVG that moves; who asks for less motion sees the last."""
    frames, colors = [], PALETTE[:5]
    for place, tokens in enumerate(states):
        x, boxes = 8, []
        for token in tokens:
            color = colors[zlib.crc32(token.encode()) % len(colors)]
            size = f'x="{x + 1}" width="{wide * len(token) - 2}"'
            boxes.append(
                f'<rect {size} y="10" height="30" rx="4" fill="{color}" fill-opacity=".4" stroke="{color}"/>'
            )
            x += wide * len(token)
        label = f'<text x="8" y="62">{len(tokens)} tokens after {place} merges of this sentence</text>'
        frames.append(f'<g style="animation-delay:{place * seconds:.1f}s">{"".join(boxes)}{label}</g>')
    letters = "".join(
        f'<text x="{8 + wide * (i + 0.5)}" y="31" text-anchor="middle" font-family="monospace">{html.escape(c)}</text>'
        for i, c in enumerate(SENTENCE.replace(" ", "␣"))
    )
    share = 100 / len(states)
    style = (
        "svg{color:#1f2328;font:17px system-ui,sans-serif}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}"
        f"g{{opacity:0;animation:shown {len(states) * seconds:.1f}s step-end infinite}}"
        f"@keyframes shown{{0%{{opacity:1}}{share:.3f}%{{opacity:0}}}}"
        "@media(prefers-reduced-motion:reduce){g{animation:none}g:last-of-type{opacity:1}}"
    )
    size = f'viewBox="0 0 {16 + wide * len(SENTENCE)} 72" role="img" fill="currentColor"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{"".join(frames)}{letters}</svg>\n'


def main() -> None:
    """Draw the picture."""
    write_text(PICTURE, moving_picture(merge_states()))


if __name__ == "__main__":
    main()
