"""A SQLite file that takes no writes for a while: connections that were opened meanwhile are not kept."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from campaign.storage.engine import Store, open_store

WRITE = text("INSERT INTO words VALUES ('again')")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = open_store(f"sqlite:///{tmp_path / 'campaign.sqlite'}")
    with store.write() as connection:
        connection.execute(text("CREATE TABLE words (word TEXT)"))
    store.close()
    return tmp_path / "campaign.sqlite"


def refused(store: Store) -> bool:
    try:
        with store.write() as connection:
            connection.execute(WRITE)
    except OperationalError:
        return True
    return False


def test_a_connection_that_takes_no_writes_is_replaced(path: Path) -> None:
    # Given a connection in the pool that answers to writes as one does that was opened read-only
    store = open_store(f"sqlite:///{path}")
    with store.read() as connection:
        connection.execute(text("PRAGMA query_only=ON"))
    # When it is written to, Then that fails once
    assert [refused(store) for _ in range(3)] == [True, False, False]
    store.close()
