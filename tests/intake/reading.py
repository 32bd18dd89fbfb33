"""Reading a text as a file, in blocks as small as asked, for the tests of this folder."""

from collections.abc import Iterator

from campaign.intake.layout import Layout, layout_of
from campaign.intake.reading import Reading
from campaign.intake.rows import GoodRow, read_rows
from campaign.intake.sheet import RejectedRow
from campaign.intake.text import HEAD

US = Reading(region="US")


def blocks(content: bytes, size: int = 65_536) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def laid_out(content: bytes | str, reading: Reading = US) -> Layout:
    content = content.encode() if isinstance(content, str) else content
    return layout_of(content[:HEAD], reading, whole=len(content) <= HEAD)


def read(content: bytes | str, reading: Reading = US, size: int = 65_536) -> tuple[list[GoodRow], list[RejectedRow]]:
    """Good rows and rejected rows."""
    content = content.encode() if isinstance(content, str) else content
    rows = list(read_rows(blocks(content, size), laid_out(content, reading), reading))
    good = [row for row in rows if isinstance(row, GoodRow)]
    return good, [row for row in rows if isinstance(row, RejectedRow)]
