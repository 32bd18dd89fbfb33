"""Retry batches and their fires. A fire is one transaction: the row of ``retry_fires`` and the round that it begins."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, exists, func, insert, select, update

from campaign.domain.dispositions import Disposition
from campaign.domain.erasure import MARK
from campaign.domain.states import TargetState
from campaign.storage.bulk import in_order
from campaign.storage.schema import campaigns, do_not_call, retry_batches, retry_fires, targets
from campaign.storage.upsert import insert_new


def add(connection: Connection, values: Mapping[str, Any]) -> int:
    statement = insert(retry_batches).values(values).returning(retry_batches.c.id)
    return int(connection.execute(statement).scalar_one())


def of_campaign(connection: Connection, campaign_id: int) -> Sequence[RowMapping]:
    query = select(retry_batches).where(retry_batches.c.campaign_id == campaign_id).order_by(retry_batches.c.id)
    return connection.execute(query).mappings().all()


def fires_of(connection: Connection, campaign_id: int) -> Sequence[RowMapping]:
    query = (
        select(retry_fires)
        .join(retry_batches, retry_batches.c.id == retry_fires.c.batch_id)
        .where(retry_batches.c.campaign_id == campaign_id)
        .order_by(retry_fires.c.batch_id, retry_fires.c.due_at)
    )
    return connection.execute(query).mappings().all()


def due(connection: Connection, now: float) -> Sequence[RowMapping]:
    """Batches to fire, each with its campaign's name, the longest due first."""
    query = (
        select(retry_batches, campaigns.c.name.label("campaign"))
        .join(campaigns, campaigns.c.id == retry_batches.c.campaign_id)
        .where(retry_batches.c.next_fire_at <= now)
        .order_by(retry_batches.c.next_fire_at, retry_batches.c.id)
    )
    return connection.execute(query).mappings().all()


def next_fire(connection: Connection, campaign_id: int) -> float | None:
    query = select(func.min(retry_batches.c.next_fire_at)).where(retry_batches.c.campaign_id == campaign_id)
    return connection.execute(query).scalar()


def advance(connection: Connection, batch_id: int, from_fire: float, to_fire: float | None) -> bool:
    """True for the one caller that moved the batch on from ``from_fire``."""
    moved = update(retry_batches).where(retry_batches.c.id == batch_id, retry_batches.c.next_fire_at == from_fire)
    return connection.execute(moved.values(next_fire_at=to_fire)).rowcount == 1


def end(connection: Connection, campaign_id: int, batch_id: int) -> bool:
    """True where the batch had a fire to come."""
    chosen = update(retry_batches).where(
        retry_batches.c.id == batch_id,
        retry_batches.c.campaign_id == campaign_id,
        retry_batches.c.next_fire_at.is_not(None),
    )
    return connection.execute(chosen.values(next_fire_at=None)).rowcount == 1


def end_all(connection: Connection, campaign_id: int) -> None:
    connection.execute(
        update(retry_batches).where(retry_batches.c.campaign_id == campaign_id).values(next_fire_at=None)
    )


def record_fire(connection: Connection, values: Mapping[str, Any]) -> bool:
    """False where this fire is recorded already."""
    statement = insert_new(connection, retry_fires).values(values).returning(retry_fires.c.batch_id)
    return connection.execute(statement).first() is not None


def set_counts(connection: Connection, batch_id: int, due_at: float, done: int, passed_over: int) -> None:
    fire = update(retry_fires).where(retry_fires.c.batch_id == batch_id, retry_fires.c.due_at == due_at)
    connection.execute(fire.values(targets=done, passed_over=passed_over))


def begin_round(
    connection: Connection, campaign_id: int, dispositions: Collection[Disposition], reason: str, now: float
) -> int:
    """Every done target with one of ``dispositions`` waits again, due now, with the plan's rules from their start.

    Numbers on the do-not-call list, and people who were erased, keep their result. The disposition stays until a new
    one replaces it: a true result that comes late for an ``unknown`` must still find the target it belongs to, and stop
    this round.
    """
    listed = exists().where(do_not_call.c.phone == targets.c.phone)
    ended_so = in_order(
        targets,
        targets.c.campaign_id == campaign_id,
        targets.c.state == TargetState.DONE,
        targets.c.disposition.in_(sorted(dispositions)),
        ~listed,
        ~targets.c.phone.startswith(MARK),
    )
    again = (
        update(targets)
        .where(ended_so)
        .values(
            state=TargetState.WAITING,
            due_at=now,
            reason=reason,
            ended_at=None,
            attempt_id=None,
            tally={},
            conflicts=0,
            rescues=0,
            attempts_before_round=targets.c.attempts,
        )
    )
    return connection.execute(again).rowcount


def count_passed_over(connection: Connection, campaign_id: int, dispositions: Collection[Disposition]) -> int:
    """Targets whose latest call ended so, but that are live again or held for a person."""
    query = select(func.count()).where(
        targets.c.campaign_id == campaign_id,
        targets.c.state.in_([TargetState.CALLING, TargetState.HELD]),
        targets.c.disposition.in_(sorted(dispositions)),
    )
    return connection.execute(query).scalar_one()
