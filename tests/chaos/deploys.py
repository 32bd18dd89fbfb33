"""Rolling restarts under load: a worker that is told to stop finishes what is in the air, and nobody ever doubts."""

import signal
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sqlalchemy import func, select, update

from campaign.domain.plan import Plan
from campaign.storage.schema import events, targets
from tests.chaos.lab import LINE, Lab, lab, make_tables, postgres_running, redis_running
from tests.chaos.processes import Child
from tests.chaos.verdict import Verdict, judge, spread
from tests.engine import add_campaign, numbers
from tests.servers import PostgresServer, RedisServer

STOP_WITHIN = 40.0
PER_CAMPAIGN = 500
RATE = 40.0
PROVIDER = {"latency": "300ms", "latency_jitter": "500ms", "mix": "answered=100"}
CALM = {
    "calls_per_second": RATE,
    "timeout": "10s",
    "poll": {"first_after": "1s", "every": "1s", "give_up_after": "10m"},
}


@dataclass(slots=True)
class Deploys:
    restarts: int
    seconds: float
    stop_times: list[float] = field(default_factory=list)
    bad_exits: list[str] = field(default_factory=list)
    idle_stops: int = 0
    doubts: int = 0
    rescues: int = 0
    completed: bool = False
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def clean(self) -> bool:
        return self.completed and self.verdict.clean and not (self.bad_exits or self.doubts or self.rescues)

    def report(self) -> str:
        lines = [
            f"{self.restarts} restarts in {self.seconds:.0f} s under {RATE:.0f} calls/s",
            f"stopped with calls in the air: {self.restarts - self.idle_stops} of {self.restarts}",
            f"time to stop {spread(sorted(self.stop_times))}",
            f"exits other than 0: {len(self.bad_exits)} {self.bad_exits[:5]}",
            f"unconfirmed {self.doubts}, given up by a dying worker {self.rescues}",
            f"rings {self.verdict.rings}, duplicates {len(self.verdict.duplicates)}, lost {len(self.verdict.lost)}",
        ]
        return "\n".join([*lines, *([] if self.clean else ["EVIDENCE", self.verdict.evidence()])])


def deploys(restarts: int, redis: RedisServer, postgres: PostgresServer, folder: Path, *, workers: int = 2) -> Deploys:
    """Each worker in turn gets SIGTERM under load, is waited for, and started again."""
    url = make_tables(postgres.create_database())
    with lab(folder, redis, url, PROVIDER, CALM) as here:
        load = _Load(here)
        load.top_up()
        crew = [here.worker(f"worker{i}", 2) for i in range(workers)]
        here.beat()
        if not here.wait(lambda: here.simulator.ledger().placed > 20, 60.0):
            raise RuntimeError(f"nothing was dialled: {here.logs()}")
        began = time.monotonic()
        result = Deploys(restarts, 0.0)
        for nth in range(restarts):
            load.top_up()
            _restart(here, crew[nth % workers], result)
        result.seconds = time.monotonic() - began
        load.end()
        result.completed = here.wait(here.completed, 120.0)
        result.verdict = judge(here.store, here.simulator.ledger("calls"))
        result.doubts, result.rescues = _noted(here, "doubt"), _noted(here, "rescue")
        return result


def _restart(here: Lab, child: Child, result: Deploys) -> None:
    """Not before it dials: a deploy that meets a worker in its first second proves little."""
    placed = here.simulator.ledger().placed
    here.wait(lambda: here.simulator.ledger().placed > placed + 5, 10.0)
    result.idle_stops += here.states().get("sending", 0) == 0
    asked = time.monotonic()
    child.send(signal.SIGTERM)
    code = child.wait(STOP_WITHIN)
    result.stop_times.append(time.monotonic() - asked)
    left = child.forked()
    if code != 0 or left:
        result.bad_exits.append(f"exit {code} after {result.stop_times[-1]:.1f} s, {len(left)} left behind")
        child.bury()
    child.start()


class _Load:
    """Always more to dial, in campaigns of 500; and an end."""

    def __init__(self, here: Lab) -> None:
        self._here = here
        self._numbers = iter(numbers(1_000_000))
        self._campaigns = 0

    def top_up(self) -> None:
        while self._here.target_states().get("waiting", 0) < PER_CAMPAIGN:
            self._campaigns += 1
            some = list(islice(self._numbers, PER_CAMPAIGN))
            add_campaign(self._here.store, some, name=f"load {self._campaigns}", line=LINE, plan=Plan(retry={}))

    def end(self) -> None:
        """What waits need not be dialled."""
        with self._here.store.write() as connection:
            chosen = update(targets).where(targets.c.state == "waiting", targets.c.attempts == 0)
            connection.execute(chosen.values(state="skipped", due_at=None, reason="the load has ended"))


def _noted(here: Lab, kind: str) -> int:
    with here.store.read() as connection:
        query = select(func.count()).select_from(events).where(events.c.kind == kind)
        return connection.execute(query).scalar_one()


def run(restarts: int) -> Deploys:
    """With servers of its own, on PostgreSQL."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="campaign-deploys-")))
        redis = stack.enter_context(redis_running())
        postgres = stack.enter_context(postgres_running())
        return deploys(restarts, redis, postgres, folder)
