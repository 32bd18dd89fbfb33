"""The pace over all workers as the provider sees it: ``python -m tests.scenarios.pace`` measures the whole matrix.

``most`` is the most originate requests in any sliding second of the simulator's own clock; ``reached`` is the pace
from two seconds after the first arrival on, while there is work, as a share of the limit, and ``best`` that of the
best three seconds: of a short run on a slow machine, most is the start of the workers. ``idle`` is the share of the
machine's processors that nobody used meanwhile: where it is near nothing, what was reached says little.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from campaign.domain.plan import Plan
from campaign.policies.pacing import FENCEPOST_BELOW
from campaign.providers.simulator import most_in_window
from campaign.storage.schema import attempts
from tests.chaos.lab import postgres_running, redis_running
from tests.engine import add_campaign, numbers
from tests.scenarios.kit import Stage, stage

LINE = "fast"
SETTLING_IN = 2.0
"""Seconds after the first arrival that do not count for ``reached``: workers start one after another."""

WHILE_THERE_IS_WORK = 0.9
"""The share of the calls after which it does not count any more: the last ones have all been claimed by somebody."""


STRETCH = 3.0
"""Seconds over which ``best`` is counted."""


@dataclass(frozen=True, slots=True)
class Figures:
    processes: int
    limit: float
    calls: int
    seconds: float
    most: int
    reached: float
    best: float
    skipped: int
    idle: float

    @property
    def exceeded(self) -> bool:
        return self.most > self.limit + (1 if self.limit < FENCEPOST_BELOW else 0)

    def __str__(self) -> str:
        return (
            f"{self.processes:>9} {self.limit:>6g} {self.calls:>6} {self.seconds:>8.1f} {self.most:>5}"
            f" {self.reached:>8.3f} {self.best:>6.3f} {self.skipped:>8} {self.idle:>5.2f}"
            + ("   EXCEEDED" if self.exceeded else "")
        )


AFTERWARDS = {"first_after": "3s", "every": "1s", "at_most_every": "5s", "give_up_after": "10m"}
"""Results are asked for when a call is likely to have ended, as a line should be set up. Where each call is asked for
thrice, two processors have more to do with that than with dialling."""

HEADER = "processes  limit  calls  seconds  most  reached   best  skipped  idle"


def line_at(limit: float, **more: Any) -> dict[str, Any]:
    return {"calls_per_second": limit, "max_in_flight": 100_000, "timeout": "10s", **more}


def fill(playing: Stage, calls: int, plan: Plan | None = None) -> None:
    """A running campaign with so many numbers due at once."""
    add_campaign(playing.store, numbers(calls), line=LINE, plan=plan or Plan(retry={}))


def dialled(playing: Stage) -> int:
    """Calls that the provider has taken, by the database: asking the ledger would hold the simulator up."""
    with playing.store.read() as connection:
        query = select(func.count()).select_from(attempts).where(attempts.c.placed_at.is_not(None))
        return int(connection.execute(query).scalar_one())


def favour(pid: int | None) -> bool:
    """Put a process before all others, where we may. The simulator is the instrument: where it waits for a processor,
    requests that came one by one are read all at once."""
    if pid is None:
        return False
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        return False
    return True


def measure(playing: Stage, processes: int, limit: float, seconds: float) -> Figures:
    """Dial for about ``seconds`` with one worker of so many processes, and read the ledger."""
    calls = max(20, round(limit * seconds))
    fill(playing, calls)
    playing.worker(processes)
    playing.beat()
    playing.wait(lambda: dialled(playing) > 0)
    with _idle_share() as idle:
        playing.wait(lambda: dialled(playing) >= calls, 3 * seconds + 30.0, every=0.5)
    return figures(playing, processes, limit, idle["share"])


def figures(playing: Stage, processes: int, limit: float, idle: float) -> Figures:
    arrivals = playing.simulator.ledger("arrivals").arrivals
    assert arrivals is not None
    instants = sorted(arrivals.monotonic)
    steady = [at for at in instants[: round(len(instants) * WHILE_THERE_IS_WORK)] if at >= instants[0] + SETTLING_IN]
    reached = (len(steady) - 1) / (steady[-1] - steady[0]) / limit
    return Figures(
        processes, limit, len(instants), instants[-1] - instants[0], most_in_window(instants), reached,
        (most_in_window(instants, STRETCH) - 1) / STRETCH / limit, _missed(playing), idle,
    )  # fmt: skip


def _missed(playing: Stage) -> int:
    """Attempts that were given back unsent."""
    return playing.count("released")


@contextmanager
def _idle_share() -> Iterator[dict[str, float]]:
    told: dict[str, float] = {"share": 1.0}
    idle, everything = _ticks()
    yield told
    later_idle, later = _ticks()
    told["share"] = (later_idle - idle) / max(1, later - everything)


def _ticks() -> tuple[int, int]:
    """The machine's idle and all clock ticks so far."""
    try:
        fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return 0, 0
    return fields[3] + fields[4], sum(fields)


def simulator_options_for(limit: float, latency: str = "0ms") -> Mapping[str, Any]:
    """Calls end within two seconds."""
    return {"time_scale": 60, "latency": latency}


@contextmanager
def pace_stage(folder: Path, redis_url: str, database_url: str, limit: float, latency: str = "0ms") -> Iterator[Stage]:
    with stage(
        folder,
        database_url=database_url,
        broker_url=redis_url,
        lines={LINE: line_at(limit, poll=AFTERWARDS)},
        simulator=simulator_options_for(limit, latency),
    ) as playing:
        favour(playing.simulator.pid)
        yield playing


def main() -> int:
    parser = argparse.ArgumentParser(description="measure the pace, workers by limits")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--limits", type=float, nargs="+", default=[2, 50, 500, 1000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--latency", default="0ms")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    sys.stdout.write(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n{HEADER}\n")
    exceeded = 0
    with redis_running() as redis, postgres_running() as postgres:
        for _ in range(given.rounds):
            for limit in given.limits:
                for processes in given.processes:
                    url = postgres.create_database()
                    with (
                        tempfile.TemporaryDirectory(prefix="campaign-pace-") as folder,
                        pace_stage(Path(folder), redis.url, url, limit, given.latency) as playing,
                    ):
                        seen = measure(playing, processes, limit, given.seconds)
                    exceeded += seen.exceeded
                    sys.stdout.write(f"{seen}\n")
                    sys.stdout.flush()
                    time.sleep(0.5)
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
