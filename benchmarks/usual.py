"""The usual design: one Celery task per number, which posts with ``requests`` and keeps nothing.

It is given every advantage: no database, no pace, no results to look for, its tasks enqueued before the clock starts,
its processes free to use every core. Real ones write their outcome somewhere, too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from celery import Celery
from kombu import Queue
from redis import Redis

from benchmarks import machine
from benchmarks.bare import body
from benchmarks.contender import wait_until, wait_until_still
from benchmarks.worker import Worker
from campaign.providers.simulator.handle import SimulatorHandle

BROKER = os.environ.get("BENCH_BROKER", "redis://127.0.0.1:6379/0")
PROVIDER = os.environ.get("BENCH_PROVIDER", "http://127.0.0.1:8777")
DEADLINE = 20.0
FIRST_GUESS = 3000
"""Tasks for the first run: 900 a second for its three seconds."""

SETTINGS = {"task_ignore_result": True, "task_queues": [Queue("usual")], "task_default_queue": "usual"}

app = Celery("usual", broker=BROKER)
app.conf.update(SETTINGS)


@app.task(name="call")  # type: ignore[untyped-decorator]
def call(index: int) -> None:
    """One number, one request, the way of every tutorial."""
    requests.post(f"{PROVIDER}/sandbox/calls", json=body(index), timeout=DEADLINE).raise_for_status()


class Usual:
    """Before a run as many tasks are enqueued as it carries out at its fastest so far, and a third more."""

    def __init__(self, name: str, pool: tuple[str, ...], broker: str, simulator: SimulatorHandle, log: Path) -> None:
        self.name = name
        self._most = FIRST_GUESS
        self._fastest = 0.0
        self._simulator = simulator
        self._redis: Redis = Redis.from_url(broker)
        self._app = Celery("usual", broker=broker)
        self._app.conf.update(SETTINGS)
        environment = {"BENCH_BROKER": broker, "BENCH_PROVIDER": simulator.url}
        arguments = ["-A", "benchmarks.usual", "worker", "-Q", "usual", "-l", "error", *pool]
        self._worker = Worker(arguments, environment, log)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._enqueue(self._most)
        wait_until(lambda: self.done() > 0, f"the first call of {self.name}")
        yield
        if self._redis.llen("usual") == 0:
            raise RuntimeError(f"{self.name}: {self._most} tasks were too few")
        self._fastest = max(self._fastest, self.done())
        self._most = int(self._fastest * 4 / 3) + 500
        self._redis.delete("usual")
        wait_until_still(self.done)

    def done(self) -> int:
        return self._simulator.ledger().placed

    def cpu(self) -> float:
        return machine.cpu_seconds(self._worker.pid)

    def close(self) -> None:
        self._worker.close()
        self._redis.close()

    def _enqueue(self, how_many: int) -> None:
        with self._app.producer_or_acquire() as producer:
            for index in range(how_many):
                self._app.send_task("call", args=[index], queue="usual", producer=producer)


def prefork(broker: str, simulator: SimulatorHandle, log: Path) -> Usual:
    return Usual("one task per number, prefork 2", ("-P", "prefork", "-c", "2"), broker, simulator, log)


def gevent(broker: str, simulator: SimulatorHandle, log: Path) -> Usual:
    return Usual("one task per number, gevent 100", ("-P", "gevent", "-c", "100"), broker, simulator, log)
