"""Everything a real campaign needs, on loopback: database, Redis, the simulator with its ledger, proxies, workers."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import create_engine, func, select

from campaign.domain.states import AttemptState, CampaignState
from campaign.providers.simulator import SimulatorHandle, SimulatorOptions, simulator_process
from campaign.storage.engine import Store, open_store
from campaign.storage.schema import attempts, campaigns, metadata, targets
from tests.chaos.processes import Child, beat, worker
from tests.chaos.proxy import Proxy
from tests.providers.simulator.lines import LINES
from tests.servers import PostgresServer, RedisServer

LINE = "chaos"


@dataclass(slots=True)
class Lab:
    """``store`` and ``redis`` are for the checker, past every proxy; ``database`` (PostgreSQL only) and ``broker`` are
    the proxies that the workers go through."""

    folder: Path
    store: Store
    redis: RedisServer
    simulator: SimulatorHandle
    broker: Proxy
    database: Proxy | None
    environment: dict[str, str]
    children: list[Child] = field(default_factory=list)

    def worker(self, name: str, processes: int = 2, app: str = "workers", **environment: str) -> Child:
        """A started worker. ``app`` is the module with its Celery application, in the lab's folder or ours."""
        return self._started(worker(name, processes, {**self.environment, **environment}, self.folder, app))

    def beat(self, name: str = "beat", **environment: str) -> Child:
        return self._started(beat(name, {**self.environment, **environment}, self.folder))

    def _started(self, child: Child) -> Child:
        child.start()
        self.children.append(child)
        return child

    def tend(self) -> None:
        """What a supervisor does (compose's ``restart``): who has ended is started again, also who ended by itself:
        Celery gives up where the processes of its pool are killed while they come up."""
        for child in self.children:
            if not child.alive():
                child.start()

    def bury(self) -> None:
        for child in self.children:
            child.bury()
        self.children.clear()

    # --- what is there to see

    def states(self) -> dict[str, int]:
        with self.store.read() as connection:
            query = select(attempts.c.state, func.count()).group_by(attempts.c.state)
            return {state: count for state, count in connection.execute(query)}

    def target_states(self) -> dict[str, int]:
        with self.store.read() as connection:
            query = select(targets.c.state, func.count()).group_by(targets.c.state)
            return {state: count for state, count in connection.execute(query)}

    def completed(self) -> bool:
        """Every campaign is; one that was paused on the way is not."""
        with self.store.read() as connection:
            others = select(func.count()).where(campaigns.c.state != CampaignState.COMPLETED)
            return connection.execute(others.select_from(campaigns)).scalar_one() == 0

    def whys(self) -> list[str]:
        """Why campaigns are paused."""
        with self.store.read() as connection:
            return [why for why in connection.execute(select(campaigns.c.why)).scalars() if why]

    def unconfirmed_ever(self) -> int:
        """Attempts that were in doubt at any time: each doubt leaves an event."""
        from campaign.storage.schema import events

        with self.store.read() as connection:
            query = select(func.count()).select_from(events).where(events.c.kind == "doubt")
            now = select(func.count()).select_from(attempts).where(attempts.c.state == AttemptState.UNCONFIRMED)
            return max(connection.execute(query).scalar_one(), connection.execute(now).scalar_one())

    def wait(self, what: Callable[[], Any], seconds: float = 90.0, every: float = 0.1) -> bool:
        """True once ``what()`` is truthy; False where that took longer."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if what():
                return True
            time.sleep(every)
        return bool(what())

    def processes(self) -> str:
        return "\n".join(child.standing() for child in self.children)

    def logs(self) -> str:
        parts = [f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in self.folder.glob("*.log")]
        return "\n".join(parts)


@contextmanager
def lab(
    folder: Path,
    redis: RedisServer,
    database_url: str,
    simulator: Mapping[str, Any] | None = None,
    line: Mapping[str, Any] | None = None,
    kind: str = "sandbox",
) -> Iterator[Lab]:
    """``simulator`` are its options, ``line`` changes keys of the line ``chaos`` that everything is dialled through."""
    with ExitStack() as stack:
        handle = stack.enter_context(simulator_process(SimulatorOptions(port=0, time_scale=60, **(simulator or {}))))
        broker = stack.enter_context(Proxy(("127.0.0.1", redis.port)))
        proxy, url = None, database_url
        parts = urlsplit(database_url)
        if parts.port:
            proxy = stack.enter_context(Proxy(("127.0.0.1", parts.port)))
            url = database_url.replace(f":{parts.port}/", f":{proxy.port}/")
        (folder / "lines.toml").write_text(lines_toml(kind, handle.url, line or {}))
        environment = {
            "CAMPAIGN_HOME": str(folder),
            "CAMPAIGN_DATABASE_URL": url,
            "CAMPAIGN_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
            "CAMPAIGN_LINES": str(folder / "lines.toml"),
            "CHAOS_TOKEN": "a-token",
        }
        store = open_store(database_url)
        stack.callback(store.close)
        running = Lab(folder, store, redis, handle, broker, proxy, environment)
        stack.callback(running.bury)
        yield running


def lines_toml(kind: str, url: str, changes: Mapping[str, Any]) -> str:
    """A line whose doubts settle within seconds."""
    form = LINES[kind]
    keys: dict[str, Any] = {
        "provider": form.provider,
        "base_url": url + form.base,
        "allow_insecure": True,
        "calls_per_second": 200.0,
        "max_in_flight": 1000,
        "caller_ids": ["+12025550100"],
        "timeout": "2s",
        "settle_after": "1s",
        "settle_grace": "1s",
        "poll": {"first_after": "300ms", "every": "500ms", "at_most_every": "2s", "give_up_after": "10m"},
        "options": dict(form.options),
        **changes,
    }
    if form.credential:
        keys["credentials"] = {form.credential: "env:CHAOS_TOKEN"}
    return f"[lines.{LINE}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'


def make_tables(url: str) -> str:
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    return url


@contextmanager
def redis_running() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.remove()


@contextmanager
def postgres_running() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    try:
        yield server
    finally:
        server.remove()
