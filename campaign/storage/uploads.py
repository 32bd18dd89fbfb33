"""Rows of ``uploads``, its chunks, staged rows and rejects.

A file's life: ``receiving`` (chunks arrive) -> ``received`` -> ``reading`` (rows are staged, nobody sees them) ->
``visible`` or ``failed``. Whoever holds it has its token; every change checks the token, and taking it over raises the
number, so a writer that slept too long changes nothing. ``lease_until`` says when somebody else looks again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from campaign.domain.states import UploadState
from campaign.storage.schema import campaigns, rejects, staged_targets, targets, upload_chunks, uploads
from campaign.storage.upsert import insert_new

RECEIVING, RECEIVED, READING = UploadState.RECEIVING, UploadState.RECEIVED, UploadState.READING
VISIBLE, FAILED = UploadState.VISIBLE, UploadState.FAILED
_COUNTED = {"preserve_rowcount": True}  # without it an insert's row count is -1
_STAGED = ("upload_id", "row_no", "phone", "phone_as_given", "variables")


@dataclass(frozen=True, slots=True)
class Hold:
    """An upload in the hand of one worker, as long as its token is the row's. ``again``: it was visible before."""

    id: int
    campaign_id: int
    token: int
    bytes: int
    reading: Mapping[str, Any]
    again: bool


# --- receiving -------------------------------------------------------------------------------------------------------


def find(connection: Connection, campaign_id: int, sha256: str) -> RowMapping | None:
    """The upload of the same bytes into the campaign, locked."""
    query = select(uploads).where(uploads.c.campaign_id == campaign_id, uploads.c.sha256 == sha256)
    return connection.execute(query.with_for_update()).mappings().first()


def get(connection: Connection, upload_id: int) -> RowMapping | None:
    return connection.execute(select(uploads).where(uploads.c.id == upload_id)).mappings().first()


def of_campaign(connection: Connection, campaign_id: int) -> Sequence[RowMapping]:
    """In the order of their arrival."""
    query = select(uploads).where(uploads.c.campaign_id == campaign_id).order_by(uploads.c.id)
    return connection.execute(query).mappings().all()


def begin(connection: Connection, values: Mapping[str, Any]) -> int | None:
    """A new row in `receiving` with token 1. None where the same bytes are in the campaign already."""
    row = {**values, "state": RECEIVING, "token": 1, "bytes": 0}
    return connection.execute(insert_new(connection, uploads).values(row).returning(uploads.c.id)).scalar()


def begin_again(connection: Connection, row: RowMapping, values: Mapping[str, Any]) -> int:
    """Receive the same bytes anew, from the first chunk. Returns the token. Its targets of before, if any, stay."""
    token = int(row["token"]) + 1
    _clear(connection, row["id"], upload_chunks, staged_targets)
    counts = {"bytes": 0, "bytes_read": 0, "rows_read": 0, "why": None}
    connection.execute(
        update(uploads).where(uploads.c.id == row["id"]).values(**values, **counts, state=RECEIVING, token=token)
    )
    return token


def add_chunks(connection: Connection, upload_id: int, first: int, chunks: Sequence[bytes]) -> None:
    rows = [{"upload_id": upload_id, "position": first + i, "content": chunk} for i, chunk in enumerate(chunks)]
    connection.execute(insert(upload_chunks), rows)


def keep(connection: Connection, upload_id: int, token: int, held_in: UploadState, **values: object) -> bool:
    """Set columns of an upload that is still held by ``token`` in ``held_in``, and lock its row. False: taken over."""
    statement = (
        update(uploads)
        .where(uploads.c.id == upload_id, uploads.c.token == token, uploads.c.state == held_in)
        .values(**values)
    )
    return connection.execute(statement).rowcount == 1


def give_up_receiving(connection: Connection, now: float, why: str) -> int:
    """Fail the uploads whose sender went silent, and forget their bytes. Returns how many."""
    statement = (
        update(uploads)
        .where(_abandoned(now))
        .values(state=FAILED, why=why, token=uploads.c.token + 1, lease_until=None)
        .returning(uploads.c.id)
    )
    gone = list(connection.execute(statement).scalars())
    for upload_id in gone:
        _clear(connection, upload_id, upload_chunks)
    return len(gone)


# --- reading ---------------------------------------------------------------------------------------------------------


def waiting(connection: Connection, now: float) -> list[tuple[int, str]]:
    """Uploads that somebody should look at, with their campaign's name: to be read, or left by reader or sender."""
    query = (
        select(uploads.c.id, campaigns.c.name)
        .join(campaigns, campaigns.c.id == uploads.c.campaign_id)
        .where(or_(_claimable(now), _abandoned(now)))
        .order_by(uploads.c.received_at, uploads.c.id)
    )
    return [(row.id, row.name) for row in connection.execute(query)]


def _claimable(now: float) -> ColumnElement[bool]:
    return or_(uploads.c.state == RECEIVED, and_(uploads.c.state == READING, uploads.c.lease_until < now))


def _abandoned(now: float) -> ColumnElement[bool]:
    return and_(uploads.c.state == RECEIVING, uploads.c.lease_until < now)


