"""A database that cannot be written: PostgreSQL on a full disk, SQLite in a file that has become read-only."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, literal, select, text

from campaign.domain.states import AttemptState
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, campaigns, targets
from tests.chaos.lab import Lab, lab, make_tables
from tests.chaos.midway import CALM, dialling, ends_well, quiet
from tests.chaos.processes import Child
from tests.engine import add_campaign, numbers
from tests.servers import PostgresServer, RedisServer

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

SEGMENT = 2**20


class SmallPostgres(PostgresServer):
    """With segments of write-ahead log so small that tables grow beyond them: the largest file that it may write can be
    limited to that, and then its tables cannot grow, as on a full disk."""

    segment_bytes = SEGMENT


@pytest.fixture
def small_postgres(postgres_server: PostgresServer) -> Iterator[SmallPostgres]:
    """``postgres_server`` says whether one can be had at all."""
    server = SmallPostgres()
    server.start()
    yield server
    server.remove()


@contextmanager
def full_disk(server: PostgresServer, worker: Child) -> Iterator[None]:
    """No table that is longer than one segment can grow. ``worker`` stands still until all of the server knows: a busy
    machine may take as long over that as the worker over its campaign."""
    with worker.frozen():
        server.limit_files(SEGMENT)
    yield
    server.limit_files(None)


def grown(store: Store) -> None:
    """Tables that have had many rows, all deleted and none of them forgotten yet: new rows need new blocks. Attempts
    too, as a target's new version may take the place of its last one."""
    with store.write() as connection:
        for table in ("targets", "attempts"):
            connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = off)"))
    add_campaign(store, numbers(15_000), name="of long ago", line="none")
    with store.write() as connection:
        connection.execute(insert(attempts).from_select(list(OF_LONG_AGO), select(*OF_LONG_AGO.values())))
        for each in (attempts, targets, campaigns):
            connection.execute(delete(each))


OF_LONG_AGO = {
    "target_id": targets.c.id,
    "campaign_id": targets.c.campaign_id,
    "line": literal("none"),
    "phone": targets.c.phone,
    "our_ref": targets.c.phone,
    "state": literal(AttemptState.RELEASED),
    "claimed_at": literal(0.0),
}
"""An attempt per target."""


def test_postgresql_on_a_full_disk_stops_the_dialling_and_space_starts_it_again(
    redis_server: RedisServer, small_postgres: SmallPostgres, tmp_path: Path
) -> None:
    url = make_tables(small_postgres.create_database())
    with lab(tmp_path, redis_server, url, line=CALM) as here:
        grown(here.store)
        worker = dialling(here)
        # When the tables can grow no more
        with full_disk(small_postgres, worker):
            # Then nothing is sent any more: what is not committed is not dialled
            assert quiet(here)
            assert worker.alive()
            assert "could not extend file" in small_postgres.log()
        # When there is space again, everything goes on without a person, and nobody was rung twice
        ends_well(here)


@contextmanager
def read_only(here: Lab, worker: Child) -> Iterator[None]:
    """The file takes no writes: made immutable under the worker's hands where this machine lets us, else opened as
    read-only by a worker that takes the other's place."""
    path = Path(str(here.store.engine.url.database))
    files = [str(each) for each in (path, path.with_name(f"{path.name}-wal")) if each.exists()]
    if immutable("+i", files):
        yield
        assert immutable("-i", files)
        return
    url = here.environment["CAMPAIGN_DATABASE_URL"]
    restart(here, worker, f"sqlite:///file:{path}?mode=ro&uri=true")
    yield
    restart(here, worker, url)


def immutable(flag: str, files: list[str]) -> bool:
    chattr = shutil.which("chattr")
    return (
        chattr is not None and subprocess.run([chattr, flag, *files], capture_output=True, check=False).returncode == 0
    )


def restart(here: Lab, worker: Child, url: str) -> None:
    worker.bury()
    worker.environment = {**worker.environment, "CAMPAIGN_DATABASE_URL": url}
    worker.start()


def test_a_read_only_sqlite_stops_the_dialling_and_writes_start_it_again(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    url = make_tables(f"sqlite:///{tmp_path / 'campaign.sqlite'}")
    with lab(tmp_path, redis_server, url, line=CALM) as here:
        worker = dialling(here)
        with read_only(here, worker):
            assert quiet(here)
            assert worker.alive()
        ends_well(here)
