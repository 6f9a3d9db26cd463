"""Battles from a file in the public format: CSV with a header, JSON lines, or one JSON list of objects."""

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lecture_lib.arena.battles import WINNERS, Battles
from lecture_lib.files import read_text

NEEDED = ("model_a", "model_b", "winner")


def read_battles(path: str | os.PathLike[str], columns: Sequence[str] = ()) -> Battles:
    """Read battles of model_a, model_b, winner; winner is model_a, model_b, tie, tie (bothbad) or both_bad.

    Args:
        path: a CSV file with a header, JSON lines, or a JSON list.
        columns: further columns to keep, such as language; what is empty there is None.

    Raises:
        ValueError: no battle, a column that is missing, a winner or a row that cannot be read: with the place.
        FileNotFoundError: there is no such file.
    """
    text = read_text(path).removeprefix("\ufeff")
    rows = (
        _json_rows(text, path) if text.lstrip()[:1] in ("{", "[") else list(csv.DictReader(io.StringIO(text)))
    )
    if not rows:
        raise ValueError(f"{path} holds no battle")
    for place, row in enumerate(rows, 1):
        missing = [name for name in (*NEEDED, *columns) if name not in row]
        empty = [name for name in NEEDED if name in row and not row[name]]
        if missing or empty:
            raise ValueError(
                f"{path}, battle {place}: no {(missing + empty)[0]}; a battle needs {', '.join(NEEDED)}"
            )
        if row["winner"] not in WINNERS:
            raise ValueError(
                f"{path}, battle {place}: winner is {row['winner']!r}, not one of {', '.join(WINNERS)}"
            )
        if row["model_a"] == row["model_b"]:
            raise ValueError(f"{path}, battle {place}: {row['model_a']} meets itself; leave the battle out")
    battles = Battles.from_names(*([str(row[name]) for row in rows] for name in NEEDED))
    kept = {name: np.array([row[name] for row in rows], dtype=object) for name in columns}
    return replace(battles, columns=kept)


def _json_rows(text: str, path: object) -> list[dict]:
    """One object a line, or a list of them."""
    rows = []
    lines = [text] if text.lstrip().startswith("[") else text.splitlines()
    for place, line in enumerate(lines, 1):
        try:
            found = json.loads(line) if line.strip() else []
        except ValueError:
            raise ValueError(f"{path}, line {place} is not valid JSON (cut off or damaged?)") from None
        rows += found if isinstance(found, list) else [found]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold objects with {', '.join(NEEDED)}")
    return rows
