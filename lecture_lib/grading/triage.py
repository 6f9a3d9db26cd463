"""Read what came back and put it beside the release: whatever can be saved is saved, on a copy, and said.

The submitted bytes are never changed. A cell that carries marks is found by its nbgrader name, else by its cell id, else by
what it defines.
"""

import copy
import json
import re
from dataclasses import dataclass, field

MOST_BYTES = 100 * 2**20
MOST_CELLS = 2000
CONFLICT = re.compile(rb"^(<{7} |={7}$|>{7} )", re.MULTILINE)


class Unreadable(Exception):
    """Nothing of a submission can be graded; the words say why."""


@dataclass
class Triaged:
    """A notebook that can be graded, and what was done to get it."""

    cells: list[dict]
    repairs: list[str] = field(default_factory=list)
    own: set[int] = field(default_factory=set)  # places of cells that the release does not have


def name_of(cell: dict) -> str | None:
    """The nbgrader name of a cell."""
    grading = cell.get("metadata", {}).get("nbgrader")
    name = grading.get("grade_id") if type(grading) is dict else None
    return name if type(name) is str else None


def is_check(cell: dict) -> bool:
    """Whether a released cell is a check: its text is the course's, and it gives the marks."""
    grading = cell["metadata"].get("nbgrader", {})
    return bool(grading.get("grade")) and not grading.get("solution")


def read(raw: bytes) -> tuple[dict, list[str]]:
    """The notebook in a file, with what had to be repaired to read it.

    Raises:
        Unreadable: it is no notebook.
    """
    repairs = []
    if len(raw) > MOST_BYTES:
        raise Unreadable(f"the file has {len(raw) >> 20} MB, more than {MOST_BYTES >> 20}")
    if raw.startswith(b"\xef\xbb\xbf"):
        raw, repairs = raw[3:], ["a byte-order mark was taken off"]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1", "replace")
        repairs.append("the file is not UTF-8; it was read as another encoding")
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        if CONFLICT.search(raw):
            raise Unreadable("it holds the marks of a merge conflict of git") from None
        raise Unreadable("it is empty" if not raw.strip() else "it is no JSON: cut off or damaged") from None
    if type(notebook) is dict and type(notebook.get("worksheets")) is list:
        sheets = [each for each in notebook["worksheets"] if type(each) is dict]
        old = [cell for sheet in sheets for cell in sheet.get("cells", []) if type(cell) is dict]
        notebook["cells"] = [{**cell, "source": cell.get("source", cell.get("input", ""))} for cell in old]
        repairs.append("it has the form of nbformat 3")
    if type(notebook) is not dict or type(notebook.get("cells")) is not list:
        raise Unreadable("it is JSON but no notebook")
    return notebook, repairs


def _cleaned(cell: object) -> dict | None:
    """A cell of the shape that nbformat says, or None."""
    if type(cell) is not dict:
        return None
    kind, source = cell.get("cell_type"), cell.get("source", "")
    if type(source) is list and all(type(line) is str for line in source):
        source = "".join(source)
    if kind not in ("code", "markdown", "raw") or type(source) is not str:
        return None
    metadata = cell["metadata"] if type(cell.get("metadata")) is dict else {}
    source = source.encode("utf-8", "replace").decode("utf-8")  # no half of a surrogate pair
    clean = {"cell_type": kind, "id": str(cell.get("id", ""))[:64], "metadata": metadata, "source": source}
    outputs = cell.get("outputs")
    return clean | ({"outputs": outputs if type(outputs) is list else []} if kind == "code" else {})


