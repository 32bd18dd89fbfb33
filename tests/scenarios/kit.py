"""Whole campaigns on real processes: simulator, workers, beat, Redis, PostgreSQL, or everything embedded on SQLite.

The simulator's ledger is the truth about what rang; the database is what we believe. Every process that is started
here ends with the block that started it, whatever fails inside.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from campaign.domain.plan import Plan
from campaign.domain.states import CampaignState
from campaign.intake.reading import Reading
from campaign.providers.simulator import SimulatorHandle, simulator_options, simulator_process
from campaign.services import campaigns as campaign_service
from campaign.services import results, uploads
from campaign.storage import process_rows
from campaign.storage.engine import Store, open_store
from campaign.storage.migrate import ensure_schema
from campaign.storage.schema import attempts, campaigns, targets
from tests.chaos.forked import ROOT
from tests.chaos.processes import Child, beat, worker
from tests.providers.simulator.lines import CALLER, LINES
from tests.servers import dies_with_us

TOKEN = "canary-key-7b1f"
WORDS = {"CAMPAIGN_SCENARIO_KEY": TOKEN}


@dataclass(slots=True)
class Stage:
    """What a scenario plays on. ``environment`` is every process's; ``store`` looks past them into the database."""

    folder: Path
    store: Store
    environment: dict[str, str] = field(repr=False)
    simulator: SimulatorHandle
    children: list[Child] = field(default_factory=list)

    # --- processes

    def worker(self, processes: int = 2, name: str = "worker", *more: str) -> Child:
        """A started prefork worker on every queue."""
        return self._started(worker(name, processes, self.environment, self.folder, *more))

    def beat(self, name: str = "beat") -> Child:
        return self._started(beat(name, self.environment, self.folder))

    def _started(self, child: Child) -> Child:
        child.start()
        self.children.append(child)
        return child

    def bury(self) -> None:
        for child in self.children:
            child.bury()
        self.children.clear()

    def forked(self) -> list[int]:
        """Every process that dials."""
        return [pid for child in self.children for pid in child.forked()]

    def logs(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def ticks(self) -> bool:
        """Whether a tick has been carried out: everything is up."""
        with self.store.read() as connection:
            return process_rows.last_seen(connection) is not None

    # --- campaigns

    def campaign(
        self, file: Path, line: str, name: str = "recall", plan: Plan | None = None, region: str = "US"
    ) -> str:
        """Create, upload (read here, as the intake task would), start."""
        made = campaign_service.create(self.store, name, line, plan or Plan(), region)
        with uploads.open_file(file) as source:
            received = uploads.receive(self.store, made.id, source, file.name, Reading(region=region))
        uploads.read_upload(self.store, received.id)
        campaign_service.start(self.store, name)
        return name

    def summary(self, name: str = "recall") -> dict[str, Any]:
        return results.summary(self.store, name)

    def wait_completed(self, name: str = "recall", seconds: float = 90.0) -> dict[str, Any]:
        """The summary of the completed campaign. Fails with what was reached where it takes longer."""
        self.wait(lambda: self.state(name) is CampaignState.COMPLETED, seconds, lambda: str(self.summary(name)))
        return self.summary(name)

    def wait(
        self, what: Callable[[], Any], seconds: float = 90.0, tell: Callable[[], str] = str, every: float = 0.1
    ) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, f"not within {seconds} s: {tell()}\n{self.logs()[-3000:]}"
            time.sleep(every)

    def state(self, name: str = "recall") -> CampaignState:
        with self.store.read() as connection:
            found = connection.execute(select(campaigns.c.state).where(campaigns.c.name == name)).scalar_one()
        return CampaignState(found)

    def count(self, state: str) -> int:
        """Attempts in a state."""
        with self.store.read() as connection:
            query = select(func.count()).select_from(attempts).where(attempts.c.state == state)
            return int(connection.execute(query).scalar_one())

    def rows(self, name: str = "recall") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The campaign's targets and its attempts, in order."""
        with self.store.read() as connection:
            one = select(campaigns.c.id).where(campaigns.c.name == name).scalar_subquery()
            people = select(targets).where(targets.c.campaign_id == one).order_by(targets.c.id)
            tries = select(attempts).where(attempts.c.campaign_id == one).order_by(attempts.c.id)
            return (
                [dict(row) for row in connection.execute(people).mappings()],
                [dict(row) for row in connection.execute(tries).mappings()],
            )


@contextmanager
def stage(
    folder: Path,
    *,
    database_url: str | None = None,
    broker_url: str | None = None,
    lines: Mapping[str, Mapping[str, Any]],
    simulator: Mapping[str, Any] | None = None,
) -> Iterator[Stage]:
    """``lines`` by name: ``kind`` names one of the known lines, other keys change it; ``account`` gives it an account
    of its own in the ledger. Without a database and a broker everything is embedded; see :func:`embedded`."""
    with ExitStack() as stack:
        options = simulator_options(**{"port": 0, "time_scale": 60, **(simulator or {})})
        handle = stack.enter_context(simulator_process(options))
        (folder / "lines.toml").write_text(lines_toml(handle.url, lines))
        url = database_url or f"sqlite:///{folder / 'campaign.sqlite'}"
        environment = {
            "CAMPAIGN_HOME": str(folder),
            "CAMPAIGN_DATABASE_URL": url,
            "CAMPAIGN_LINES": str(folder / "lines.toml"),
            "CAMPAIGN_SANDBOX_URL": handle.url,
            **WORDS,
            **({"CAMPAIGN_BROKER_URL": broker_url} if broker_url else {}),
        }
        store = open_store(url)
        stack.callback(store.close)
        ensure_schema(store)
        playing = Stage(folder, store, environment, handle)
        stack.callback(playing.bury)
        yield playing


def full_environment(playing: Stage) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **playing.environment}


