"""The short kill loop: the same as ``make chaos``, small enough for every push."""

from pathlib import Path

import pytest

from tests.chaos.kill_loop import kill_loop
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.chaos


def test_on_postgresql(redis_server: RedisServer, postgres_server: PostgresServer, tmp_path: Path) -> None:
    outcome = kill_loop(250, 11, redis_server, postgres_server, tmp_path, fire_for=20.0)
    print(outcome.report())
    assert outcome.clean, outcome.report()


def test_on_sqlite(redis_server: RedisServer, tmp_path: Path) -> None:
    outcome = kill_loop(120, 12, redis_server, None, tmp_path, fire_for=12.0)
    print(outcome.report())
    assert outcome.clean, outcome.report()
