"""Bringing a database's tables up to date. One process at a time does it; others wait and find it done."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select, text

from campaign.domain.errors import NotPossible
from campaign.storage.engine import Store, open_store

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The newest revision. Written down so that a command starts without loading Alembic; a test compares the two."""

SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = 0x63616D706169676E  # "campaign"; any number that nobody else locks
_version = Table("alembic_version", MetaData(), Column("version_num", String(32), nullable=False))


def upgrade(url: str) -> str:
    """Brings the database at ``url`` up to date and returns its revision. Raises what open_store() raises."""
    store = open_store(url)
    try:
        ensure_schema(store)
    finally:
        store.close()
    return HEAD


def ensure_schema(store: Store) -> None:
    """Makes or changes the tables where they are not current. Raises NotPossible for a database from the future."""
    if not is_current(store):
        upgrade_store(store)


def is_current(store: Store) -> bool:
    """Whether the tables are those that this program was written for."""
    return current(store) == HEAD


def current(store: Store) -> str | None:
    """The database's revision; None where no tables were ever made."""
    with store.read() as connection:
        return _current(connection)


def require_tables(store: Store) -> None:
    """Raises NotPossible where there are no tables, or older ones than this program's. Newer ones will do: a revision
    adds only, so that yesterday's workers go on while today's are started."""
    revision = current(store)
    with store.read() as connection:
        made = inspect(connection).has_table("campaigns")
    if made and (revision is None or revision >= HEAD):
        return
    found = f"has tables of revision {revision} and not {HEAD}" if made else "has no tables yet"
    raise NotPossible(f"the database {found}; `campaign db upgrade` brings it up to date")


def head() -> str | None:
    """The newest revision by the scripts themselves."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(SCRIPTS)).get_current_head()


def upgrade_store(store: Store) -> None:
    """All missing revisions in one transaction: all of them or none."""
    from alembic import command

    with store.write() as connection:
        if not store.sqlite:  # SQLite's immediate transaction is a lock already
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        _refuse_the_future(_current(connection))
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> "Config":
    """Alembic without a file of its own; ``connection`` is used as it is, in its transaction."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_version.name):
        return None
    revision: str | None = connection.execute(select(_version.c.version_num)).scalar_one_or_none()
    return revision


def _refuse_the_future(found: str | None) -> None:
    if found is not None and found > HEAD:
        raise NotPossible(
            f"the database has tables of revision {found} and this program knows {HEAD}; "
            "install the version of campaign that made them"
        )
