"""``INSERT … ON CONFLICT DO NOTHING``, which SQLAlchemy spells once per database."""

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that leaves rows alone that are already there. Add ``.values(…)`` and ``.returning(…)``.

    What comes back is what was new; a row count is not to be had from PostgreSQL here.
    """
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()
