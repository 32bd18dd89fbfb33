"""Fixtures every test may ask for. A missing server skips here, with the reason, and fails in CI (``CI`` is set)."""

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import redis
from hypothesis import settings
from sqlalchemy import create_engine, text

from campaign.storage.engine import Store, open_store
from campaign.storage.schema import metadata
from tests.clock import FakeClock
from tests.servers import PostgresServer, RedisServer, ServerMissing

# Two shared cores: a slow example is no fault. In CI the same examples every time, so that red means changed code.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# A shell that runs the suite in the background ignores Ctrl-C for it and all its children, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TEMPLATE = "template_campaign"
WEIGHTS = {"chaos": 40, "slow": 30}
"""Of a test so marked; any other weighs 1 and takes a third of a second."""
Server = TypeVar("Server", RedisServer, PostgresServer)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files by weight, the heaviest first: whoever of several processes took a long one last would leave the others
    idle, and were all the long ones taken first they would starve each other."""
    weights: Counter[Path] = Counter()
    for item in items:
        weights[item.path] += max((WEIGHTS.get(mark.name, 1) for mark in item.iter_markers()), default=1)
    items.sort(key=lambda item: -weights[item.path])


def _started(make: Callable[[], Server]) -> Server:
    try:
        server = make()
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    server.start()
    return server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that a test may stop, kill and start again; it must leave it running."""
    server = _started(RedisServer)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """One Redis for the session, as other tests left it; see ``clean_redis_url``."""
    return redis_server.url


@pytest.fixture
def clean_redis_url(redis_server: RedisServer) -> str:
    """The same Redis, emptied."""
    with redis.Redis(port=redis_server.port) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL with a template database that holds the schema."""
    server = _started(PostgresServer)
    server.create_template(TEMPLATE, _make_tables)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def postgres_url_base(postgres_server: PostgresServer) -> str:
    """The server's URL without a database name."""
    return postgres_server.base_url


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database with the tables made, dropped afterwards."""
    url = postgres_server.create_database(TEMPLATE)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def empty_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database without tables."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def _shared_postgres_url(postgres_server: PostgresServer) -> str:
    return postgres_server.create_database(TEMPLATE)


@pytest.fixture
def emptied_postgres_url(_shared_postgres_url: str) -> str:
    """One database for many tests that only write rows, emptied: to make one and drop it takes a third of a second."""
    engine = create_engine(_shared_postgres_url)
    with engine.begin() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        connection.execute(text(f"{others} WHERE datname = current_database() AND pid <> pg_backend_pid()"))
        connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY"))
    engine.dispose()
    return _shared_postgres_url


@pytest.fixture(scope="session")
def _sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "campaign.sqlite"
    _make_tables(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_with_tables: Path) -> str:
    """A fresh SQLite file with the tables made."""
    return f"sqlite:///{shutil.copy(_sqlite_with_tables, tmp_path / 'campaign.sqlite')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Every test that asks for it runs on both databases."""
    name = "sqlite_url" if request.param == "sqlite" else "emptied_postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(database_url: str, clock: FakeClock) -> Iterator[Store]:
    """An empty database with tables, on SQLite and on PostgreSQL, that tells ``clock``'s time."""
    opened = open_store(database_url, clock)
    yield opened
    opened.close()


def _make_tables(url: str) -> None:
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
