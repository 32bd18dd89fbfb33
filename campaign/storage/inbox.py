"""Webhook deliveries as they came: stored before they are answered, handled afterwards, kept with their outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, func, select, update

from campaign.storage.schema import inbox
from campaign.storage.upsert import insert_new


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    id: int
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    verified: bool
    received_at: float
    tries: int


def store_delivery(
    connection: Connection,
    line: str,
    digest: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
    *,
    verified: bool,
    now: float,
) -> bool:
    """False where the very same delivery is stored already. Headers and query come without their secrets."""
    row = {
        "line": line,
        "digest": digest,
        "headers": dict(headers),
        "query": dict(query),
        "body": body,
        "verified": verified,
        "received_at": now,
        "due_at": now,
    }
    made = insert_new(connection, inbox).values(row).returning(inbox.c.id)
    return connection.execute(made).first() is not None


def count_hints(connection: Connection, line: str, most: int) -> int:
    """Unverified deliveries of the line that wait to be read; the count stops at ``most``."""
    some = select(inbox.c.id).where(inbox.c.line == line, inbox.c.due_at.is_not(None), ~inbox.c.verified).limit(most)
    return connection.execute(select(func.count()).select_from(some.subquery())).scalar_one()


def take(connection: Connection, line: str, now: float, until: float, limit: int) -> list[StoredDelivery]:
    """Deliveries to handle now; nobody else takes them before ``until``."""
    due = (
        select(inbox.c.id)
        .where(inbox.c.line == line, inbox.c.due_at <= now)
        .order_by(inbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.execute(due).scalars())
    if not ids:
        return []
    connection.execute(update(inbox).where(inbox.c.id.in_(ids)).values(due_at=until, tries=inbox.c.tries + 1))
    query = select(inbox).where(inbox.c.id.in_(ids)).order_by(inbox.c.id)
    return [
        StoredDelivery(r.id, r.headers, r.query, r.body, r.verified, r.received_at, r.tries)
        for r in connection.execute(query)
    ]


def handled(connection: Connection, delivery_id: int, outcome: str) -> None:
    connection.execute(update(inbox).where(inbox.c.id == delivery_id).values(due_at=None, outcome=outcome))


def again(connection: Connection, delivery_id: int, due_at: float, outcome: str) -> None:
    connection.execute(update(inbox).where(inbox.c.id == delivery_id).values(due_at=due_at, outcome=outcome))


def forget(connection: Connection, delivery_id: int) -> None:
    connection.execute(delete(inbox).where(inbox.c.id == delivery_id))


def forget_handled(connection: Connection, before: float) -> int:
    """Deliveries that were received before then and have been read; how many."""
    old = delete(inbox).where(inbox.c.due_at.is_(None), inbox.c.received_at < before)
    return connection.execute(old).rowcount


def waiting(connection: Connection, now: float) -> dict[str, int]:
    """Deliveries to handle now, by line."""
    query = select(inbox.c.line, func.count()).where(inbox.c.due_at <= now).group_by(inbox.c.line)
    return {line: count for line, count in connection.execute(query)}
