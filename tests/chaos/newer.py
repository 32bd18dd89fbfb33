"""What the next version's migration may have done to the tables before this version's workers have been replaced."""

from sqlalchemy import CheckConstraint, Connection, Table, text

from campaign.storage.migrate import HEAD
from campaign.storage.schema import metadata

NEXT = f"{int(HEAD) + 1:04d}"
NEW_WORD = "parked"


def expand(connection: Connection) -> None:
    """New columns, a new table, new indexes, and one more word in every vocabulary. PostgreSQL only."""
    for table in metadata.sorted_tables:
        connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN of_tomorrow TEXT"))
        connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN counted_tomorrow INTEGER NOT NULL DEFAULT 0"))
        connection.execute(text(f"CREATE INDEX ix_{table.name}_of_tomorrow ON {table.name} (of_tomorrow)"))
        _widen(connection, table)
    connection.execute(text("CREATE TABLE tomorrow (id BIGINT PRIMARY KEY, attempt BIGINT REFERENCES attempts (id))"))
    connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)"))
    connection.execute(text("DELETE FROM alembic_version"))
    connection.execute(text(f"INSERT INTO alembic_version VALUES ('{NEXT}')"))


def _widen(connection: Connection, table: Table) -> None:
    for check in table.constraints:
        if isinstance(check, CheckConstraint) and str(check.name).endswith("_is_a_word"):
            name = f"ck_{table.name}_{str(check.name).removeprefix(f'ck_{table.name}_')}"
            words = str(check.sqltext).removesuffix(")")
            connection.execute(text(f"ALTER TABLE {table.name} DROP CONSTRAINT {name}"))
            connection.execute(text(f"ALTER TABLE {table.name} ADD CONSTRAINT {name} CHECK ({words}, '{NEW_WORD}'))"))
