"""Heartbeats: which worker processes have done something lately. Progress, not a process id, is what counts as life."""

from sqlalchemy import Connection, delete, func, select, update

from campaign.storage.schema import processes
from campaign.storage.upsert import insert_new


def beat(connection: Connection, name: str, role: str, now: float) -> None:
    """``name`` is host:pid:start; ``role`` is the kind of order it has just carried out."""
    values = {"role": role, "seen_at": now}
    changed = connection.execute(update(processes).where(processes.c.name == name).values(values))
    if changed.rowcount == 0:
        connection.execute(insert_new(connection, processes), [{"name": name, **values}])


def alive(connection: Connection, since: float) -> int:
    query = select(func.count()).select_from(processes).where(processes.c.seen_at >= since)
    return connection.execute(query).scalar_one()


def last_seen(connection: Connection) -> float | None:
    return connection.execute(select(func.max(processes.c.seen_at))).scalar()


def forget(connection: Connection, before: float) -> None:
    connection.execute(delete(processes).where(processes.c.seen_at < before))


def last_seen_on(connection: Connection, host: str) -> float | None:
    """When a process of one machine was last seen."""
    query = select(func.max(processes.c.seen_at)).where(processes.c.name.startswith(f"{host}:", autoescape=True))
    return connection.execute(query).scalar()
