"""A worker or beat that the servers do not let in ends at once with the cause and an exit code, having done nothing."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
import redis

from campaign.domain.errors import OutOfReach
from tests.chaos.forked import ROOT
from tests.chaos.proxy import Proxy
from tests.servers import PostgresServer, RedisServer, free_port
from workers import preflight

pytestmark = pytest.mark.slow

WITHIN = 150.0
WORKER = ("worker", "--queues=dial,poll,intake,control", "--concurrency=1")


@pytest.fixture(scope="module")
def locked_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    with redis.Redis(port=server.port) as client:
        client.config_set("requirepass", "right-password")
    yield server
    server.remove()


@pytest.fixture(scope="module")
def locked_postgres(postgres_server: PostgresServer) -> str:
    """host:port of the PostgreSQL, in which the role ``locked`` needs a password."""
    where = f"host=127.0.0.1 port={postgres_server.port} user=campaign dbname=postgres"
    rules = postgres_server.folder / "data" / "pg_hba.conf"
    rules.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    with psycopg.connect(where, autocommit=True) as admin:
        admin.execute("CREATE ROLE locked LOGIN PASSWORD 'right-password'")
        admin.execute("SELECT pg_reload_conf()")
    return f"127.0.0.1:{postgres_server.port}"


def started(folder: Path, environ: Mapping[str, str], *command: str) -> tuple[int, str]:
    """Exit code and everything said."""
    full = {**os.environ, "PYTHONPATH": str(ROOT), "CAMPAIGN_HOME": str(folder), **environ}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers", *command],
        env=full, cwd=folder, capture_output=True, text=True, timeout=WITHIN, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("command", [WORKER, ("beat",)], ids=["worker", "beat"])
@pytest.mark.parametrize("user", ["", ":wrong-password"])
def test_a_broker_that_refuses_us(
    command: tuple[str, ...], user: str, locked_redis: RedisServer, sqlite_url: str, tmp_path: Path
) -> None:
    broker = f"redis://{user}{'@' if user else ''}127.0.0.1:{locked_redis.port}/0"
    code, said = started(tmp_path, {"CAMPAIGN_BROKER_URL": broker, "CAMPAIGN_DATABASE_URL": sqlite_url}, *command)
    assert code == 5, said
    assert "CAMPAIGN_BROKER_URL" in said
    assert "wrong-password" not in said
    assert "ready" not in said


def test_a_broker_that_takes_its_time_to_refuse_us_is_asked_again(
    locked_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a broker that is silent for longer than one asking waits
    monkeypatch.setattr(preflight, "ANSWER_WITHIN", 0.2)
    with Proxy(("127.0.0.1", locked_redis.port)) as broker:
        broker.become(blackhole=True)
        later = threading.Timer(0.5, broker.heal)
        later.start()
        # When a beat is about to start, Then it hears the refusal, which Celery would wait out for ever
        with pytest.raises(OutOfReach, match="refuses us"):
            preflight.let_in(f"redis://127.0.0.1:{broker.port}/0")
        later.join()


@pytest.mark.parametrize(("address", "cause"), [
    ("locked:wrong-password@{}/postgres", "failed for user"),
    ("locked@{}/postgres", "no password"),
    ("nobody-of-ours@{}/postgres", "does not exist"),
    ("campaign@{}/no_such_database", "does not exist"),
])  # fmt: skip
def test_a_database_that_refuses_us(
    address: str, cause: str, locked_postgres: str, clean_redis_url: str, tmp_path: Path
) -> None:
    url = f"postgresql+psycopg://{address.format(locked_postgres)}"
    code, said = started(tmp_path, {"CAMPAIGN_BROKER_URL": clean_redis_url, "CAMPAIGN_DATABASE_URL": url}, *WORKER)
    assert code == 5, said
    assert "CAMPAIGN_DATABASE_URL" in said
    assert cause in said
    assert "wrong-password" not in said
    # And it has not begun: no worker ever listened to a queue
    with redis.Redis.from_url(clean_redis_url) as client:
        assert client.keys("*") == []


def test_a_database_without_tables(empty_postgres_url: str, clean_redis_url: str, tmp_path: Path) -> None:
    code, said = started(
        tmp_path, {"CAMPAIGN_BROKER_URL": clean_redis_url, "CAMPAIGN_DATABASE_URL": empty_postgres_url}, *WORKER
    )
    assert code == 4, said
    assert "campaign db upgrade" in said


def test_a_line_that_cannot_work(sqlite_url: str, clean_redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "lines.toml").write_text('[lines.a]\nprovider = "no-such"\n')
    code, said = started(
        tmp_path, {"CAMPAIGN_BROKER_URL": clean_redis_url, "CAMPAIGN_DATABASE_URL": sqlite_url}, *WORKER
    )
    assert code == 2, said
    assert "no-such" in said


def test_servers_that_are_only_away_are_waited_for(sqlite_url: str, tmp_path: Path) -> None:
    """A worker is often quicker to start than its broker, and nobody would start it again."""
    full = {
        **os.environ, "PYTHONPATH": str(ROOT), "CAMPAIGN_HOME": str(tmp_path), "CAMPAIGN_DATABASE_URL": sqlite_url,
        "CAMPAIGN_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0",
    }  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "workers", *WORKER], env=full, cwd=tmp_path, stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + WITHIN
        while "Cannot connect" not in (said := (tmp_path / "log").read_text()):
            assert worker.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.1)
    finally:
        worker.kill()
        worker.wait(10)
