"""Rows to a CSV that a spreadsheet opens without running anything, and that reads back as it was.

A cell that a spreadsheet would take for a formula gets a leading ``'``; reading takes it away again, so export and
import are inverse. The list of rejects has ``_line, _field, _reason, _remedy`` in front of the file's own columns (in
front, so that a row with too many or too few cells stays as it came); an upload that has all four drops them.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

EXTRA = ("_line", "_field", "_reason", "_remedy")
_DANGEROUS = re.compile(r"'*[=+\-@\t\r\n\x00]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r\n\x00]")


class Writable(Protocol):
    def write(self, text: str, /) -> object: ...


class RejectedRow(NamedTuple):
    """One row that became no target. ``cells`` are as they came, save for a spreadsheet's leading ``'``."""

    line_no: int
    field: str
    reason: str
    remedy: str
    cells: list[str]


def escaped(cell: str) -> str:
    return "'" + cell if _DANGEROUS.match(cell) else cell


def unescaped(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _ESCAPED.match(cell) else cell


def write_rows(out: Writable, rows: Iterable[Sequence[object]]) -> int:
    """RFC 4180 with CR LF, every cell escaped. ``out`` must not translate line ends. Returns the rows written."""
    writer, count = csv.writer(out), 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 (the count is the result)
        writer.writerow([escaped(str(cell)) for cell in row])
    return count


def extra_columns(header: Sequence[str]) -> tuple[int, ...]:
    """The places of the four columns that a list of rejects adds; none where one of them is missing."""
    names = [name.strip().casefold() for name in header]
    return tuple(sorted(names.index(name) for name in EXTRA)) if all(name in names for name in EXTRA) else ()


class SheetHeader(NamedTuple):
    """One header for the rejects of several uploads; ``places`` gives each upload's cells their columns."""

    names: list[str]
    places: dict[int, list[int]]


def joint_header(layouts: Iterable[tuple[int, Sequence[str], int]]) -> SheetHeader:
    """From (upload id, its header, its phone column). Phone columns become one; the first upload names it."""
    names: list[str] = []
    keys: list[tuple[str, int]] = []
    places: dict[int, list[int]] = {}
    for upload_id, header, phone in layouts:
        own: list[tuple[str, int]] = []
        for i, name in enumerate(header):
            key = ("phone", -1) if i == phone else (name, sum(name == other for other, _ in own))
            own.append(key)
            if key not in keys:
                keys.append(key)
                names.append(name)
        places[upload_id] = [keys.index(key) for key in own]
    return SheetHeader(names, places)


def placed(cells: Sequence[str], places: Sequence[int], width: int) -> list[str]:
    """Cells under a joint header. Too many stay too many, too few stay too few."""
    row = [""] * width
    for cell, place in zip(cells, places, strict=False):
        row[place] = cell
    if len(cells) < len(places):
        return row[: max((places[i] for i in range(len(cells))), default=-1) + 1]
    return row + list(cells[len(places) :])
