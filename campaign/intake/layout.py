"""The first block of a file to its layout. What is wrong with the file as a whole is said here, in one sentence."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from campaign.domain.errors import UsageFault
from campaign.intake.columns import names_a_phone, normal, phone_candidates, variable_names
from campaign.intake.numbers import read_number
from campaign.intake.reading import Reading
from campaign.intake.records import Record, records
from campaign.intake.sheet import extra_columns, unescaped
from campaign.intake.text import HEAD, MARKED, UNWANTED, decode_head, encoding_of

_SAMPLE = 50
_UNDECODABLE_SHARE = 20  # one line in so many: then the encoding is wrong and not a row


@dataclass(frozen=True, slots=True)
class Layout:
    """How one file is laid out. ``header`` and ``phone`` (an index into it) leave out the ``dropped`` columns.

    ``header`` is as it came, ``names`` what the variables are called, ``lines_before`` how many physical lines precede
    the first row of data.
    """

    encoding: str
    delimiter: str
    skip_space: bool
    lines_before: int
    phone: int
    header: tuple[str, ...] = field(repr=False)  # a file without a header may have numbers in its first row
    names: tuple[str, ...] = field(repr=False)
    dropped: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Cells of a row in the file."""
        return len(self.header) + len(self.dropped)

    @property
    def columns(self) -> list[str]:
        """The phone column's name first, then the variables."""
        return [self.names[self.phone], *(name for i, name in enumerate(self.names) if i != self.phone)]

    def kept(self, cells: Sequence[str]) -> list[str]:
        """A row without the columns that an earlier list of rejects had added."""
        return [cell for i, cell in enumerate(cells) if i not in self.dropped] if self.dropped else list(cells)


def layout_of(head: bytes, reading: Reading, *, whole: bool) -> Layout:
    """``head`` is the file's first :data:`~campaign.intake.text.HEAD` bytes; ``whole`` says that there are no more.

    Raises UsageFault: empty, no CSV, wrong encoding, no phone column or more than one, a header that cannot be read.
    """
    reading = reading.checked()
    head = head[:HEAD]
    encoding = encoding_of(head, reading.encoding)
    lines = _lines(decode_head(head, encoding, whole=whole), whole=whole)
    _check_encoding(lines, encoding, reading)
    announced = re.fullmatch(r"sep=([,;|\t])\s*", lines[0], re.IGNORECASE)  # Excel writes it and hides it
    body = lines[1:] if announced else lines
    delimiter = reading.delimiter or (announced.group(1) if announced else _sniffed(body))
    return _with_header(body, int(bool(announced)), encoding, delimiter, reading, whole=whole)


def _lines(text: str, *, whole: bool) -> list[str]:
    lines = re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z", text)
    if not whole and len(lines) > 1:
        lines.pop()  # cut off where the block ends
    elif not whole:
        raise UsageFault("the file's first line does not end; is it a CSV?")
    if not any(line.strip(" \t\r\n,;|\x00") for line in lines):
        raise UsageFault("the file is empty; its first line must name the columns, one of them phone")
    return lines


def _check_encoding(lines: Sequence[str], encoding: str, reading: Reading) -> None:
    if reading.encoding is not None:
        return
    bad = [number for number, line in enumerate(lines, start=1) if MARKED.search(line)]
    proofs = sum(not line.isascii() for line in lines) - len(bad)  # letters beyond ASCII that read well: hardly chance
    if bad and (bad[0] == 1 or (len(bad) * _UNDECODABLE_SHARE > len(lines) and proofs < len(bad))):
        raise UsageFault(
            f"line {bad[0]}: the file is not {encoding.removesuffix('-sig').upper()}; save it as UTF-8, or give its "
            "--encoding (windows-1252 is the usual one for Western Excel, windows-1254 for Turkish, big5 or gb18030 "
            "for Chinese; utf-8 rejects such rows and keeps the others)"
        )


def _sniffed(lines: Sequence[str]) -> str:
    return max(",;\t|", key=lambda delimiter: _fitness(lines, delimiter))


def _fitness(lines: Sequence[str], delimiter: str) -> tuple[bool, bool, float, int]:
    """More than one column, one of them named phone, rows as wide as the header, many columns: in this order."""
    parser = csv.reader(iter(lines), delimiter=delimiter)
    try:
        rows = [row for row in islice(parser, _SAMPLE) if row]
    except csv.Error:
        return False, False, 0.0, 0
    if not rows:
        return False, False, 0.0, 0
    width = len(rows[0])
    alike = sum(len(row) == width for row in rows) / len(rows)
    return width > 1, names_a_phone(rows[0]), alike if width > 1 else 0.0, width


