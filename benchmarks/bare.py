"""The bare client: our own sender in a loop, with no queue, no database and no pace. The ceiling for everything else.

``python -m benchmarks.bare URL`` is the loop: it writes the number of answers to standard output ten times a second
and ends with its standard input.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from benchmarks import machine
from benchmarks.contender import wait_until
from campaign.domain.line import Line
from campaign.providers.http import LineSender
from campaign.providers.port import Reply, Request

AT_ONCE = 100


def body(index: int) -> dict[str, Any]:
    """What our sandbox line sends for one call. Every contender sends the same."""
    return {"ref": uuid.uuid4().hex, "to": f"+1{2010000000 + index}", "from": "+12025550100", "variables": {}}


class Bare:
    name = "bare loop of the same client"

    def __init__(self, url: str) -> None:
        self._url = url
        self._answers = 0
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        command = [sys.executable, "-m", "benchmarks.bare", self._url]
        self._answers = 0
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            self._process = process
            os.sched_setaffinity(process.pid, machine.client_core())
            listener = threading.Thread(target=self._listen, args=(process,), daemon=True)
            listener.start()
            wait_until(lambda: self._answers > 0, "the bare client's first answer")
            try:
                yield
            finally:
                assert process.stdin is not None
                process.stdin.close()
                listener.join()

    def done(self) -> int:
        before = self._answers
        while self._answers == before:  # a fresh figure, so that the clock is read when it is
            time.sleep(0.001)
        return self._answers

    def cpu(self) -> float:
        return machine.cpu_seconds(self._process.pid) if self._process else 0.0

    def close(self) -> None:
        pass

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._answers = int(line)


async def _loop(url: str) -> None:
    line = Line(name="bench", provider="sandbox", base_url=url)
    sender = LineSender(line, now=time.time)
    ended = threading.Event()
    threading.Thread(target=_wait_for_eof, args=(ended,), daemon=True).start()
    answers, indices = 0, count()

    async def one_after_another() -> None:
        nonlocal answers
        while not ended.is_set():
            reply = await sender.send(Request("POST", "/sandbox/calls", {}, json=body(next(indices))))
            assert isinstance(reply, Reply), reply
            assert reply.status in (200, 202), reply.status
            answers += 1

    callers = [asyncio.create_task(one_after_another()) for _ in range(AT_ONCE)]
    while not ended.is_set():
        await asyncio.sleep(0.1)
        os.write(1, b"%d\n" % answers)
    await asyncio.gather(*callers)
    await sender.aclose()


def _wait_for_eof(ended: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    ended.set()


if __name__ == "__main__":
    asyncio.run(_loop(sys.argv[1]))
