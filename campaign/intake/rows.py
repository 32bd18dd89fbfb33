"""A stream of bytes and a layout to good rows and rejected rows, one by one, in constant memory."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from campaign.intake import faults
from campaign.intake.faults import Fault
from campaign.intake.layout import Layout
from campaign.intake.numbers import read_number
from campaign.intake.reading import Reading
from campaign.intake.records import Expected, Record, records
from campaign.intake.sheet import RejectedRow, unescaped
from campaign.intake.text import MARKED, UNWANTED, physical_lines, unmarked

WHOLE_ROW = "row"
_NUMBER_LIKE = re.compile(r"(?:[\s()+./'-]*\d){7,}[\s()+./'-]*")


class GoodRow(NamedTuple):
    """``line_no`` is where the row begins in the file; ``variables`` is every column but the phone."""

    line_no: int
    phone: str
    phone_as_given: str
    variables: dict[str, str]


def read_rows(blocks: Iterable[bytes], layout: Layout, reading: Reading) -> Iterator[GoodRow | RejectedRow]:
    """Every row of the file but blank ones, in order. Raises UsageFault where the encoding cannot go on."""
    region, phone = reading.checked().region, layout.phone
    others = [(i, name) for i, name in enumerate(layout.names) if i != phone]
    lines = physical_lines(blocks, layout.encoding, reading.limits.row)
    parsed = records(
        islice(lines, layout.lines_before, None),
        layout.delimiter,
        reading.limits,
        expected=Expected(layout.width, lambda cells: _meant_as_number(layout.kept(cells)[phone], region)),
        skip_space=layout.skip_space,
        lines_before=layout.lines_before,
    )
    for record in parsed:
        if not any(map(str.strip, record.cells)):
            continue
        cells = [unescaped(cell) for cell in layout.kept(record.cells)]
        if fault := _row_fault(record, cells, layout, reading):
            yield _rejected(record.line_no, cells, *fault)
            continue
        number = read_number(cells[phone], region)
        if isinstance(number, Fault):
            yield _rejected(record.line_no, cells, layout.names[phone], number)
        else:
            yield GoodRow(record.line_no, number, cells[phone], {name: cells[i] for i, name in others})


def _meant_as_number(cell: str, region: str | None) -> bool:
    """Good or not: a rejected row must not vanish inside another row's cell either."""
    return bool(_NUMBER_LIKE.fullmatch(cell)) or isinstance(read_number(cell, region), str)


def _row_fault(record: Record, cells: list[str], layout: Layout, reading: Reading) -> tuple[str, Fault] | None:
    """What is wrong with the row as such, and in which field. Takes away empty cells beyond the header."""
    if record.fault is not None:
        return WHOLE_ROW, record.fault
    width = len(layout.header)
    while len(cells) > width and not cells[-1].strip():
        cells.pop()  # spreadsheets fill a sheet up with delimiters
    for i, cell in enumerate(cells):
        if UNWANTED.search(cell):
            fault = faults.UNDECODABLE if MARKED.search(cell) else faults.CONTROL
            return _name(layout, i), fault
        if len(cell) > reading.limits.field:
            return _name(layout, i), faults.LONG_FIELD
    if len(cells) != width:
        return WHOLE_ROW, faults.TOO_MANY if len(cells) > width else faults.TOO_FEW
    return None


def _name(layout: Layout, index: int) -> str:
    return layout.names[index] if index < len(layout.names) else WHOLE_ROW


def _rejected(line_no: int, cells: Sequence[str], field: str, fault: Fault) -> RejectedRow:
    return RejectedRow(line_no, field, fault.reason, fault.remedy, [unmarked(cell) for cell in cells])
