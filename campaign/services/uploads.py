"""A file becomes targets: received into the database in pieces, read by whichever worker comes, visible all at once.

``receive`` is for whoever has the file, ``read_next`` and ``read_upload`` for a worker anywhere. Between the two lies
only the database: a worker that dies leaves the bytes, and after its lease another one starts again from the first.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from campaign.domain.erasure import ErasureKey
from campaign.domain.errors import NotFound, NotPossible, UsageFault
from campaign.domain.states import CampaignState, UploadState
from campaign.intake.layout import Layout, layout_of
from campaign.intake.reading import Limits, Reading
from campaign.intake.rehearsal import Rehearsal, rehearse
from campaign.intake.sheet import EXTRA, Writable, joint_header, placed, write_rows
from campaign.intake.text import HEAD
from campaign.services.upload_reading import Progress, read_claimed
from campaign.storage import campaigns, uploads
from campaign.storage.engine import Connection, RowMapping, Store

__all__ = [
    "Limits", "Progress", "Reading", "ReceivedUpload", "Rehearsal", "dry_run", "open_file", "preview", "read_next",
    "read_upload", "receive", "upload_progress", "write_rejects",
]  # fmt: skip

CHUNK = 1024 * 1024
_AT_ONCE = 4  # chunks per transaction: others may write between
_SENDER_LEASE = 60.0
_CHANGED = "the file changed while it was uploaded; upload it again when it is complete"
_INTERRUPTED = "the upload was interrupted before all bytes had arrived; upload the file again"


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """``already``: the campaign has these bytes, read the same way; nothing was added."""

    id: int
    sha256: str
    bytes: int
    already: bool


# --- before anything is stored ---------------------------------------------------------------------------------------


@contextmanager
def open_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to upload. Raises UsageFault where there is none to read."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            what = "a directory" if path.is_dir() else "no regular file"
            raise UsageFault(f"{path} is {what}; give a CSV file")
        source = path.open("rb")
    except OSError as error:
        raise UsageFault(f"{path} cannot be read ({error.strerror}); give a CSV file") from None
    with source:
        yield source


def preview(source: BinaryIO, reading: Reading) -> Layout:
    """How the file will be read, from its first block; ``source`` is seekable and left at its beginning.

    Raises UsageFault for whatever is wrong with the file as a whole and can be seen there.
    """
    source.seek(0)
    head = source.read(HEAD + 1)
    source.seek(0)
    return layout_of(head, reading, whole=len(head) <= HEAD)


def dry_run(source: BinaryIO, reading: Reading, on_progress: Callable[[int, int], None] | None = None) -> Rehearsal:
    """Read everything and store nothing. ``on_progress`` is told (bytes read, rows read). Raises UsageFault."""
    layout, position = preview(source, reading), 0

    def blocks() -> Iterator[bytes]:
        nonlocal position
        while block := source.read(65_536):
            position += len(block)
            yield block

    def tell(rows: int) -> None:
        if on_progress:
            on_progress(position, rows)

    return rehearse(blocks(), layout, reading, tell)


# --- receiving -------------------------------------------------------------------------------------------------------


def receive(
    store: Store,
    campaign_id: int,
    source: BinaryIO,
    file_name: str,
    reading: Reading,
    on_bytes: Callable[[int], None] | None = None,
) -> ReceivedUpload:
    """Store a file's bytes for a worker to read. ``source`` is seekable; it is read twice, the first time to know it.

    The same bytes, read the same way, are stored once per campaign. A sender that died is simply followed by the next.
    Raises UsageFault for a file that cannot be read at all, NotFound and NotPossible for the campaign.
    """
    reading = reading.checked()
    preview(source, reading)
    sha256, size = _digest(source, reading.limits.file_bytes)
    name = Path(file_name).name or "numbers.csv"
    with store.write() as connection:
        upload_id, token = _begin(connection, store.now(connection), campaign_id, sha256, name, reading)
    if token is None:
        return ReceivedUpload(upload_id, sha256, size, already=True)
    _send(store, upload_id, token, source, sha256, on_bytes)
    return ReceivedUpload(upload_id, sha256, size, already=False)


def _digest(source: BinaryIO, most: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    source.seek(0)
    while block := source.read(CHUNK):
        digest.update(block)
        size += len(block)
        if size > most:
            raise UsageFault(f"the file is larger than {most} bytes; split it, or allow more")
    source.seek(0)
    return digest.hexdigest(), size


def _begin(
    connection: Connection, now: float, campaign_id: int, sha256: str, file_name: str, reading: Reading
) -> tuple[int, int | None]:
    """The upload's id, and the token to send with; no token where there is nothing to send."""
    campaign = campaigns.lock(connection, campaign_id)
    if campaign is None:
        raise NotFound(f"there is no campaign {campaign_id}")
    if campaign["state"] == CampaignState.CANCELED:
        raise NotPossible(f"campaign {campaign['name']!r} is canceled for good; create a new one")
    values = {
        "campaign_id": campaign_id,
        "sha256": sha256,
        "file_name": file_name,
        "reading": reading.as_json(),
        "received_at": now,
        "lease_until": now + _SENDER_LEASE,
    }
    upload_id = uploads.begin(connection, values)
    if upload_id is not None:
        return upload_id, 1
    row = uploads.find(connection, campaign_id, sha256)
    assert row is not None
    stored = row["state"] in (UploadState.RECEIVED, UploadState.READING, UploadState.VISIBLE)
    if stored and Reading.from_json(row["reading"]) == reading:
        return row["id"], None
    return row["id"], uploads.begin_again(connection, row, values)