def _with_header(
    lines: Sequence[str], before: int, encoding: str, delimiter: str, reading: Reading, *, whole: bool
) -> Layout:
    skip_space = re.match(rf'[^"]*{re.escape(delimiter)} +"|"[^"]*"{re.escape(delimiter)} +"', lines[0]) is not None
    found = records(iter(lines), delimiter, reading.limits, skip_space=skip_space, lines_before=before)
    sample = [record for record in islice(found, _SAMPLE) if any(cell.strip() for cell in record.cells)]
    if not sample:
        raise UsageFault("the file is empty; its first line must name the columns, one of them phone")
    raw = [unescaped(cell) for cell in _checked(sample[0], reading).cells]
    while len(raw) > 1 and not raw[-1].strip() and _no_cell_at(len(raw) - 1, sample[1:]):
        raw.pop()  # a delimiter at the end of the line names no column
    dropped = extra_columns(raw)
    header = tuple(cell for i, cell in enumerate(raw) if i not in dropped)
    kept = [[cell for i, cell in enumerate(record.cells) if i not in dropped] for record in sample[1:]]
    phone, headless = _phone_column(header, kept, reading)
    if whole and not kept and not headless:
        raise UsageFault("the file has a header and no rows; there is nothing to call")
    if headless:
        header = tuple("phone" if i == phone else "" for i in range(len(header)))
        lines_before = sample[0].line_no - 1
    else:
        lines_before = _last_line(lines, before, sample[0], delimiter, skip_space)
    return Layout(encoding, delimiter, skip_space, lines_before, phone, header, variable_names(header), dropped)


def _no_cell_at(index: int, rows: Sequence[Record]) -> bool:
    return not any(row.cells[index].strip() for row in rows if len(row.cells) > index)


def _last_line(lines: Sequence[str], before: int, header: Record, delimiter: str, skip_space: bool) -> int:
    """The physical line on which the header ends: its cells may hold line breaks."""
    parser = csv.reader(
        iter(lines[header.line_no - 1 - before :]), delimiter=delimiter, strict=True, skipinitialspace=skip_space
    )
    next(parser)
    return header.line_no - 1 + parser.line_num


def _checked(record: Record, reading: Reading) -> Record:
    line, limits = f"line {record.line_no}", reading.limits
    if record.fault is not None:
        raise UsageFault(f"{line}: the header {record.fault.reason}; {record.fault.remedy}")
    if any(UNWANTED.search(cell) for cell in record.cells):
        raise UsageFault(f"{line}: the header holds bytes that are no text; save the file as CSV in UTF-8")
    if len(record.cells) > limits.columns:
        raise UsageFault(
            f"{line}: the header has {len(record.cells)} columns and {limits.columns} are allowed; "
            "remove columns that no call needs"
        )
    if any(len(cell) > limits.field for cell in record.cells):
        raise UsageFault(f"{line}: a name in the header is longer than {limits.field} characters; shorten it")
    return record


def _phone_column(header: Sequence[str], rows: Sequence[Sequence[str]], reading: Reading) -> tuple[int, bool]:
    """The phone's column, and whether the file has no header at all."""
    numbers = [i for i, cell in enumerate(header) if isinstance(read_number(cell, reading.region), str)]
    if "phone" in reading.mapping:
        return _mapped(header, numbers, reading.mapping["phone"])
    candidates = phone_candidates(header)
    if len(candidates) == 1:
        return candidates[0], False
    if candidates:
        raise UsageFault(
            f"more than one column may hold the phone: {_listed(header, candidates)}; say which: "
            f"--map phone={_shown(header[candidates[0]], quote=True)}"
        )
    if len(numbers) == 1:
        return numbers[0], True
    if numbers:
        raise UsageFault(
            "the file has no header and more than one column of numbers; add a first line that names the columns, "
            f"or say which by its place: --map phone={numbers[0] + 1}"
        )
    raise UsageFault(_no_phone(header, rows, reading.region))


def _mapped(header: Sequence[str], numbers: Sequence[int], column: str) -> tuple[int, bool]:
    exact = [i for i, name in enumerate(header) if name.strip() == column.strip()]
    alike = exact or [i for i, name in enumerate(header) if normal(name) and normal(name) == normal(column)]
    if len(alike) == 1:
        return alike[0], False
    if len(alike) > 1:
        raise UsageFault(f"map: more than one column is named {column!r}; rename one of them in the file")
    place = int(column) if column.isascii() and column.isdecimal() and len(column) < 4 else 0
    if 1 <= place <= len(header):
        return place - 1, place - 1 in numbers
    raise UsageFault(f"map: the file has no column {column!r}; its columns are {_listed(header, range(len(header)))}")


def _no_phone(header: Sequence[str], rows: Sequence[Sequence[str]], region: str | None) -> str:
    good = [0] * len(header)
    for row in rows:
        for i, cell in enumerate(row[: len(header)]):
            good[i] += isinstance(read_number(cell, region), str)
    likely = [i for i in range(len(header)) if rows and good[i] * 2 >= len(rows)]
    example = _shown(header[likely[0]], quote=True) if likely else "COLUMN"
    return (
        f"no column is named phone; the file's columns are {_listed(header, range(len(header)))}; "
        f"say which holds the numbers: --map phone={example}"
    )


def _listed(header: Sequence[str], indexes: Sequence[int]) -> str:
    shown = ", ".join(repr(_shown(header[i])) for i in indexes[:12])
    return shown + (f" and {len(indexes) - 12} more" if len(indexes) > 12 else "")


def _shown(name: str, *, quote: bool = False) -> str:
    """A header cell as it may stand in a message: short, and never a phone number."""
    name = " ".join(name.split())[:40]
    if sum(character.isdigit() for character in name) >= 5:
        return "…"
    return f"'{name}'" if quote and " " in name else name