def claim(connection: Connection, now: float, lease_until: float, upload_id: int | None = None) -> Hold | None:
    """The oldest upload that waits to be read or whose reader is gone; what that one had staged is thrown away."""
    query = select(uploads).where(_claimable(now)).order_by(uploads.c.received_at, uploads.c.id).limit(1)
    if upload_id is not None:
        query = query.where(uploads.c.id == upload_id)
    row = connection.execute(query.with_for_update(skip_locked=True)).mappings().first()
    if row is None:
        return None
    token = int(row["token"]) + 1
    counts = {"bytes_read": 0, "rows_read": 0, "accepted": 0, "duplicates": 0, "rejected": 0}
    connection.execute(
        update(uploads)
        .where(uploads.c.id == row["id"])
        .values(**counts, state=READING, token=token, lease_until=lease_until, why=None)
    )
    _clear(connection, row["id"], staged_targets, rejects)
    again = row["visible_at"] is not None
    return Hold(row["id"], row["campaign_id"], token, row["bytes"], row["reading"], again)


def chunk(connection: Connection, upload_id: int, position: int) -> bytes | None:
    query = select(upload_chunks.c.content).where(
        upload_chunks.c.upload_id == upload_id, upload_chunks.c.position == position
    )
    return connection.execute(query).scalar()


def stage(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """Rows of ``staged_targets``. Returns how many were new to the upload; the first of two equal numbers stays."""
    if not rows:
        return 0
    if connection.dialect.name == "postgresql":
        return _copy(connection, rows)
    statement = sqlite.insert(staged_targets).on_conflict_do_nothing()
    return connection.execute(statement, list(rows), execution_options=_COUNTED).rowcount


def _copy(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
    """COPY costs this process 2 µs a row where an insert costs 12. It knows no conflicts, hence the detour."""
    names = ", ".join(_STAGED)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE arriving (LIKE staged_targets) ON COMMIT DROP")
        with cursor.copy(f"COPY arriving ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row([*(row[name] for name in _STAGED[:-1]), json.dumps(row["variables"])])
        cursor.execute(
            f"INSERT INTO staged_targets ({names}) SELECT {names} FROM arriving ORDER BY row_no "  # noqa: S608 (our names)
            "ON CONFLICT DO NOTHING"
        )
        new = int(cursor.rowcount)
        cursor.execute("DROP TABLE arriving")
        return new


def reject(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of ``rejects``. Nobody sees them before the upload is visible."""
    if rows:
        connection.execute(insert(rejects), list(rows))


def publish(connection: Connection, hold: Hold, fresh: Mapping[str, Any]) -> tuple[int, int]:
    """Every staged row becomes a target of the campaign, at once; staged rows and chunks go.

    ``fresh`` holds the columns that a new target starts with. Returns (targets made, staged numbers that are targets
    of this upload now); the second is larger where the same file had been read before in another way.
    """
    copied = [staged_targets.c[name] for name in _STAGED]
    fixed = {**fresh, "campaign_id": hold.campaign_id}
    rows = (
        select(*copied, *(literal(value, targets.c[name].type) for name, value in fixed.items()))
        .where(staged_targets.c.upload_id == hold.id)
        .order_by(staged_targets.c.row_no)
    )
    into = postgresql.insert(targets) if connection.dialect.name == "postgresql" else sqlite.insert(targets)
    statement = into.from_select([*_STAGED, *fixed], rows).on_conflict_do_nothing()
    made = connection.execute(statement, execution_options=_COUNTED).rowcount
    own = _own_targets(connection, hold) if hold.again else made
    _clear(connection, hold.id, staged_targets, upload_chunks)
    return made, own


def refresh_statistics(connection: Connection) -> None:
    """Until PostgreSQL's own analysis comes round, its planner thinks a table that was just filled is empty, and reads
    all of it where an index would do: an export of 100,000 targets did not end within ten minutes."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE targets"))


def _own_targets(connection: Connection, hold: Hold) -> int:
    both = targets.join(staged_targets, targets.c.phone == staged_targets.c.phone)
    query = (
        select(func.count())
        .select_from(both)
        .where(staged_targets.c.upload_id == hold.id)
        .where(targets.c.campaign_id == hold.campaign_id, targets.c.upload_id == hold.id)
    )
    return connection.execute(query).scalar_one()


def forget(connection: Connection, upload_id: int) -> None:
    """Bytes, staged rows and rejects of an upload that failed."""
    _clear(connection, upload_id, staged_targets, rejects, upload_chunks)


def _clear(connection: Connection, upload_id: int, *tables: Table) -> None:
    for table in tables:
        connection.execute(delete(table).where(table.c.upload_id == upload_id))


# --- rejects ---------------------------------------------------------------------------------------------------------


def with_rejects(connection: Connection, campaign_id: int) -> Sequence[RowMapping]:
    """The campaign's visible uploads that rejected rows, in the order of their arrival."""
    query = select(uploads).where(_visible_in(campaign_id), uploads.c.rejected > 0).order_by(uploads.c.id)
    return connection.execute(query).mappings().all()


def rejected_rows(connection: Connection, campaign_id: int) -> Iterator[RowMapping]:
    """Streams the rows of ``rejects`` of visible uploads, in the order of upload and line."""
    query = (
        select(rejects)
        .join(uploads, uploads.c.id == rejects.c.upload_id)
        .where(_visible_in(campaign_id))
        .order_by(rejects.c.upload_id, rejects.c.line_no, rejects.c.id)
    )
    yield from connection.execute(query, execution_options={"yield_per": 1000}).mappings()


def _visible_in(campaign_id: int) -> ColumnElement[bool]:
    return and_(uploads.c.campaign_id == campaign_id, uploads.c.state == VISIBLE)
