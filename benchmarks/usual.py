"""The usual design: one Celery task per number, which posts with ``requests`` and keeps nothing.

It is given every advantage: no database, no pace, no results to look for, its tasks enqueued before the clock starts,
its processes free to use every core. Real ones write their outcome somewhere, too.
"""

import base64
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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
QUEUE, PATTERN = "usual", "pattern"
TASKS = 10_000

SETTINGS = {"task_ignore_result": True, "task_queues": [Queue(QUEUE)], "task_default_queue": QUEUE}

app = Celery("usual", broker=BROKER)
app.conf.update(SETTINGS)


@app.task(name="call")  # type: ignore[untyped-decorator]
def call(index: int) -> None:
    """One number, one request, the way of every tutorial."""
    requests.post(f"{PROVIDER}/sandbox/calls", json=body(index), timeout=DEADLINE).raise_for_status()


class Usual:
    """A worker that waits. Before a run more tasks are enqueued than it can carry out."""

    def __init__(self, name: str, pool: tuple[str, ...], broker: str, simulator: SimulatorHandle, log: Path) -> None:
        self.name = name
        self._simulator = simulator
        self._redis: Redis = Redis.from_url(broker)
        self._app = Celery("usual", broker=broker)
        self._app.conf.update(SETTINGS)
        environment = {"BENCH_BROKER": broker, "BENCH_PROVIDER": simulator.url}
        arguments = ["-A", "benchmarks.usual", "worker", "-Q", QUEUE, "-l", "error", *pool]
        self._worker = Worker(arguments, environment, log)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._redis.delete(QUEUE)
        self._enqueue(TASKS)
        wait_until(lambda: self.done() > 0, f"the first call of {self.name}")
        yield
        if self._redis.llen(QUEUE) == 0:
            raise RuntimeError(f"{self.name}: {TASKS} tasks were too few")
        self._redis.delete(QUEUE)
        wait_until_still(self.done)

    def done(self) -> int:
        return self._simulator.ledger().placed

    def cpu(self) -> float:
        return machine.cpu_seconds(self._worker.pid)

    def close(self) -> None:
        self._worker.close()
        self._redis.close()

    def _enqueue(self, how_many: int) -> None:
        """Copies of one task as Celery writes it (to a queue that nobody reads): one by one would take seconds."""
        self._app.send_task("call", args=[0], queue=PATTERN)
        message = json.loads(self._redis.lrange(PATTERN, 0, 0)[0])
        self._redis.delete(PATTERN)
        with self._redis.pipeline(transaction=False) as pipeline:
            for index in range(how_many):
                pipeline.lpush(QUEUE, json.dumps(_copied(message, index)))
            pipeline.execute()


def _copied(message: dict[str, Any], index: int) -> dict[str, Any]:
    task_id, delivery = str(uuid.uuid4()), str(uuid.uuid4())
    _, keywords, embedded = json.loads(base64.b64decode(message["body"]))
    body = base64.b64encode(json.dumps([[index], keywords, embedded]).encode()).decode()
    headers = {**message["headers"], "id": task_id, "root_id": task_id}
    properties = {**message["properties"], "correlation_id": task_id, "delivery_tag": delivery}
    return {**message, "body": body, "headers": headers, "properties": properties}


def prefork(broker: str, simulator: SimulatorHandle, log: Path) -> Usual:
    return Usual("one task per number, prefork 2", ("-P", "prefork", "-c", "2"), broker, simulator, log)


def gevent(broker: str, simulator: SimulatorHandle, log: Path) -> Usual:
    return Usual("one task per number, gevent 100", ("-P", "gevent", "-c", "100"), broker, simulator, log)
