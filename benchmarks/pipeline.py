"""Our whole pipeline: real workers that claim, commit `sending`, take start times, send and record.

The line's limits are set where they cannot be reached. Orders come once a second, as the tick would send them. Results
are not asked for within the run: a call is done when the provider's answer to it is committed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import Celery
from sqlalchemy import delete, func, insert, select, text, update

from benchmarks import machine
from benchmarks.contender import wait_until
from benchmarks.worker import Worker
from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.domain.states import AttemptState, CampaignState, TargetState
from campaign.storage.engine import Store, open_store
from campaign.storage.migrate import ensure_schema
from campaign.storage.schema import attempts, campaigns, events, targets

LINE = "bench"
LINES = """
[lines.bench]
provider = "sandbox"
base_url = "{url}"
calls_per_second = 10000
max_in_flight = 1000000
caller_ids = ["+12025550100"]
poll = {{ first_after = "1h", every = "1h", at_most_every = "1h", give_up_after = "2h" }}
"""
IN_HAND = (AttemptState.CLAIMED, AttemptState.SENDING)


class Pipeline:
    """``numbers`` is how many targets wait at the beginning of each run: more than can be called in it."""

    def __init__(
        self, database: str, broker: str, provider: str, folder: Path, *, children: int = 1, numbers: int = 40_000
    ) -> None:
        kind = "PostgreSQL" if database.startswith("postgresql") else "SQLite"
        self.name = f"claim to record, {kind}, {children} {'process' if children == 1 else 'processes'}"
        self.numbers = numbers
        self._store = open_store(database)
        ensure_schema(self._store)
        self._campaign = _new_campaign(self._store, numbers)
        self._orders = _Orders(broker, children)
        lines = folder / "lines.toml"
        lines.write_text(LINES.format(url=provider))
        self._worker = _start_worker(database, broker, lines, folder, children)
        self._pinned = children == 1

    @contextmanager
    def running(self) -> Iterator[None]:
        if self._pinned:  # the whole family: Celery's main process and the child that does the work
            machine.pin(self._worker.pid, machine.client_core())
        self._set_state(CampaignState.RUNNING)
        with self._orders.coming():
            try:
                wait_until(lambda: self.done() > 0, f"the first call of: {self.name}")
            except TimeoutError as error:
                error.add_note(self._worker.last_words())
                raise
            yield
        if self.done() >= self.numbers:
            raise RuntimeError(f"{self.name}: {self.numbers} numbers were too few")
        self._set_state(CampaignState.PAUSED)
        wait_until(self._nothing_in_hand, "the last calls to come back")
        self._begin_again()

    def done(self) -> int:
        return self._count(attempts.c.state == AttemptState.PLACED)

    def cpu(self) -> float:
        return machine.cpu_seconds(self._worker.pid)

    def close(self) -> None:
        self._worker.close()
        self._store.close()

    def _count(self, condition: object) -> int:
        with self._store.read() as connection:
            query = select(func.count()).select_from(attempts).where(condition)  # type: ignore[arg-type]
            return int(connection.execute(query).scalar_one())

    def _nothing_in_hand(self) -> bool:
        return self._count(attempts.c.state.in_(IN_HAND)) == 0

    def _set_state(self, state: CampaignState) -> None:
        with self._store.write() as connection:
            connection.execute(update(campaigns).values(state=state))

    def _begin_again(self) -> None:
        """Every number waits as on the first day. What was called stays, as ended: a worker does not dial from a
        database that has lost a call it remembers."""
        over = {
            "state": AttemptState.ENDED,
            "disposition": Disposition.NO_ANSWER,
            "next_look_at": None,
            "ended_at": 0.0,
        }
        fresh = {"state": TargetState.WAITING, "due_at": 0.0, "attempts": 0, "attempt_id": None, "reason": None}
        with self._store.write() as connection:
            connection.execute(delete(events))
            connection.execute(update(attempts).where(attempts.c.state == AttemptState.PLACED).values(over))
            connection.execute(update(targets).where(targets.c.state != TargetState.WAITING).values(fresh))
        if not self._store.sqlite:
            with self._store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE attempts, targets"))


class _Orders:
    """Dial orders for every process of the worker, once a second, for as long as a run lasts."""

    def __init__(self, broker: str, processes: int) -> None:
        self._app = Celery("orders", broker=broker)
        self._app.config_from_object("celeryconfig")
        self._app.conf.update(broker_url=broker)
        self._processes = processes

    @contextmanager
    def coming(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._send, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _send(self, ended: threading.Event) -> None:
        while True:
            for _ in range(self._processes):
                self._app.send_task("dial", args=[LINE], expires=2.0)
            if ended.wait(1.0):
                return


def _new_campaign(store: Store, numbers: int) -> int:
    plan = Plan().model_dump(mode="json", by_alias=True)
    row = {"name": "bench", "state": CampaignState.PAUSED, "line": LINE, "plan": plan, "created_at": 0.0}
    with store.write() as connection:
        campaign_id = connection.execute(insert(campaigns).returning(campaigns.c.id), [row]).scalar_one()
        base = {"campaign_id": campaign_id, "variables": {}, "state": TargetState.WAITING, "due_at": 0.0, "tally": {}}
        rows = [{**base, "phone": f"+1{2010000000 + index}", "row_no": index} for index in range(numbers)]
        connection.execute(insert(targets), rows)
    return int(campaign_id)


def _start_worker(database: str, broker: str, lines: Path, folder: Path, children: int) -> Worker:
    environment = {
        "CAMPAIGN_HOME": str(folder),
        "CAMPAIGN_DATABASE_URL": database,
        "CAMPAIGN_BROKER_URL": broker,
        "CAMPAIGN_LINES": str(lines),
    }
    arguments = ["-A", "workers", "worker", "-Q", "dial", "-P", "prefork", "-c", str(children), "-l", "warning"]
    return Worker(arguments, environment, folder / "worker.log")
