"""Bytes to physical lines. Undecodable bytes become marks (lone surrogates), so that only their own row is rejected."""

import codecs
import io
import re
from collections.abc import Iterable, Iterator

from campaign.domain.errors import UsageFault

HEAD = 256 * 1024
"""How many bytes are looked at to find out encoding, delimiter and header."""

MARK = "campaign.mark"
MARKED = re.compile("[\ud800-\udfff]")
UNWANTED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters but tab and line ends, and marks: no cell of a good row holds one."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins with the one of UTF-16-LE
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_FOR_FILES = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
_NOT_TEXT = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
)


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(MARK, _mark)


def unmarked(text: str) -> str:
    """The same with each undecodable byte written as ``\\xNN``, storable and readable everywhere."""
    return MARKED.sub(lambda mark: _spell(ord(mark.group())), text)


def _spell(code: int) -> str:
    return f"\\x{code - 0xDC00:02x}" if 0xDC00 <= code <= 0xDCFF else f"\\u{code:04x}"


def encoding_of(head: bytes, declared: str | None) -> str:
    """The Python codec to read with. A byte order mark is proof and wins over what was declared. Raises UsageFault."""
    for magic, what in _NOT_TEXT:
        if head.startswith(magic):
            raise UsageFault(f"the file is {what} and not a CSV; save the sheet as CSV (UTF-8) and upload that")
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    if declared is not None:
        return _known(declared)
    if head.count(0) > len(head) // 4:
        little = head[1::2].count(0) >= head[0::2].count(0)
        raise UsageFault(
            "the file looks like UTF-16 without a byte order mark; "
            f"give --encoding {'utf-16-le' if little else 'utf-16-be'}, or save it as UTF-8"
        )
    return "utf-8"


def _known(declared: str) -> str:
    try:
        codec = codecs.lookup(declared)
    except (LookupError, ValueError):
        codec = None
    if codec is None or not codec._is_text_encoding or codec.name.replace("_", "-") in _NOT_FOR_FILES:
        raise UsageFault(f"encoding: {declared!r} is not known; write for example utf-8, windows-1252, cp1254 or big5")
    return codec.name


def decode_head(head: bytes, encoding: str, *, whole: bool) -> str:
    """The text of the first block. ``whole``: nothing follows it. Raises UsageFault."""
    try:
        return codecs.getincrementaldecoder(encoding)(MARK).decode(head, final=whole).removeprefix("\ufeff")
    except UnicodeError:
        raise unreadable(encoding) from None


def unreadable(encoding: str) -> UsageFault:
    return UsageFault(f"the file cannot be read as {encoding}; save it as UTF-8, or give its --encoding")


class _Blocks(io.RawIOBase):
    """An iterable of bytes objects as a file."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def physical_lines(blocks: Iterable[bytes], encoding: str, longest: int) -> Iterator[str]:
    """Lines with their ends (LF, CR LF or CR). One of ``longest`` characters or more comes cut to that length."""
    buffered = io.BufferedReader(_Blocks(blocks), 65_536)
    text = io.TextIOWrapper(buffered, encoding=encoding, errors=MARK, newline="")
    try:
        first = text.readline(longest)
        yield from _cut(text, first.removeprefix("\ufeff") or first, longest)
        while line := text.readline(longest):
            yield from _cut(text, line, longest)
    except UnicodeError:
        raise unreadable(encoding) from None


def _cut(text: io.TextIOWrapper, line: str, longest: int) -> Iterator[str]:
    if not line:
        return
    yield line
    while len(line) >= longest and not line.endswith(("\n", "\r")):
        line = text.readline(longest)
