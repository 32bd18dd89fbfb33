"""Tables in which a number may stand where no index leads: read page by page, rewritten row by row."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Column, Connection, RowMapping, Table, select, update

from campaign.storage.bulk import one_of
from campaign.storage.schema import attempts, inbox, rejects, targets

WALK: tuple[tuple[Table, tuple[Column[Any], ...]], ...] = (
    (rejects, (rejects.c.cells,)),
    (inbox, (inbox.c.line, inbox.c.headers, inbox.c.query, inbox.c.body, inbox.c.due_at, inbox.c.received_at)),
    (targets, (targets.c.variables, targets.c.phone_as_given)),
)
"""Table and what of it is looked at, in the order in which they are walked."""


def page(connection: Connection, place: int, after: int, limit: int) -> Sequence[RowMapping]:
    """The next rows of table ``place`` by id: id and the columns that are looked at."""
    table, columns = WALK[place]
    query = select(table.c.id, *columns).where(table.c.id > after).order_by(table.c.id).limit(limit)
    return connection.execute(query).mappings().all()


def locked(connection: Connection, place: int, ids: Collection[int]) -> Sequence[RowMapping]:
    """Those rows again, so that nobody else rewrites them meanwhile."""
    table, columns = WALK[place]
    query = select(table.c.id, *columns).where(one_of(connection, table.c.id, ids)).order_by(table.c.id)
    return connection.execute(query.with_for_update()).mappings().all()


def rewrite(connection: Connection, place: int, row_id: int, **values: Any) -> None:
    table, _ = WALK[place]
    connection.execute(update(table).where(table.c.id == row_id).values(values))


def names_of_calls(connection: Connection, digests: Collection[str]) -> list[tuple[str, str, str | None]]:
    """(line, our reference, the provider's id) of every attempt on erased numbers: a delivery may name only these."""
    query = select(attempts.c.line, attempts.c.our_ref, attempts.c.call_id)
    return [
        (row.line, row.our_ref, row.call_id)
        for row in connection.execute(query.where(one_of(connection, attempts.c.phone, digests)))
    ]
