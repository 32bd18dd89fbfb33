"""Heartbeats: which worker processes have done something lately. Progress, not a process id, is what counts as life."""

from sqlalchemy import Connection, delete, func, select, update

from campaign.storage.schema import processes
from campaign.storage.upsert import insert_new


def beat(connection: Connection, name: str, role: str, now: float, clock_ahead: float | None = None) -> None:
    """``name`` is host:pid; ``role`` is the kind of order it has just carried out; ``clock_ahead`` is by how many
    seconds its machine's clock is ahead of ``now``."""
    values = {"role": role, "seen_at": now, "clock_ahead": clock_ahead}
    changed = connection.execute(update(processes).where(processes.c.name == name).values(values))
    if changed.rowcount == 0:
        connection.execute(insert_new(connection, processes), [{"name": name, **values}])


def alive(connection: Connection, since: float) -> int:
    query = select(func.count()).select_from(processes).where(processes.c.seen_at >= since)
    return connection.execute(query).scalar_one()


def wrong_clocks(connection: Connection, since: float, apart: float) -> list[tuple[str, float]]:
    """Machines whose processes were seen since then with a clock more than ``apart`` seconds off, and how far."""
    query = select(processes.c.name, processes.c.clock_ahead).where(
        processes.c.seen_at >= since, func.abs(processes.c.clock_ahead) > apart
    )
    return sorted({name.partition(":")[0]: ahead for name, ahead in connection.execute(query)}.items())


def last_seen(connection: Connection) -> float | None:
    return connection.execute(select(func.max(processes.c.seen_at))).scalar()


def forget(connection: Connection, before: float) -> None:
    connection.execute(delete(processes).where(processes.c.seen_at < before))


def last_seen_on(connection: Connection, host: str) -> float | None:
    """When a process of one machine was last seen."""
    query = select(func.max(processes.c.seen_at)).where(processes.c.name.startswith(f"{host}:", autoescape=True))
    return connection.execute(query).scalar()
