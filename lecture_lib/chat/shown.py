"""Conversations and next tokens as HTML in the page's colours. What a model or a person writes is text, never markup."""

import html
from collections.abc import Sequence

from lecture_lib.chat.protocol import Message, Reply
from lecture_lib.plots.look import PALETTE

WHO = {"user": "You", "assistant": "Model"}
CELL = "padding:.1em .6em .1em 0;text-align:left;white-space:nowrap"
BAR = "height:.8em;box-sizing:border-box;max-width:100%"


def conversation(turns: Sequence[Message], busy: bool = False) -> str:
    """Show the turns of a conversation one below the other."""
    rows = "".join(
        f"<div style='margin:.5em 0'><strong>{WHO.get(each['role'], html.escape(each['role']))}</strong>"
        f"<div style='white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.4'>{html.escape(each['content'])}</div></div>"
        for each in turns
    )
    return f"<div role='log' aria-label='conversation' aria-busy='{str(busy).lower()}'>{rows}</div>"


def status(sentence: str) -> str:
    """Show a sentence that is read aloud when it changes."""
    return f"<div role='status' style='line-height:1.4;overflow-wrap:anywhere'>{html.escape(sentence)}</div>"


def count(reply: Reply, seconds: float) -> str:
    """Say what an answer cost; a server that does not count is no reason to guess."""
    if reply.tokens_in is None or reply.tokens_out is None:
        words = f"this server does not count tokens; {seconds:.1f} s"
    else:
        words = f"{reply.tokens_in} tokens in, {reply.tokens_out} out, {reply.tokens_out / max(seconds, 1e-9):.1f} tokens/s"
    return words + ("; the largest number of tokens is reached" if reply.finish_reason == "length" else "")


def bars(word: str, rows: Sequence[tuple[str, float, float]]) -> str:
    """Show the tokens that might have come, as a table: what the model says, and what is drawn from.

    Args:
        word: the token that was drawn.
        rows: text, probability under the model, and probability behind temperature and filters of each token.
    """
    head = "".join(
        f"<th scope='col' style='{CELL}'>{name}</th>" for name in ("token", "model", "drawn from", "")
    )
    body = "".join(_row(*each, each[0] == word) for each in rows)
    caption = f"<caption style='text-align:left'>Next token; drawn: {_visible(word)}. Outline: the model, filled: drawn from.</caption>"
    return f"<table style='border-collapse:collapse;width:100%;line-height:1.4'>{caption}<tr>{head}</tr>{body}</table>"


def _row(token: str, own: float, drawn: float, chosen: bool) -> str:
    weight = "bold" if chosen else "normal"
    cells = "".join(f"<td style='{CELL}'>{100 * p:.1f} %</td>" for p in (own, drawn))
    outline = f"<div style='{BAR};border:1px solid {PALETTE[5]};width:{100 * own:.2f}%'></div>"
    filled = f"<div style='{BAR};background:{PALETTE[0]};width:{100 * drawn:.2f}%'></div>"
    name = f"<th scope='row' style='{CELL};font-weight:{weight}'><code>{_visible(token)}</code></th>"
    return f"<tr style='font-weight:{weight}'>{name}{cells}<td style='width:60%' aria-hidden='true'>{outline}{filled}</td></tr>"


def _visible(token: str) -> str:
    return html.escape(token.replace(" ", "␣").replace("\n", "⏎"))
