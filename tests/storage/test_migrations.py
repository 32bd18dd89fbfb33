"""The migrated tables are the tables of schema.py, on both databases, to the last index and check."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from campaign.domain.errors import NotPossible
from campaign.storage import migrate
from campaign.storage.engine import Store, open_store
from campaign.storage.schema import metadata

POSTGRES_DEFINITIONS = """
    SELECT 'index ' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'column ' || table_name || ' ' || column_name,
           concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database without tables."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'empty.sqlite'}" if sqlite else request.getfixturevalue("empty_postgres_url")
    opened = open_store(url)
    yield opened
    opened.close()


def definitions(store: Store) -> set[tuple[str, str]]:
    """(name, definition) of everything in the database, in its own words, but for Alembic's own table."""
    with store.read() as connection:
        if not store.sqlite:
            found = [(str(name), str(what)) for name, what in connection.execute(text(POSTGRES_DEFINITIONS))]
            return {pair for pair in found if "alembic_version" not in pair[0] + pair[1]}
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {
            (name, clause) for name, definition in rows if name != "alembic_version" for clause in _clauses(definition)
        }


def _clauses(definition: str) -> list[str]:
    """The order in which a table's constraints were written does not matter."""
    return sorted(" ".join(line.strip(" ,").split()) for line in definition.splitlines() if line.strip(" ,\t"))


def test_migrated_tables_are_the_schema(empty_store: Store) -> None:
    migrate.ensure_schema(empty_store)
    with empty_store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_every_index_and_check_is_the_schemas(empty_store: Store, request: pytest.FixtureRequest) -> None:
    # Given one database migrated, and one made from schema.py
    migrate.ensure_schema(empty_store)
    made = open_store(request.getfixturevalue("sqlite_url" if empty_store.sqlite else "postgres_url"))
    # Then both hold the same, in the database's own words
    try:
        migrated, declared = definitions(empty_store), definitions(made)
    finally:
        made.close()
    assert migrated == declared
    assert any("one_live_attempt_per_number" in name for name, _ in declared)
    assert any(re.search(r"WHERE .*state", what) for _, what in declared)


def test_the_comparison_sees_a_missing_partial_index(empty_store: Store, request: pytest.FixtureRequest) -> None:
    migrate.ensure_schema(empty_store)
    before = definitions(empty_store)
    with empty_store.write() as connection:
        connection.execute(text("DROP INDEX one_live_attempt_per_number"))
        connection.execute(text("CREATE UNIQUE INDEX one_live_attempt_per_number ON attempts (phone)"))
    assert definitions(empty_store) != before


def test_only_an_empty_or_old_database_is_not_current(empty_store: Store) -> None:
    assert migrate.current(empty_store) is None
    assert not migrate.is_current(empty_store)
    migrate.ensure_schema(empty_store)
    assert migrate.current(empty_store) == migrate.HEAD
    assert migrate.is_current(empty_store)
    migrate.ensure_schema(empty_store)
    migrate.upgrade_store(empty_store)  # a second time changes nothing
    assert migrate.is_current(empty_store)


def test_two_at_once_make_the_tables_once(empty_store: Store) -> None:
    together = Barrier(3)

    def one(_number: int) -> None:
        together.wait()
        migrate.ensure_schema(empty_store)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(one, range(3)))  # raises what one of them raised
    assert migrate.is_current(empty_store)


def test_a_revision_that_fails_leaves_nothing_behind(empty_store: Store) -> None:
    # Given a table of ours that somebody else made
    with empty_store.write() as connection:
        connection.execute(text("CREATE TABLE attempts (x INTEGER)"))
    # When the upgrade stumbles over it
    with pytest.raises(Exception, match="attempts"):
        migrate.ensure_schema(empty_store)
    # Then not one other table was made
    with empty_store.read() as connection:
        assert not connection.dialect.has_table(connection, "campaigns")
    assert migrate.current(empty_store) is None


def test_a_database_of_a_newer_program_is_left_alone(empty_store: Store) -> None:
    migrate.ensure_schema(empty_store)
    with empty_store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NotPossible, match="9999"):
        migrate.ensure_schema(empty_store)


def test_upgrade_by_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fresh.sqlite'}"
    assert migrate.upgrade(url) == migrate.HEAD
    store = open_store(url)
    assert migrate.is_current(store)
    store.close()


def test_the_revision_that_is_written_down_is_the_newest_one() -> None:
    assert migrate.head() == migrate.HEAD


def test_a_current_database_is_recognised_without_loading_alembic(sqlite_url: str) -> None:
    script = (
        "import sys; from campaign.storage import migrate; from campaign.storage.engine import open_store;"
        f"print(migrate.is_current(open_store({sqlite_url!r})), 'alembic' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["False", "False"]
