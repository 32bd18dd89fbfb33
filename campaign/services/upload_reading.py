"""Reading one claimed upload: stage its rows batch by batch, then make them targets in one transaction."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from campaign.domain.erasure import ErasureKey
from campaign.domain.errors import UsageFault
from campaign.domain.failpoints import reach
from campaign.domain.states import TargetState, UploadState
from campaign.intake.layout import Layout, layout_of
from campaign.intake.reading import Reading
from campaign.intake.rows import GoodRow, read_rows
from campaign.intake.sheet import RejectedRow
from campaign.intake.text import HEAD
from campaign.services import suppression
from campaign.storage import campaigns, erasures, events, uploads
from campaign.storage.engine import Connection, DataError, Store
from campaign.storage.uploads import Hold

READ_AT_MOST = 50
"""Changes of hands after which a file that is never read to its end is given up."""

_SLICE = 65_536
_BATCH_CHARACTERS = 4_000_000  # rows may be long: a batch ends here, too
_MANY = 10_000  # targets after which the database's planner is told at once


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is. Before it is visible, ``accepted`` and ``duplicates`` know nothing of the campaign yet."""

    bytes: int
    bytes_read: int = 0
    rows_read: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    state: UploadState = UploadState.READING
    why: str | None = None


class _TakenOver(Exception):
    """The lease ran out and somebody else has the upload; nothing that we do counts any more."""


def read_claimed(
    store: Store,
    hold: Hold,
    lease: float,
    batch: int,
    on_progress: Callable[[Progress], None] | None,
    key: ErasureKey | None = None,
) -> None:
    """To `visible`, or to `failed` with the reason; or to nothing, where the upload was taken over meanwhile."""
    try:
        if hold.token > READ_AT_MOST:
            raise UsageFault("reading it was begun again and again and never came to an end; see the workers' logs")
        _Reader(store, hold, lease, on_progress or (lambda _: None), key).run(batch)
    except _TakenOver:
        return
    except UsageFault as fault:
        _fail(store, hold, str(fault))
    except DataError as error:
        _fail(store, hold, f"the database refused its rows ({type(error.orig).__name__})")


def _fail(store: Store, hold: Hold, why: str) -> None:
    with store.write() as connection:
        values = {"state": UploadState.FAILED, "why": why, "lease_until": None}
        if uploads.keep(connection, hold.id, hold.token, UploadState.READING, **values):
            uploads.forget(connection, hold.id)
            detail = {"upload": hold.id, "why": why}
            events.record(
                connection, store.now(connection), "upload_failed", campaign_id=hold.campaign_id, detail=detail
            )


@dataclass(slots=True)
class _Batch:
    good: list[GoodRow] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    size: int = 0

    def add(self, row: GoodRow | RejectedRow) -> None:
        if isinstance(row, GoodRow):
            self.good.append(row)
            self.size += sum(map(len, row.variables.values()))
        else:
            self.rejected.append(row)
            self.size += sum(map(len, row.cells))

    def __len__(self) -> int:
        return len(self.good) + len(self.rejected)


