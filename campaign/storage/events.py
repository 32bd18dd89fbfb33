"""The journal: what a person did and what could not be foreseen, one row each. Never a secret, never a phone number."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select

from campaign.storage.schema import events


def record(
    connection: Connection,
    at: float,
    kind: str,
    *,
    campaign_id: int | None = None,
    attempt_id: int | None = None,
    line: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """One row, in the transaction of the change that it tells of."""
    row = {"at": at, "kind": kind, "campaign_id": campaign_id, "attempt_id": attempt_id, "line": line}
    connection.execute(insert(events).values(**row, detail=dict(detail or {})))


def of_campaign(connection: Connection, campaign_id: int, limit: int = 100) -> Sequence[RowMapping]:
    """The latest ``limit`` rows of a campaign, newest first."""
    query = select(events).where(events.c.campaign_id == campaign_id).order_by(events.c.at.desc(), events.c.id.desc())
    return connection.execute(query.limit(limit)).mappings().all()


def by_line(connection: Connection, kind: str, since: float, until: float) -> dict[str, int]:
    """How many rows of one kind each line has between two times."""
    query = (
        select(events.c.line, func.count())
        .where(events.c.kind == kind, events.c.at >= since, events.c.at <= until, events.c.line.is_not(None))
        .group_by(events.c.line)
        .order_by(events.c.line)
    )
    return {line: count for line, count in connection.execute(query)}
