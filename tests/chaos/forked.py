"""Processes of Celery that a preloaded one forks for us; each is awaited as one of :mod:`subprocess` is."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from threading import Lock
from typing import Any

from tests.servers import born, dies_with_us

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-u", "-m", "tests.chaos.preloaded")
EVERY = 0.02


class _Preloaded:
    """The one that forks, started with the first that is asked for. Tests ask from several threads."""

    def __init__(self) -> None:
        self._one_at_a_time = Lock()
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> None:
        self._process = subprocess.Popen(
            COMMAND, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, preexec_fn=dies_with_us(SIGKILL),
        )  # fmt: skip

    def ask(self, question: Mapping[str, Any]) -> int | None:
        with self._one_at_a_time:
            if self._process is None:
                born(self._start)
            assert self._process is not None
            asking, answering = self._process.stdin, self._process.stdout
            assert asking is not None
            assert answering is not None
            asking.write(f"{json.dumps(question)}\n")
            asking.flush()
            answer: int | None = json.loads(answering.readline())
            return answer


_preloaded = _Preloaded()


@dataclass(frozen=True, slots=True)
class Forked:
    """A ``celery`` command in a session of its own."""

    pid: int

    def poll(self) -> int | None:
        """How it has ended, as :class:`subprocess.Popen` tells it; None while it runs."""
        return _preloaded.ask({"poll": self.pid})

    def wait(self, seconds: float) -> int | None:
        """The same, once it has ended; None where it still runs then."""
        until = time.monotonic() + seconds
        while (ended := self.poll()) is None and time.monotonic() < until:
            time.sleep(EVERY)
        return ended


def fork(arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path) -> Forked:
    """``celery`` with those arguments, in that folder."""
    start = {"arguments": [*arguments], "environment": {**environment}, "folder": str(folder), "log": str(log)}
    pid = _preloaded.ask({"start": start})
    assert pid is not None
    return Forked(pid)