class _Reader:
    def __init__(
        self, store: Store, hold: Hold, lease: float, on_progress: Callable[[Progress], None], key: ErasureKey | None
    ) -> None:
        self._store = store
        self._hold = hold
        self._lease = lease
        self._on_progress = on_progress
        self._key = key
        self._region = Reading.from_json(hold.reading).region
        self._met_erased = False
        self._bytes_read = 0
        self._progress = Progress(hold.bytes)

    def run(self, batch_rows: int) -> None:
        reading = Reading.from_json(self._hold.reading)
        layout = layout_of(self._chunk(0), reading, whole=self._hold.bytes <= HEAD)
        self._note_layout(layout)
        batch = _Batch()
        for row in read_rows(self._blocks(), layout, reading):
            batch.add(row)
            if len(batch) >= batch_rows or batch.size >= _BATCH_CHARACTERS:
                self._stage(batch)
                batch = _Batch()
        if len(batch):
            self._stage(batch)
        reach("intake.before_publish")
        self._publish()
        reach("intake.after_publish")
        self._on_progress(self._progress)

    def _chunk(self, position: int) -> bytes:
        with self._store.read() as connection:
            return uploads.chunk(connection, self._hold.id, position) or b""

    def _blocks(self) -> Iterator[bytes]:
        position = 0
        while chunk := self._chunk(position):
            position += 1
            for start in range(0, len(chunk), _SLICE):
                block = chunk[start : start + _SLICE]
                self._bytes_read += len(block)
                yield block

    def _note_layout(self, layout: Layout) -> None:
        """What a list of rejects and an export need to know of the file."""
        words = {"header": list(layout.header), "phone": layout.phone, "encoding": layout.encoding}
        with self._store.write() as connection:
            self._keep(connection, columns=layout.columns, reading={**self._hold.reading, "layout": words})

    def _keep(self, connection: Connection, **values: object) -> None:
        if not uploads.keep(connection, self._hold.id, self._hold.token, UploadState.READING, **values):
            raise _TakenOver

    def _stage(self, batch: _Batch) -> None:
        """One transaction: the rows, the counts, and the lease renewed. Nobody sees the rows yet."""
        done = self._progress
        with self._store.write() as connection:
            self._keep(connection, lease_until=self._store.now(connection) + self._lease)
            good, met = suppression.suppress_rows(connection, self._key, batch.good)
            rejected = suppression.empty_rejects(connection, self._key, batch.rejected, self._region)
            self._met_erased |= met
            new = uploads.stage(connection, [_staged(self._hold.id, row) for row in good])
            uploads.reject(connection, [_reject(self._hold.id, row) for row in rejected])
            done = replace(
                done,
                bytes_read=self._bytes_read,
                rows_read=done.rows_read + len(batch),
                accepted=done.accepted + new,
                duplicates=done.duplicates + len(batch.good) - new,
                rejected=done.rejected + len(batch.rejected),
            )
            self._keep(connection, **_counts(done))
        self._progress = done
        reach("intake.after_batch")
        self._on_progress(done)

    def _publish(self) -> None:
        hold, done = self._hold, self._progress
        with self._store.write() as connection:
            campaigns.lock(connection, hold.campaign_id)
            now = self._store.now(connection)
            self._keep(connection, lease_until=None)
            fresh = {"state": TargetState.WAITING, "due_at": now, "reason": "new", "tally": {}}
            made, own = uploads.publish(connection, hold, fresh)
            done = replace(
                done,
                bytes_read=hold.bytes,
                accepted=own,
                duplicates=done.rows_read - done.rejected - own,
                state=UploadState.VISIBLE,
            )
            self._keep(connection, **_counts(done), state=done.state, visible_at=now)
            if self._met_erased:
                made -= erasures.skip_published(connection, hold.id, now)
            if made > 0:
                campaigns.wake(connection, hold.campaign_id)
            if made >= _MANY:
                uploads.refresh_statistics(connection)
            detail = {"upload": hold.id, "targets": made, **_counts(done)}
            events.record(connection, now, "upload_visible", campaign_id=hold.campaign_id, detail=detail)
        self._progress = done


def _counts(progress: Progress) -> dict[str, int]:
    return {
        "bytes_read": progress.bytes_read,
        "rows_read": progress.rows_read,
        "accepted": progress.accepted,
        "duplicates": progress.duplicates,
        "rejected": progress.rejected,
    }


def _staged(upload_id: int, row: GoodRow) -> dict[str, object]:
    return {
        "upload_id": upload_id,
        "phone": row.phone,
        "row_no": row.line_no,
        "phone_as_given": row.phone_as_given,
        "variables": row.variables,
    }


def _reject(upload_id: int, row: RejectedRow) -> dict[str, object]:
    return {"upload_id": upload_id, **row._asdict()}