def triage(raw: bytes, release: dict) -> Triaged:
    """What can be graded of a file.

    Args:
        raw: the submitted file.
        release: the released notebook.

    Raises:
        Unreadable: nothing can.
    """
    notebook, repairs = read(raw)
    cells = [clean for each in notebook["cells"][:MOST_CELLS] if (clean := _cleaned(each))]
    if len(cells) < len(notebook["cells"]):
        repairs.append(f"{len(notebook['cells']) - len(cells)} cells that are no cells were left out")
    released = [cell for cell in map(_cleaned, copy.deepcopy(release["cells"])) if cell]
    found = _found(cells, released, repairs)
    if not any(place is not None for place in found.values()) and found:
        raise Unreadable("none of the assignment's cells is in it: another notebook?")
    return _together(cells, released, found, repairs)


def _found(cells: list[dict], released: list[dict], repairs: list[str]) -> dict[str, int | None]:
    """For each released cell that nbgrader knows, the place of the submitted cell that stands for it."""
    found: dict[str, int | None] = {}
    lost = []
    graded = [cell for cell in released if name_of(cell)]
    for cell in graded:
        name = name_of(cell)
        same_kind = [i for i, each in enumerate(cells) if each["cell_type"] == cell["cell_type"]]
        named = [i for i in same_kind if name_of(cells[i]) == name]
        places = named or [i for i in same_kind if cells[i]["id"] == cell["id"] and not name_of(cells[i])]
        if not places and not is_check(cell):
            places = [i for i in same_kind if not name_of(cells[i]) and _defines(cells[i]["source"], name)]
        if not named and places:
            lost.append(name)
        found[name] = _one_of(places, cells, cell, repairs) if places else None
    if lost:
        repairs.append(f"nbgrader's mark was lost and put back: {', '.join(lost)}")
    return found


def _defines(source: str, name: str) -> bool:
    return bool(re.search(rf"^(def|class)\s+{name}\b|^{name}\s*(:[^=]*)?=", source, re.MULTILINE))


def _one_of(places: list[int], cells: list[dict], released: dict, repairs: list[str]) -> int:
    """Of several copies of a cell the last one that was changed; said, because a person should look."""
    changed = [i for i in places if cells[i]["source"].strip() != released["source"].strip()]
    kept = (changed or places)[-1]
    if len(places) > 1:
        which = "the last changed one" if changed else "the last one"
        repairs.append(f"{name_of(released)}: {len(places)} copies of the cell; {which} counts, please look")
    for place in places:
        cells[place]["spare"] = place != kept
    return kept


def _together(cells: list[dict], released: list[dict], found: dict, repairs: list[str]) -> Triaged:
    """The student's cells in the student's order, with the course's text in the course's cells, and what is missing put back."""
    by_name = {name_of(cell): cell for cell in released if name_of(cell)}
    ids = {cell["id"] for cell in released}
    standing = {place: name for name, place in found.items() if place is not None}
    result = Triaged([], repairs)
    for place, cell in enumerate(cells):
        name = standing.get(place)
        if name:
            kept = by_name[name]["source"] if is_check(by_name[name]) else cell["source"]
            if is_check(by_name[name]) and kept.strip() != cell["source"].strip():
                repairs.append(f"{name}: the check was changed; the course's own counts")
            cell = cell | {"source": kept, "id": by_name[name]["id"], "metadata": by_name[name]["metadata"]}
        else:
            cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key != "nbgrader"}
            if cell["id"] not in ids:
                result.own.add(len(result.cells))
        result.cells.append(cell)
    for name in [name for name, place in found.items() if place is None]:
        _put_back(result, by_name[name], released)
        repairs.append(
            f"{name}: the cell was missing and was put back" + ("" if is_check(by_name[name]) else ", empty")
        )
    return result


def _put_back(result: Triaged, missing: dict, released: list[dict]) -> None:
    """After the nearest released cell before it that is there."""
    before = [
        cell["id"] for cell in released[: next(i for i, c in enumerate(released) if c["id"] == missing["id"])]
    ]
    places = {cell["id"]: i for i, cell in enumerate(result.cells)}
    after = max((places[each] for each in before if each in places and each), default=-1)
    result.cells.insert(after + 1, copy.deepcopy(missing))
    result.own = {place + (place > after) for place in result.own}
