"""Faults by name: a full disk, a read-only database, a Redis that refuses writes, a poison target."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import select

from campaign.domain.states import TargetState
from campaign.storage.schema import targets
from tests.chaos.lab import LINE, Lab, lab, make_tables
from tests.chaos.midway import CALM, PLAN, dialling, ends_well, quiet
from tests.chaos.processes import Child
from tests.chaos.verdict import judge
from tests.engine import add_campaign, numbers
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.chaos


@pytest.fixture
def on_postgresql(redis_server: RedisServer, postgres_url: str, tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path, redis_server, postgres_url, line=CALM) as here:
        yield here


@pytest.fixture
def on_long_leases(redis_server: RedisServer, postgres_url: str, tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path, redis_server, postgres_url, line={**CALM, "timeout": "30s"}) as here:
        yield here


@pytest.fixture
def on_sqlite(redis_server: RedisServer, tmp_path: Path) -> Iterator[Lab]:
    url = make_tables(f"sqlite:///{tmp_path / 'campaign.sqlite'}")
    with lab(tmp_path, redis_server, url, line=CALM) as here:
        yield here


@contextmanager
def full_disk(worker: Child) -> Iterator[None]:
    """No file of the worker's processes can grow, its log included."""
    pids = [worker.pid, *worker.forked()]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    for pid in {*pids, *worker.forked()}:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_full_disk_stops_the_dialling_and_space_starts_it_again(on_sqlite: Lab) -> None:
    worker = dialling(on_sqlite)
    # When the disk is full
    with full_disk(worker):
        # Then within a second or two nothing is sent any more: no commit, no call
        assert quiet(on_sqlite)
        assert worker.alive()
    # When there is space again, everything goes on, and nobody was rung twice
    ends_well(on_sqlite)


def test_a_read_only_database_stops_the_dialling(on_postgresql: Lab, postgres_server: PostgresServer) -> None:
    dialling(on_postgresql)
    name = on_postgresql.store.engine.url.database
    where = f"host=127.0.0.1 port={postgres_server.port} user=campaign dbname=postgres"
    kick = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(where, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        admin.execute(kick, (name,))
        assert quiet(on_postgresql)
        admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        admin.execute(kick, (name,))
    on_postgresql.store.engine.dispose()
    ends_well(on_postgresql)


def test_a_redis_that_refuses_writes_costs_only_time(on_postgresql: Lab, redis_server: RedisServer) -> None:
    worker = dialling(on_postgresql)
    with redis.Redis(port=redis_server.port) as client:
        try:
            # When Redis refuses the acknowledgements that Celery sends it
            client.execute_command("ACL", "SETUSER", "default", "-zrem")
            # Then the worker lives on
            assert worker.wait(3.0) is None
            # When Redis answers every write with OOM (as it does with MISCONF when its own disk is full)
            client.execute_command("ACL", "SETUSER", "default", "+zrem")
            client.config_set("maxmemory", "1")
            # Then no pace can be had, so nothing is sent
            assert quiet(on_postgresql)
            assert worker.alive()
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+zrem")
            client.config_set("maxmemory", "0")
    # And when it takes writes again, nobody needs to restart anything
    ends_well(on_postgresql)


def test_a_broker_that_falls_silent_is_left_and_found_again(on_postgresql: Lab) -> None:
    dialling(on_postgresql)
    # When Redis neither answers nor hangs up, and after that only the old connections stay dead
    on_postgresql.broker.become(blackhole=True)
    assert quiet(on_postgresql)
    on_postgresql.broker.become(blackhole=False)
    # Then the workers notice by themselves and go on
    ends_well(on_postgresql)


def test_a_database_that_is_away_for_a_while_leaves_no_doubt(on_long_leases: Lab) -> None:
    dialling(on_long_leases)
    assert on_long_leases.database is not None
    # When the database is away for some seconds, with calls in the air
    on_long_leases.database.refuse()
    assert quiet(on_long_leases)
    on_long_leases.database.heal()
    # Then their answers were kept and are recorded now: nobody has to be looked for
    ends_well(on_long_leases)
    assert judge(on_long_leases.store, on_long_leases.simulator.ledger("calls")).doubts == 0


POISONED = '''
"""The celery app, in which dialling one number is fatal, and dialling another takes more memory than there is."""
import os, resource, signal
from celery.signals import worker_process_init
from campaign.providers.sandbox import Sandbox
from workers import app

healthy = Sandbox.originate

@worker_process_init.connect
def limit(**_):
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + 400 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

async def originate(self, call):
    if call.phone == "{fatal}":
        os.kill(os.getpid(), signal.SIGKILL)
    if call.phone == "{hungry}":
        hoard = []
        while True:
            hoard.append(bytearray(16 * 2**20))
    return await healthy(self, call)

Sandbox.originate = originate
'''


@pytest.mark.slow
def test_targets_that_kill_their_worker_or_eat_its_memory_are_held_and_all_others_are_dialled(
    redis_server: RedisServer, postgres_url: str, tmp_path: Path
) -> None:
    # Given a line in use, and twenty numbers, all claimed together; one kills whoever dials it, as the kernel does
    # where memory is short, and one needs more memory than its process may have
    quick = {"timeout": "1s", "settle_after": "500ms", "settle_grace": "0s"}
    with lab(tmp_path, redis_server, postgres_url, {"mix": "answered=100"}, quick) as here:
        healthy, together = numbers(23)[:3], numbers(23)[3:]
        fatal, hungry = together[7], together[12]
        (tmp_path / "poisoned.py").write_text(POISONED.format(fatal=fatal, hungry=hungry))
        child = here.worker("worker", 2, app="poisoned")
        here.beat()
        add_campaign(here.store, healthy, line=LINE, plan=PLAN, name="before")
        assert here.wait(here.completed), f"{here.target_states()} {here.states()} {here.logs()}"
        add_campaign(here.store, together, line=LINE, plan=PLAN)
        # When they have been tried until they are held
        assert here.wait(here.completed, 240.0), f"{here.target_states()} {here.states()} {here.logs()}"
        # Then they alone are held, after three times, and every other number was rung once
        with here.store.read() as connection:
            held = connection.execute(select(targets).where(targets.c.state == TargetState.HELD)).mappings().all()
        verdict = judge(here.store, here.simulator.ledger("calls"))
        assert {row["phone"] for row in held} == {fatal, hungry}, verdict.evidence()
        assert all("3 workers died" in row["reason"] for row in held)
        assert verdict.clean, verdict.evidence()
        assert verdict.rings == 21
        assert child.alive()
        assert "MemoryError" in here.logs()
