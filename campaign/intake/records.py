"""Physical lines to records. A quotation mark without its partner costs its own line and no other.

``csv.reader`` alone would let such a mark swallow the rest of the file; ``strict`` turns that into an error at the end
of the file at the latest. So the lines of the record in hand are kept, and when it turns out broken, or longer than a
row may be, reading goes on with its second line. The module's global field limit is left alone: it makes an error of
a cell that the limits here refuse anyway.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from campaign.intake import faults
from campaign.intake.faults import Fault
from campaign.intake.reading import Limits


class Record(NamedTuple):
    """``line_no`` is where it begins, from 1. With a ``fault``, ``cells`` is the line cut at every delimiter."""

    line_no: int
    cells: list[str]
    fault: Fault | None = None


class _RunsAway(Exception):
    """The record in hand is longer than any may be."""


class _Feed:
    """Lines for ``csv.reader``, which asks for another one as long as a quote is open."""

    def __init__(self, lines: Iterator[str], limits: Limits, lines_before: int) -> None:
        self._lines = lines
        self._limits = limits
        self._pending: deque[str] = deque()
        self._size = 0
        self.taken: list[str] = []
        self.line_no = lines_before + 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._pending.popleft() if self._pending else next(self._lines)
        self.taken.append(line)
        self._size += len(line)
        if len(self.taken) > self._limits.lines_per_row or (self._size > self._limits.row and len(self.taken) > 1):
            raise _RunsAway
        return line

    def begin(self) -> None:
        """The record in hand is settled; the next one starts at the next line."""
        self.line_no += len(self.taken)
        self.taken.clear()
        self._size = 0

    def back_up(self) -> None:
        """Only the first line in hand is settled; the others will be read again."""
        self._pending.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


class Expected(NamedTuple):
    """What a row of this file looks like, to tell a row that a stray quote swallowed from the inside of a cell."""

    width: int
    is_row: Callable[[list[str]], bool]


def records(
    lines: Iterator[str],
    delimiter: str,
    limits: Limits,
    *,
    expected: Expected | None = None,
    skip_space: bool = False,
    lines_before: int = 0,
) -> Iterator[Record]:
    """Every record but blank lines. ``lines_before`` lines of the file precede the first of ``lines``."""
    feed = _Feed(lines, limits, lines_before)
    parse = partial(csv.reader, delimiter=delimiter, strict=True, skipinitialspace=skip_space)
    parser = parse(feed)
    while True:
        feed.begin()
        try:
            cells = next(parser)
        except StopIteration:
            return
        except (csv.Error, _RunsAway):
            broken = True
        else:
            several = len(feed.taken) > 1
            broken = len(feed.taken[0]) >= limits.row or (
                several and expected is not None and _swallowed(feed.taken, cells, expected, parse)
            )
            if cells and not broken:
                yield Record(feed.line_no, cells)
        if broken:
            feed.back_up()
            yield _broken(feed.line_no, feed.taken[0], delimiter, limits)


def _swallowed(
    taken: list[str], cells: list[str], expected: Expected, parse: Callable[..., Iterator[list[str]]]
) -> bool:
    """A line that is a row by itself, phone and all, is a row and not the inside of a cell.

    Where the record as a whole has the right width, only lines whose quotes are paired count: the last line of a cell
    with line breaks may look like a row otherwise (``Apt 4, NY","+1…``).
    """
    fits = len(cells) >= expected.width and not any(map(str.strip, cells[expected.width :]))
    suspects = [line for line in taken[1:] if line.count('"') % 2 == 0] if fits else taken[1:]
    return any(len(row) == expected.width and expected.is_row(row) for line in suspects for row in _alone(line, parse))


def _alone(line: str, parse: Callable[..., Iterator[list[str]]]) -> list[list[str]]:
    try:
        return list(parse([line]))
    except csv.Error:
        return []


def _broken(line_no: int, line: str, delimiter: str, limits: Limits) -> Record:
    if len(line) >= limits.row:
        return Record(line_no, [line[: limits.field]], faults.LONG_ROW)
    fault = faults.STRAY_QUOTE if '"' in line else faults.LONG_FIELD
    return Record(line_no, line.rstrip("\r\n").split(delimiter), fault)
