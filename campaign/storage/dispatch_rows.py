"""The one row of ``dispatch``, and targets whose calls a restore may have lost. No decision is taken here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, case, func, literal, select, text, update

from campaign.domain.dispositions import Disposition
from campaign.domain.restores import Standing
from campaign.domain.states import AttemptState, CampaignState, TargetState
from campaign.storage.bulk import document, given, one_of
from campaign.storage.schema import UNSURE, attempts, campaigns, dispatch, targets
from campaign.storage.upsert import insert_new

_STANDING = [dispatch.c[f.name] for f in fields(Standing)]
_ID_GAP = 1_000_000
"""Attempts that a lost stretch of time may have numbered: an answer that comes late must not meet another attempt."""


@dataclass(frozen=True, slots=True)
class UnsureTarget:
    id: int
    campaign_id: int
    line: str
    phone: str = field(repr=False)
    unsure_since: float


@dataclass(frozen=True, slots=True)
class Watch:
    """What a claim must know: the standing, and of how many of the attempts that it was asked about the database knows
    that they are more than claimed."""

    standing: Standing
    known: int


@dataclass(frozen=True, slots=True)
class LatestAttempt:
    state: AttemptState
    disposition: Disposition | None
    lost_until: float | None


def read(connection: Connection, *, lock: bool = False) -> Standing | None:
    """None where no process has ever worked on the database."""
    query = select(*_STANDING)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return Standing(*row) if row is not None else None


def make(connection: Connection, database_id: str) -> None:
    """Does nothing where the row is there."""
    connection.execute(insert_new(connection, dispatch).values(id=1, database_id=database_id))


def watched(parameter: str) -> list[ColumnElement[Any]]:
    """The columns of :class:`Watch`, for a statement that runs anyway and joins ``dispatch``. Its ``parameter`` is the
    references of the attempts that the database must know."""
    asked = attempts.c.our_ref.in_(bindparam(parameter, expanding=True, type_=attempts.c.our_ref.type))
    there = select(func.count()).select_from(attempts).where(asked, attempts.c.state != AttemptState.CLAIMED)
    return [
        dispatch.c.database_id,
        dispatch.c.reconciled_at,
        dispatch.c.locked_at,
        there.scalar_subquery().label("known"),
    ]


def watch(row: Row[Any]) -> Watch | None:
    """From a row with the columns that :func:`watched` names."""
    if row.database_id is None:
        return None
    return Watch(Standing(row.database_id, row.reconciled_at, row.locked_at), row.known)


def known(connection: Connection, our_refs: Sequence[str]) -> set[str]:
    """Those of which there is an attempt that is more than claimed."""
    query = select(attempts.c.our_ref).where(attempts.c.our_ref.in_(our_refs), attempts.c.state != AttemptState.CLAIMED)
    return set(connection.execute(query).scalars())


def set_lock(connection: Connection, judged: Standing, now: float, why: str, lost_at: float | None) -> bool:
    """True where it was open, and nothing has been dealt with since it stood as ``judged``: what was lost before a
    dealing is no reason after it."""
    values = {"locked_at": now, "why": why, "lost_at": lost_at, "asked_at": None}
    open_as_judged = dispatch.c.locked_at.is_(None), dispatch.c.reconciled_at == judged.reconciled_at
    return connection.execute(update(dispatch).where(*open_as_judged).values(values)).rowcount == 1


def set_asked(connection: Connection, now: float, lost_until: float) -> None:
    connection.execute(update(dispatch).values(asked_at=now, lost_until=lost_until))


def set_open(connection: Connection, now: float) -> None:
    """Witnesses from before now are forgiven."""
    opened = {"locked_at": None, "why": None, "lost_at": None, "asked_at": None, "reconciled_at": now}
    connection.execute(update(dispatch).values(opened))


def last_known(connection: Connection, before: float) -> float:
    """The latest time before ``before`` at which anything is known to have been dialled, or could first have been."""
    latest = [
        select(func.max(column)).where(column < before).scalar_subquery()
        for column in (attempts.c.claimed_at, attempts.c.sent_at, campaigns.c.created_at)
    ]
    return max((at for at in connection.execute(select(*latest)).one() if at is not None), default=0.0)


def lock_targets(connection: Connection) -> None:
    """Nobody else changes a target until the transaction ends. Waits for those who are at it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE targets IN EXCLUSIVE MODE"))


