"""The whole way from file to rows without a database: what `--dry-run` shows."""

import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO, Self

from campaign.intake.layout import Layout
from campaign.intake.reading import Reading
from campaign.intake.rows import read_rows
from campaign.intake.sheet import RejectedRow

_DRAWERS = 64
_EVERY = 5000


@dataclass(slots=True)
class Rehearsal:
    """Counts as the upload of this file into an empty campaign would give. ``first_rejects`` are at most twenty."""

    layout: Layout
    rows_read: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    first_rejects: list[RejectedRow] = field(default_factory=list, repr=False)


def rehearse(
    blocks: Iterable[bytes], layout: Layout, reading: Reading, on_rows: Callable[[int], None] | None = None
) -> Rehearsal:
    """``on_rows`` is told the rows read so far, every few thousand. Duplicates are counted at the end, exactly."""
    result, good = Rehearsal(layout), 0
    with _Distinct() as distinct:
        for row in read_rows(blocks, layout, reading):
            result.rows_read += 1
            if isinstance(row, RejectedRow):
                result.rejected += 1
                if len(result.first_rejects) < 20:
                    result.first_rejects.append(row)
            else:
                good += 1
                distinct.add(row.phone)
            if on_rows and result.rows_read % _EVERY == 0:
                on_rows(result.rows_read)
        result.accepted = distinct.count()
    result.duplicates = good - result.accepted
    if on_rows:
        on_rows(result.rows_read)
    return result


class _Distinct:
    """Counts different numbers in little memory: one temporary file per remainder, looked through one at a time."""

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._drawers: list[BinaryIO] = [self._stack.enter_context(_drawer()) for _ in range(_DRAWERS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, phone: str) -> None:
        self._drawers[int(phone) % _DRAWERS].write(phone.encode() + b"\n")

    def count(self) -> int:
        return sum(_different(drawer) for drawer in self._drawers)


def _drawer() -> BinaryIO:
    return tempfile.SpooledTemporaryFile(max_size=16_384)  # type: ignore[return-value]


def _different(drawer: BinaryIO) -> int:
    drawer.seek(0)
    return len(set(drawer))
