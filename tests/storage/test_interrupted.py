"""Ctrl-C in the middle of a database's answer is still Ctrl-C."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from campaign.storage.engine import Store, open_store


@pytest.fixture
def on_postgresql(empty_postgres_url: str) -> Iterator[Store]:
    opened = open_store(empty_postgres_url)
    yield opened
    opened.close()


def test_an_interrupt_that_the_driver_covers_with_an_error_of_its_own(
    on_postgresql: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a connection in the pool, which is asked whether it still lives before it is used again
    def interrupted(cursor: psycopg.Cursor[Any], *_words: Any, **_more: Any) -> None:
        cursor.connection.pgconn.send_query(b"SELECT pg_sleep(1)")
        raise KeyboardInterrupt

    # When Ctrl-C comes between that question and its answer
    monkeypatch.setattr(psycopg.Cursor, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised, on_postgresql.read():
        pass
    monkeypatch.undo()
    # Then it is what arrives, though the driver raised something else over it
    assert isinstance(raised.value.__cause__, ProgrammingError)
    # And the store goes on
    with on_postgresql.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_an_error_without_an_interrupt_is_itself(store: Store) -> None:
    with pytest.raises(SQLAlchemyError), store.read() as connection:
        connection.execute(text("SELECT 1 FROM nowhere"))
