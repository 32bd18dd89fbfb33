"""Rows of ``erasures``, and the rows that hold a number that is being erased. No decision is taken here.

A row is both the request (its ``phone``, until the work is done) and the suppression (its keyed ``digest``, for ever).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping, delete, func, select, update

from campaign.domain.erasure import ERASED, MARK
from campaign.domain.states import TargetState, UploadState
from campaign.storage.bulk import one_of
from campaign.storage.schema import (
    attempts,
    do_not_call,
    erasure_keys,
    erasures,
    events,
    inbox,
    is_live,
    targets,
    uploads,
)
from campaign.storage.upsert import insert_new

_CHUNK = 500
_UNREAD = (UploadState.RECEIVING, UploadState.RECEIVED, UploadState.READING)


# --- the key ---------------------------------------------------------------------------------------------------------


def fingerprint(connection: Connection) -> str | None:
    """Of the key with which all erased numbers are hashed; None where none was ever erased."""
    return connection.execute(select(erasure_keys.c.fingerprint)).scalar()


def adopt_key(connection: Connection, mine: str, now: float) -> str:
    """The fingerprint of the key that is in use, which is ``mine`` from now on where none was."""
    connection.execute(insert_new(connection, erasure_keys).values(id=1, fingerprint=mine, since=now))
    return str(connection.execute(select(erasure_keys.c.fingerprint)).scalar_one())


def missed_at(connection: Connection) -> float | None:
    """When a process last refused to work because it has not that key."""
    return connection.execute(select(erasure_keys.c.missed_at)).scalar()


def note_missed(connection: Connection, now: float) -> None:
    connection.execute(update(erasure_keys).values(missed_at=now))


# --- requests and suppressions ---------------------------------------------------------------------------------------


def request(connection: Connection, phones: Mapping[str, str], now: float) -> set[str]:
    """Ask for numbers, by digest, to be erased. Returns the digests that had been asked for before.

    One that is erased already is looked for once more: something may have brought the number back.
    """
    fresh = {"requested_at": now, "due_at": now, "erased_at": None, "walk": 0, "walked": 0}
    digests, new = sorted(phones), set[str]()  # in one order, so that two commands with the same list get by
    for start in range(0, len(digests), _CHUNK):
        rows = [{"digest": digest, "phone": phones[digest], **fresh} for digest in digests[start : start + _CHUNK]]
        made = insert_new(connection, erasures).values(rows).returning(erasures.c.digest)
        new.update(connection.execute(made).scalars())
    for digest in sorted(set(digests) - new):
        again = update(erasures).where(erasures.c.digest == digest)
        connection.execute(again.values(phone=phones[digest], **fresh))
    return set(digests) - new


def known(connection: Connection, digests: Collection[str]) -> set[str]:
    """Those that are suppressed."""
    query = select(erasures.c.digest).where(one_of(connection, erasures.c.digest, digests))
    return set(connection.execute(query).scalars())


def asked_for(connection: Connection, phones: Collection[str]) -> set[str]:
    """Those whose erasure is under way; nobody needs the key to tell these, and a number with an open call is one."""
    query = select(erasures.c.phone).where(erasures.c.phone.is_not(None), one_of(connection, erasures.c.phone, phones))
    return set(connection.execute(query).scalars())


def find(connection: Connection, digest: str) -> RowMapping | None:
    return connection.execute(select(erasures).where(erasures.c.digest == digest)).mappings().first()


def still_open(connection: Connection, digests: Collection[str]) -> int:
    """How many of these are not erased everywhere yet."""
    query = select(func.count()).where(one_of(connection, erasures.c.digest, digests), erasures.c.phone.is_not(None))
    return connection.execute(query).scalar_one()


def any_due(connection: Connection, now: float) -> bool:
    query = select(erasures.c.digest).where(erasures.c.phone.is_not(None), erasures.c.due_at <= now)
    return connection.execute(query.limit(1)).scalar() is not None


def take(connection: Connection, now: float, limit: int) -> Sequence[RowMapping]:
    """Requests to work on now, all equally far, locked; the longest due first."""
    first = (
        select(erasures.c.walk, erasures.c.walked)
        .where(erasures.c.phone.is_not(None), erasures.c.due_at <= now)
        .order_by(erasures.c.due_at, erasures.c.digest)
        .limit(1)
    )
    far = connection.execute(first).first()
    if far is None:
        return []
    query = (
        select(erasures)
        .where(erasures.c.phone.is_not(None), erasures.c.due_at <= now)
        .where(erasures.c.walk == far.walk, erasures.c.walked == far.walked)
        .order_by(erasures.c.due_at, erasures.c.digest)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(query).mappings().all()


def go_on(connection: Connection, digests: Collection[str], due_at: float, walk: int, walked: int = 0) -> None:
    """They are so far, and looked at again then."""
    if digests:
        chosen = update(erasures).where(one_of(connection, erasures.c.digest, digests))
        connection.execute(chosen.values(due_at=due_at, walk=walk, walked=walked))


def finish(connection: Connection, digests: Collection[str], now: float) -> None:
    """The request forgets the number; the suppression stays."""
    chosen = update(erasures).where(one_of(connection, erasures.c.digest, digests))
    connection.execute(chosen.values(phone=None, due_at=None, erased_at=now))


def counts(connection: Connection) -> tuple[int, int]:
    """(numbers ever asked for, of which are not erased everywhere yet)."""
    query = select(func.count(), func.count(erasures.c.phone)).select_from(erasures)
    total, waiting = connection.execute(query).one()
    return total, waiting


def open_calls(connection: Connection) -> int:
    """Live attempts for whose end an erasure waits."""
    query = select(func.count()).join_from(attempts, erasures, attempts.c.phone == erasures.c.phone)
    return connection.execute(query.where(erasures.c.phone.is_not(None), is_live)).scalar_one()


def oldest_unread_upload(connection: Connection) -> float | None:
    """When it began to arrive: it may hold the numbers of all that was asked for since."""
    return connection.execute(select(func.min(uploads.c.received_at)).where(uploads.c.state.in_(_UNREAD))).scalar()


# --- the rows of a number --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """A target with a number to erase, locked. ``busy``: a call is open or may be."""

    id: int
    campaign_id: int
    phone: str = field(repr=False)
    busy: bool


def lock_attempts(connection: Connection, phones: Collection[str]) -> Sequence[RowMapping]:
    """Every attempt on these numbers: id, target_id, state, call_id, raw, reason."""
    wanted = [attempts.c[name] for name in ("id", "target_id", "state", "call_id", "raw", "reason")]
    query = select(*wanted).where(one_of(connection, attempts.c.phone, phones)).order_by(attempts.c.id)
    return connection.execute(query.with_for_update()).mappings().all()


def skip_and_lock_targets(connection: Connection, phones: Collection[str], now: float) -> list[Held]:
    """Every target with these numbers; those that wait are skipped. To be called with their attempts locked."""
    mine = one_of(connection, targets.c.phone, phones)
    locked = select(targets.c.id).where(mine).order_by(targets.c.id).with_for_update()
    ids = list(connection.execute(locked).scalars())
    waits = update(targets).where(one_of(connection, targets.c.id, ids), targets.c.state == TargetState.WAITING)
    connection.execute(waits.values(state=TargetState.SKIPPED, due_at=None, reason=ERASED, ended_at=now))
    live = select(attempts.c.target_id).where(one_of(connection, attempts.c.target_id, ids), is_live)
    called = set(connection.execute(live).scalars())
    query = select(targets.c.id, targets.c.campaign_id, targets.c.phone, targets.c.state)
    rows = connection.execute(query.where(one_of(connection, targets.c.id, ids)).order_by(targets.c.id)).all()
    return [Held(r.id, r.campaign_id, r.phone, r.state == TargetState.CALLING or r.id in called) for r in rows]


def names_taken(connection: Connection, names: Collection[str]) -> set[tuple[int, str]]:
    """(campaign id, phone) of targets that stand under one of these already."""
    query = select(targets.c.campaign_id, targets.c.phone).where(one_of(connection, targets.c.phone, names))
    return {(campaign_id, phone) for campaign_id, phone in connection.execute(query)}


def empty_target(connection: Connection, target_id: int, name: str) -> None:
    """Nothing of the person is left in it; what came of the calls stays."""
    chosen = update(targets).where(targets.c.id == target_id)
    connection.execute(chosen.values(phone=name, phone_as_given=None, variables={}))


def rename_attempts(connection: Connection, target_ids: Collection[int], phone: str, digest: str) -> None:
    mine = one_of(connection, attempts.c.target_id, target_ids)
    connection.execute(update(attempts).where(mine, attempts.c.phone == phone).values(phone=digest))


def rewrite_attempt(connection: Connection, attempt_id: int, words: Mapping[str, str]) -> None:
    connection.execute(update(attempts).where(attempts.c.id == attempt_id).values(words))


def details_of(connection: Connection, attempt_ids: Collection[int]) -> Sequence[RowMapping]:
    """id, attempt_id and detail of the events of these attempts."""
    query = select(events.c.id, events.c.attempt_id, events.c.detail).where(
        one_of(connection, events.c.attempt_id, attempt_ids)
    )
    return connection.execute(query).mappings().all()


def rewrite_detail(connection: Connection, event_id: int, detail: object) -> None:
    connection.execute(update(events).where(events.c.id == event_id).values(detail=detail))


def unlist(connection: Connection, phones: Collection[str]) -> None:
    """The suppression takes the place of a number's entry on the do-not-call list."""
    connection.execute(delete(do_not_call).where(one_of(connection, do_not_call.c.phone, phones)))


# --- what comes afterwards -------------------------------------------------------------------------------------------


def skip_published(connection: Connection, upload_id: int, now: float) -> int:
    """Targets of an upload that stand for erased numbers are not called."""
    chosen = update(targets).where(
        targets.c.upload_id == upload_id, targets.c.state == TargetState.WAITING, targets.c.phone.startswith(MARK)
    )
    return connection.execute(
        chosen.values(state=TargetState.SKIPPED, due_at=None, reason=ERASED, ended_at=now)
    ).rowcount


def any_erased(connection: Connection, attempt_ids: Collection[int]) -> bool:
    """Is the number of one of these attempts erased?"""
    query = select(attempts.c.id).where(
        one_of(connection, attempts.c.id, attempt_ids), attempts.c.phone.startswith(MARK)
    )
    return connection.execute(query.limit(1)).scalar() is not None


def forget_delivery(connection: Connection, delivery_id: int) -> None:
    """What it said; that it came, and what became of it, stays."""
    chosen = update(inbox).where(inbox.c.id == delivery_id)
    connection.execute(chosen.values(body=b"", headers={}, query={}))