def _send(
    store: Store, upload_id: int, token: int, source: BinaryIO, sha256: str, on_bytes: Callable[[int], None] | None
) -> None:
    """All chunks, a few per transaction; then, in one step, `received`. Until that nobody may read it."""
    digest, size, position = hashlib.sha256(), 0, 0
    while chunks := [chunk for _ in range(_AT_ONCE) if (chunk := source.read(CHUNK))]:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
        with store.write() as connection:
            _still_ours(connection, upload_id, token, lease_until=store.now(connection) + _SENDER_LEASE)
            uploads.add_chunks(connection, upload_id, position, chunks)
        position += len(chunks)
        if on_bytes:
            on_bytes(size)
    complete = digest.hexdigest() == sha256
    with store.write() as connection:
        if complete:
            _still_ours(connection, upload_id, token, state=UploadState.RECEIVED, bytes=size, lease_until=None)
        else:
            _still_ours(connection, upload_id, token, state=UploadState.FAILED, why=_CHANGED, lease_until=None)
            uploads.forget(connection, upload_id)
    if not complete:
        raise UsageFault(_CHANGED)


def _still_ours(connection: Connection, upload_id: int, token: int, **values: object) -> None:
    if not uploads.keep(connection, upload_id, token, UploadState.RECEIVING, **values):
        raise NotPossible("the same file was uploaded to the campaign once more meanwhile; that upload goes on")


# --- reading ---------------------------------------------------------------------------------------------------------


def read_next(
    store: Store,
    *,
    lease: float = 60.0,
    batch: int = 5000,
    on_progress: Callable[[Progress], None] | None = None,
    key: ErasureKey | None = None,
) -> int | None:
    """Read the oldest upload that waits, to its end. Its id, or None where nothing waits. ``lease`` in seconds;
    ``key`` tells who was erased.

    What is wrong with the file ends as state `failed` with the reason, not as an exception.
    """
    with store.read() as connection:
        if not uploads.waiting(connection, store.now(connection)):
            return None
    return _read(store, None, lease, batch, on_progress, key)


def read_upload(
    store: Store,
    upload_id: int,
    *,
    lease: float = 60.0,
    batch: int = 5000,
    on_progress: Callable[[Progress], None] | None = None,
    key: ErasureKey | None = None,
) -> Progress:
    """The same for one upload. Where it is read already, or by somebody else right now, it is left alone."""
    _read(store, upload_id, lease, batch, on_progress, key)
    return upload_progress(store, upload_id)


def _read(
    store: Store,
    upload_id: int | None,
    lease: float,
    batch: int,
    on_progress: Callable[[Progress], None] | None,
    key: ErasureKey | None,
) -> int | None:
    with store.write() as connection:
        now = store.now(connection)
        uploads.give_up_receiving(connection, now, _INTERRUPTED)
        hold = uploads.claim(connection, now, now + lease, upload_id)
    if hold is None:
        return None
    read_claimed(store, hold, lease, batch, on_progress, key)
    return hold.id


def upload_progress(store: Store, upload_id: int) -> Progress:
    """How far it is. Raises NotFound."""
    with store.read() as connection:
        row = uploads.get(connection, upload_id)
    if row is None:
        raise NotFound(f"there is no upload {upload_id}")
    return Progress(**{name: row[name] for name in Progress.__slots__} | {"state": UploadState(row["state"])})


# --- rejects ---------------------------------------------------------------------------------------------------------


def write_rejects(store: Store, campaign_id: int, out: Writable) -> int:
    """The campaign's rejected rows as a CSV that can be mended and uploaded again. Returns how many; streams.

    ``out`` must not translate line ends (``open(..., newline="")``). In front of the file's own columns stand
    ``_line, _field, _reason, _remedy``, which an upload drops. Nothing is written where nothing was rejected.
    """
    with store.read() as connection:
        sources = uploads.with_rejects(connection, campaign_id)
        if not sources:
            return 0
        header = joint_header((row["id"], *_header(row)) for row in sources)
        width = len(header.names)
        write_rows(out, [[*EXTRA, *header.names]])
        rows = (
            [row["line_no"], row["field"], row["reason"], row["remedy"], *placed(row["cells"], places, width)]
            for row in uploads.rejected_rows(connection, campaign_id)
            for places in [header.places[row["upload_id"]]]
        )
        return write_rows(out, rows)


def _header(row: RowMapping) -> tuple[list[str], int]:
    layout = row["reading"]["layout"]
    return layout["header"], layout["phone"]