def mark_all(connection: Connection, since: float) -> int:
    """Calls to any target since then may be lost, unless since earlier; how many targets there are."""
    earlier = case((targets.c.unsure_since < since, targets.c.unsure_since), else_=since)
    return connection.execute(update(targets).values(unsure_since=earlier)).rowcount


def leave_a_gap(connection: Connection) -> None:
    """Attempts to come get ids that no lost attempt had. On SQLite nobody works while its file is replaced."""
    if connection.dialect.name == "postgresql":
        highest = "greatest((SELECT max(id) FROM attempts), nextval(pg_get_serial_sequence('attempts', 'id')))"
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('attempts', 'id'), {highest} + {_ID_GAP})"))


def waiting_by_line(connection: Connection) -> dict[str, int]:
    """Targets of running campaigns that wait for a call, by line."""
    query = (
        select(campaigns.c.line, func.count())
        .join(targets, targets.c.campaign_id == campaigns.c.id)
        .where(campaigns.c.state == CampaignState.RUNNING, targets.c.state == TargetState.WAITING)
        .group_by(campaigns.c.line)
        .order_by(campaigns.c.line)
    )
    return {line: count for line, count in connection.execute(query)}


def some_unsure(connection: Connection, now: float) -> bool:
    """Whether :func:`unsure_due` may find any."""
    query = select(targets.c.id).where(text(UNSURE), targets.c.due_at <= now).limit(1)
    return connection.execute(query).first() is not None


def unsure_due(connection: Connection, now: float, limit: int) -> list[UnsureTarget]:
    """Targets of running campaigns that would be claimed now, were it sure what has become of them; locked."""
    query = (
        select(targets.c.id, targets.c.campaign_id, campaigns.c.line, targets.c.phone, targets.c.unsure_since)
        .join(campaigns, campaigns.c.id == targets.c.campaign_id)
        .where(text(f"targets.{UNSURE}"), targets.c.due_at <= now, campaigns.c.state == CampaignState.RUNNING)
        .order_by(targets.c.due_at)
        .limit(limit)
        .with_for_update(of=targets, skip_locked=True)
    )
    return [UnsureTarget(*row) for row in connection.execute(query).all()]


def latest_attempts(connection: Connection, target_ids: Sequence[int]) -> dict[int, LatestAttempt]:
    """By target id."""
    mine = one_of(connection, attempts.c.target_id, target_ids)
    newest = select(func.max(attempts.c.id)).where(mine).group_by(attempts.c.target_id)
    columns = (attempts.c.target_id, attempts.c.state, attempts.c.disposition, attempts.c.lost_until)
    rows = connection.execute(select(*columns).where(attempts.c.id.in_(newest)))
    return {
        target_id: LatestAttempt(AttemptState(state), Disposition(word) if word else None, lost_until)
        for target_id, state, word, lost_until in rows
    }


def make_sure(connection: Connection, target_ids: Sequence[int]) -> None:
    """These may be claimed again."""
    if target_ids:
        chosen = update(targets).where(one_of(connection, targets.c.id, target_ids))
        connection.execute(chosen.values(unsure_since=None))


def insert_lost(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Unconfirmed attempts that stand for what may be lost; id by target id. A number that is live is left out."""
    if not rows:
        return {}
    columns = [attempts.c[name] for name in rows[0]]
    sent = given(connection, columns)
    chosen = select(*sent.c, literal(AttemptState.UNCONFIRMED)).where(sent.c.target_id.is_not(None))
    made = insert_new(connection, attempts).from_select([*rows[0], "state"], chosen)
    found = connection.execute(made.returning(attempts.c.id, attempts.c.target_id), document(rows)).all()
    return {target_id: attempt_id for attempt_id, target_id in found}
