"""One engine for all tests of a file: two workers and two beats on Redis and PostgreSQL, a line for each test."""

from collections.abc import Iterator

import pytest
import redis

from tests.scenarios.kit import Stage, stage
from tests.servers import PostgresServer, RedisServer

LINES = {
    "conflict": {"calls_per_second": 20.0},
    "paused": {"calls_per_second": 20.0},
    "listed": {"calls_per_second": 20.0},
    "again": {"calls_per_second": 50.0},
    "shared": {"calls_per_second": 40.0},
    "limits": {"calls_per_second": 20.0},
    "seconds": {"calls_per_second": 40.0},
    "date": {"calls_per_second": 40.0},
    "no-key": {"calls_per_second": 10.0},
    "no-access": {"calls_per_second": 10.0},
    "no-credit": {"calls_per_second": 10.0},
}


@pytest.fixture(scope="module")
def engine(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, postgres_server: PostgresServer
) -> Iterator[Stage]:
    """Each line has an account of its own in the ledger, of its own name. Calls are short."""
    with redis.Redis(port=redis_server.port) as broker:
        broker.flushall()
    url = postgres_server.create_database()
    lines = {name: {"kind": "sandbox", "account": name, **words} for name, words in LINES.items()}
    with stage(
        tmp_path_factory.mktemp("engine"),
        database_url=url,
        broker_url=redis_server.url,
        lines=lines,
        simulator={"time_scale": 100},
    ) as playing:
        for name in ("one", "two"):
            playing.worker(2, name)
            playing.beat(f"beat-{name}")
        playing.wait(playing.ticks)
        yield playing
    postgres_server.drop_database(url)
