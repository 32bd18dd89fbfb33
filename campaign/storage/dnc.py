"""Rows of ``do_not_call``: numbers that no campaign may ring."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, delete, func, select

from campaign.storage.schema import do_not_call
from campaign.storage.upsert import insert_new

_CHUNK = 500


def add(connection: Connection, phones: Sequence[str], reason: str, now: float) -> int:
    """How many were not listed yet; a listed number keeps its first reason and time."""
    added = 0
    for start in range(0, len(phones), _CHUNK):
        rows = [{"phone": phone, "reason": reason, "added_at": now} for phone in phones[start : start + _CHUNK]]
        statement = insert_new(connection, do_not_call).values(rows).returning(do_not_call.c.phone)
        added += len(connection.execute(statement).all())
    return added


def remove(connection: Connection, phones: Sequence[str]) -> int:
    removed = 0
    for start in range(0, len(phones), _CHUNK):
        some = do_not_call.c.phone.in_(phones[start : start + _CHUNK])
        removed += connection.execute(delete(do_not_call).where(some)).rowcount
    return removed


def find(connection: Connection, phone: str) -> RowMapping | None:
    return connection.execute(select(do_not_call).where(do_not_call.c.phone == phone)).mappings().first()


def page(connection: Connection, after: str, limit: int) -> Sequence[RowMapping]:
    """By number."""
    query = select(do_not_call).where(do_not_call.c.phone > after).order_by(do_not_call.c.phone).limit(limit)
    return connection.execute(query).mappings().all()


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(do_not_call)).scalar_one()
