"""The kill loop: a campaign is dialled while everything around it dies; then the ledger is compared with our rows."""

import json
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaign.domain.dispositions import Disposition
from campaign.domain.plan import Plan
from campaign.services.settle_by_person import settle
from tests.chaos.lab import LINE, Lab, lab, make_tables, postgres_running, redis_running
from tests.chaos.nemesis import Nemesis
from tests.chaos.verdict import Verdict, judge, spread
from tests.engine import add_campaign, numbers
from tests.servers import PostgresServer, RedisServer

RETRIED = (Disposition.BUSY, Disposition.NO_ANSWER)
PLAN = Plan(
    retry={word: ["1s", "2s"] for word in RETRIED},  # type: ignore[misc]
    max_attempts=3,
    conflict_interval="1s",  # type: ignore[arg-type]
    max_conflicts=1000,
)
FAULTS = (  # 15 % of the originate requests in all
    "500:0.02", "500_after:0.02", "reset:0.02", "reset_after:0.02", "hang:0.01,seconds=5", "hang_after:0.01,seconds=5",
    "garbage:0.02", "429:0.015,retry_after=0.3s", "conflict:0.015",
    "500:0.05,on=results", "reset:0.02,on=list", "page_loss:0.1", "foreign:0.05",
)  # fmt: skip
RINGS_WITHIN = 60.0
"""The fire begins with the first ring: killing what is only starting up would dial nobody and prove nothing."""
SETTLE_WITHIN = 900.0
KNOW_CONFLICTS = ("sandbox", "netsapiens", "pathors")
WITHOUT_RETRY = PLAN.model_copy(update={"retry": {}})
"""For providers that find a call by number and time only: two calls in a minute could not be told apart."""

QUICK = '''
"""The celery app, in which the lists of every provider lag by seconds, as the simulator's do, and not by minutes."""
from dataclasses import replace
from campaign.providers.registry import provider_class
from workers import app

for name in ("netsapiens", "nexbro", "mobtexting"):
    kind = provider_class(name)
    kind.capabilities = replace(kind.capabilities, list_lag=8.0, looks_after=1.0)
'''


@dataclass(slots=True)
class Outcome:
    database: str
    kind: str
    numbers: int
    seed: int
    seconds: float
    under_fire: float
    completed: bool
    done: Counter[str]
    cuts: int
    verdict: Verdict
    refused: dict[str, int]
    released_from_hold: int
    nemesis_faults: list[str] = field(default_factory=list)
    standing: str = ""
    """Why campaigns are paused and how the processes are, where it did not complete."""

    @property
    def clean(self) -> bool:
        return self.completed and self.verdict.clean and not self.nemesis_faults

    def report(self) -> str:
        verdict = self.verdict
        kills = {name: count for name, count in sorted(self.done.items())}
        pace = self.numbers / self.seconds
        wrong = f"lost {len(verdict.lost)}, wrong dispositions {len(verdict.wrong)}"
        lines = [
            f"{self.database}, {self.kind}: {self.numbers} numbers, seed {self.seed}",
            f"{self.seconds:.0f} s, {self.under_fire:.0f} s of it under fire; {pace:.1f} numbers/s",
            f"done to it: {json.dumps(kills)}; connections cut by the proxies: {self.cuts}",
            f"refused or spoiled by the provider: {json.dumps(self.refused)}",
            f"rings {verdict.rings}, attempts counted {verdict.counted}",
            f"duplicates {len(verdict.duplicates)}, {wrong}",
            f"doubts raised {verdict.doubts}, settled: {json.dumps(dict(verdict.settled))}",
            f"time to settle {spread(verdict.settle_times)}",
            f"held for a person on the way: {self.released_from_hold}",
        ]
        if not self.completed:
            lines.append(f"THE CAMPAIGN DID NOT COMPLETE\n{self.standing}")
        lines += [f"the nemesis itself failed: {fault}" for fault in self.nemesis_faults]
        if not self.clean:
            lines += ["EVIDENCE", verdict.evidence()]
        return "\n".join(lines)


def kill_loop(
    how_many: int,
    seed: int,
    redis: RedisServer,
    postgres: PostgresServer | None,
    folder: Path,
    *,
    kind: str = "sandbox",
    workers: int = 2,
    processes: int = 2,
    rate: float = 60.0,
    fire_for: float | None = None,
    line: dict[str, Any] | None = None,
) -> Outcome:
    """On PostgreSQL where ``postgres`` is given, else on SQLite. Under fire until nine in ten numbers are done, or for
    ``fire_for`` seconds; then everything is left to settle. ``rate`` is calls per second."""
    url = postgres.create_database() if postgres else f"sqlite:///{folder / 'campaign.sqlite'}"
    make_tables(url)
    keys = {"calls_per_second": rate, **(line or {})}
    with lab(folder, redis, url, {"seed": seed, "faults": _faults(kind)}, keys, kind) as here:
        began = time.monotonic()
        add_campaign(here.store, numbers(how_many), line=LINE, plan=PLAN if kind == "sandbox" else WITHOUT_RETRY)
        (folder / "quick.py").write_text(QUICK)
        app = "workers" if kind == "sandbox" else "quick"
        crew = [here.worker(f"worker{i}", processes, app) for i in range(workers)]
        beats = [here.beat(f"beat{i}") for i in range(2)]
        nemesis = Nemesis(here, crew, beats, seed)
        _until(here, lambda: here.simulator.ledger().placed, RINGS_WITHIN)
        nemesis.start()
        fire = time.monotonic()
        try:
            released = _until(here, lambda: _nearly_done(here, how_many), fire_for or 600.0 + how_many)
        finally:
            nemesis.stop()
        under_fire = time.monotonic() - fire
        released += _until(here, here.completed, SETTLE_WITHIN)
        seconds = time.monotonic() - began
        ledger = here.simulator.ledger("calls")
        cuts = here.broker.cuts + (here.database.cuts if here.database else 0)
        return Outcome(
            url.split(":")[0].split("+")[0],
            kind,
            how_many,
            seed,
            seconds,
            under_fire,
            here.completed(),
            nemesis.done,
            cuts,
            judge(here.store, ledger, RETRIED),
            ledger.refused,
            released,
            nemesis.faults,
            "" if here.completed() else "\n".join([*here.whys(), here.processes(), here.logs()]),
        )


def _faults(kind: str) -> list[str]:
    """A 409 that a provider's contract does not have pauses the campaign, as it should; so it is left out there."""
    return [fault for fault in FAULTS if kind in KNOW_CONFLICTS or not fault.startswith("conflict")]


def _nearly_done(here: Lab, how_many: int) -> bool:
    return here.target_states().get("done", 0) >= how_many * 0.9


def _until(here: Lab, what: Any, seconds: float) -> int:
    """Waits, and does what a supervisor and an operator do: processes that ended are started again, and who is held
    because workers died over it is tried again. How many those were."""
    released = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until and not what():
        time.sleep(0.5)
        here.tend()
        held = here.target_states().get("held", 0)
        if held:
            released += settle(here.store, "recall", "retry").held
    return released


def run(how_many: int, seed: int, database: str, **more: Any) -> Outcome:
    """With servers of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="campaign-chaos-")))
        redis = stack.enter_context(redis_running())
        postgres = stack.enter_context(postgres_running()) if database == "postgresql" else None
        return kill_loop(how_many, seed, redis, postgres, folder, **more)