@contextmanager
def embedded(playing: Stage) -> Iterator[int]:
    """``python -m workers.embedded``, as ``campaign run`` starts it; its process id."""
    environment = full_environment(playing)
    with (playing.folder / "embedded.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers.embedded"], env=environment, cwd=playing.folder, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=log, start_new_session=True, preexec_fn=dies_with_us(signal.SIGTERM),
        )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline() or "{}")
        assert said.get("ready"), playing.logs()
        yield process.pid
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def lines_toml(url: str, lines: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(_line_toml(url, name, words) for name, words in lines.items())


def _line_toml(url: str, name: str, words: Mapping[str, Any]) -> str:
    given = dict(words)
    form = LINES[given.pop("kind", "sandbox")]
    account = given.pop("account", None)
    base = url + (f"/line/{account}" if account else "") + form.base
    keys: dict[str, Any] = {
        "provider": form.provider,
        "base_url": base,
        "calls_per_second": 100.0,
        "max_in_flight": 1000,
        "caller_ids": [CALLER],
        "timeout": "5s",
        "settle_after": "1s",
        "settle_grace": "1s",
        "poll": {"first_after": "500ms", "every": "500ms", "at_most_every": "2s", "give_up_after": "10m"},
        "options": dict(form.options),
        **({"credentials": {form.credential: "env:CAMPAIGN_SCENARIO_KEY"}} if form.credential else {}),
        **given,
    }
    return f"[lines.{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value) if isinstance(value, (int, float)) else json.dumps(value)


def phones(block: int, how_many: int) -> list[str]:
    """Fictitious numbers that no other ``block`` has."""
    return [f"+1{300 + block}555{serial:04d}" for serial in range(how_many)]


def arrivals(playing: Stage, account: str | None = None, *, refused: bool = False) -> list[float]:
    """When originate requests came, in epoch seconds, in order; with ``refused`` only those that were not placed."""
    told = playing.simulator.ledger("arrivals").arrivals
    assert told is not None
    each = zip(told.wall, told.account, told.fate, strict=True)
    return sorted(at for at, who, fate in each if account in (None, who) and not (refused and fate == "placed"))
