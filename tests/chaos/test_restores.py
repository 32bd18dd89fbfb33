"""A backup is restored, or a failover loses the tail: nobody is rung again for a call that the database forgot."""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from campaign.domain.dispositions import Disposition
from campaign.domain.durations import parse_duration
from campaign.domain.plan import Plan
from campaign.domain.states import TargetState
from campaign.services import reconciling, restoring
from campaign.storage.schema import attempts
from tests.chaos.lab import LINE, Lab, lab, make_tables
from tests.chaos.verdict import judge
from tests.engine import add_campaign, numbers
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.chaos

CALM = {"calls_per_second": 20.0, "timeout": "1s"}
MIX = {"mix": "answered=60,busy=40"}
PLAN = Plan(retry={Disposition.BUSY: (parse_duration("1s"),)})
MANY = 60
OTHER_DATABASE = "f" * 32
"""What a database without a row of its own would be called; ours has one."""


@dataclass
class Site:
    """A lab whose database can be put back to what it was."""

    here: Lab
    save: Callable[[], None]
    restore: Callable[[], None]
    _started: int = field(default=0)

    def start(self) -> None:
        self._started += 1
        self.here.worker(f"worker{self._started}", 2)
        self.here.beat(f"beat{self._started}")

    def stop(self) -> None:
        """As abruptly as a machine that dies."""
        self.here.bury()
        self.here.store.engine.dispose()

    def placed(self) -> int:
        return self.here.simulator.ledger().placed

    def until(self, what: Callable[[], object], seconds: float = 60.0) -> None:
        assert self.here.wait(what, seconds), f"{self.here.target_states()} {self.here.states()} {self.here.logs()}"

    def sent(self) -> int:
        return self.here.simulator.ledger().requests

    def locked(self) -> str | None:
        return restoring.locked(self.here.store)

    def ends_well(self) -> None:
        self.until(self.here.completed, 150.0)
        verdict = judge(self.here.store, self.here.simulator.ledger("calls"), [Disposition.BUSY])
        assert verdict.clean, verdict.evidence()
        assert self.here.target_states() == {TargetState.DONE: MANY}


@pytest.fixture
def on_postgresql(
    redis_server: RedisServer, postgres_server: PostgresServer, postgres_url: str, tmp_path: Path
) -> Iterator[Site]:
    name = make_url(postgres_url).database
    saved = f"{name}_saved"

    def run(*statements: str) -> None:
        where = f"host=127.0.0.1 port={postgres_server.port} user=campaign dbname=postgres"
        with psycopg.connect(where, autocommit=True) as admin:
            for statement in statements:
                admin.execute(statement)

    def clear(database: str | None) -> str:
        return f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"

    def save() -> None:
        run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", clear(name), f"CREATE DATABASE {saved} TEMPLATE {name}",
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # fmt: skip

    def restore() -> None:
        run(f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {saved}")

    with lab(tmp_path, redis_server, postgres_url, MIX, CALM) as here:
        yield Site(here, save, restore)
    run(f"DROP DATABASE IF EXISTS {saved} WITH (FORCE)")


@pytest.fixture
def on_sqlite(redis_server: RedisServer, tmp_path: Path) -> Iterator[Site]:
    file, copy = tmp_path / "campaign.sqlite", tmp_path / "copy.sqlite"
    url = make_tables(f"sqlite:///{file}")

    def save() -> None:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)

    def restore() -> None:
        for left in tmp_path.glob("campaign.sqlite-*"):
            left.unlink()
        shutil.copyfile(copy, file)

    with lab(tmp_path, redis_server, url, MIX, CALM) as here:
        yield Site(here, save, restore)


@pytest.fixture(params=["postgresql", "sqlite"])
def site(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(f"on_{request.param}")
    return found


def dialled_past_a_backup(site: Site) -> None:
    """A campaign in the middle, a backup of it, and twenty more calls that the backup does not know."""
    add_campaign(site.here.store, numbers(MANY), line=LINE, plan=PLAN)
    site.start()
    site.until(lambda: site.placed() >= 10)
    site.save()
    at_backup = site.placed()
    site.until(lambda: site.placed() >= at_backup + 20)


def lost_and_found(site: Site) -> int:
    """Calls that the database had forgotten and that were found at the provider."""
    with site.here.store.read() as connection:
        found = select(func.count()).where(attempts.c.lost_until.is_not(None), attempts.c.counted)
        return connection.execute(found.select_from(attempts)).scalar_one()


def test_after_a_restore_nothing_is_sent_until_what_was_lost_is_looked_for(site: Site) -> None:
    # Given a backup, calls made after it, all workers dead, and the backup restored
    dialled_past_a_backup(site)
    site.stop()
    site.restore()
    sent = site.sent()
    # When workers start again
    site.start()
    # Then dispatch is locked, it says why and what to do, and not one request leaves
    site.until(site.locked, 40.0)
    assert "older backup" in str(site.locked())
    assert "campaign db reconcile" in str(site.locked())
    time.sleep(3.0)
    assert site.sent() == sent
    # When a person has asked for what was lost, Then all ends as if nothing had been: one ring for one intent
    reconciling.reconcile(site.here.store, OTHER_DATABASE)
    site.until(lambda: site.locked() is None)
    site.ends_well()
    assert lost_and_found(site) >= 10
    # And whoever starts later finds nothing to lock
    site.stop()
    site.start()
    time.sleep(4.0)
    assert site.locked() is None


def test_a_failover_that_loses_the_tail_is_noticed_by_workers_that_run(on_postgresql: Site) -> None:
    site = on_postgresql
    # Given workers in the middle of a campaign, and no memory of it but their own
    dialled_past_a_backup(site)
    # When the database becomes what it was twenty calls ago
    site.restore()
    # Then they lock it themselves, and nothing is sent any more but what was in the air
    site.until(site.locked, 40.0)
    time.sleep(2.0)
    sent = site.sent()
    time.sleep(2.0)
    assert site.sent() == sent
    # And after a person's word everything ends, one ring for one intent
    reconciling.reconcile(site.here.store, OTHER_DATABASE)
    site.ends_well()
    assert lost_and_found(site) >= 10
