"""The journal: what a person did and what could not be foreseen, one row each. Never a secret, never a phone number."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

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
