"""The same commands with a broker and a database server: they only write to the database and watch."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.conftest import ROOT, Cli
from tests.servers import dies_with_us

pytestmark = pytest.mark.slow

WITHIN = 120.0
WORKER = (
    *("-m", "celery", "-A", "workers", "worker", "--beat", "--pool=threads", "--concurrency=4"),
    *("-Q", "dial,poll,intake,control", "--without-gossip", "--without-mingle", "--loglevel=WARNING"),
)


@pytest.fixture
def servers(cli: Cli, empty_postgres_url: str, clean_redis_url: str) -> Cli:
    """Commands that know a database server without tables, a broker and a simulator."""
    process = cli.start("sandbox", "--port", "0", "--time-scale", "20", "--announce")
    assert process.stdout is not None
    cli.environ["CAMPAIGN_SANDBOX_URL"] = json.loads(process.stdout.readline())["url"]
    cli.environ["CAMPAIGN_DATABASE_URL"] = empty_postgres_url
    cli.environ["CAMPAIGN_BROKER_URL"] = clean_redis_url
    return cli


@pytest.fixture
def worker(servers: Cli) -> Iterator[None]:
    """A worker with a beat, as production has them, at a home of its own; the tables are made first."""
    assert servers("db", "upgrade").code == 0
    environ = servers.environ | {"CAMPAIGN_HOME": str(servers.folder / "home-of-the-worker")}
    process = subprocess.Popen(
        [sys.executable, *WORKER, "-s", str(servers.folder / "beat")], cwd=ROOT, env=environ,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=dies_with_us(signal.SIGKILL),
    )  # fmt: skip
    yield
    process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.mark.usefixtures("worker")
def test_a_file_to_its_end_through_workers_elsewhere(servers: Cli) -> None:
    # Given workers that know nothing of this command
    rows = [f"+1415555{serial:04d}" for serial in range(100, 120)]
    servers.write("list.csv", "\n".join(["Mobile", *rows, *rows[:2], "12", ""]))
    # When a file is run
    said = servers("run", "list.csv", "--retry", "none", "--json", within=WITHIN)
    # Then a worker read it, workers dialled it, and this command started nothing and kept nothing at home
    assert said.code == 0, said.err
    assert said.json["state"] == "completed"
    assert said.json["rows"] == {"read": 23, "accepted": 20, "duplicates": 2, "rejected": 1}
    assert said.json["targets"]["done"] == 20
    assert not servers.home.exists()
    assert (servers.folder / "list.results.csv").exists()
    # And detached, it returns at once and somebody else may watch
    detached = servers("run", "list.csv", "--retry", "none", "--detach", "--json")
    assert detached.json["campaign"] == "list-2"
    assert servers("watch", "list-2", "-q", "--json", within=WITHIN).json["targets"]["done"] == 20
    # And the doctor finds everything in reach
    doctor = servers("doctor", "--json")
    assert doctor.code == 0
    assert {row["what"]: row["result"] for row in doctor.json}["workers"] == "ok"


def test_up_only_watches(servers: Cli) -> None:
    servers("db", "upgrade")
    up = servers.start("up")
    assert up.stderr is not None
    assert "CAMPAIGN_BROKER_URL is set" in up.stderr.readline()
    up.send_signal(signal.SIGINT)
    assert up.wait(30) == 0
    assert not servers.home.exists()


def test_a_campaign_that_nobody_dials_says_so(servers: Cli) -> None:
    servers("db", "upgrade")
    servers("create", "recall")
    assert "celery -A workers worker" in servers("start", "recall").err
    assert "worker" in " ".join(servers("why", "recall", "--json").json["why"])
