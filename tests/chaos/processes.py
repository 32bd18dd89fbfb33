"""Real processes of the engine, started, hurt and buried by process id. Nothing outlives whoever started them."""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.forked import ROOT, Forked, fork

WORKER = ("worker", "--pool=prefork", "--queues=dial,poll,intake,control", "--without-gossip", "--without-mingle")
BEAT = ("beat",)
QUIET = ("--loglevel=WARNING",)


@dataclass(slots=True)
class Child:
    """One ``celery`` command with whatever it forks. ``log`` gathers its output over all its lives; it runs in the
    folder of that."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    _process: Forked | None = None
    _sessions: set[int] = field(default_factory=set)
    started: int = 0

    def start(self) -> None:
        self._process = fork(self.arguments, self.environment, self.log.parent, self.log)
        self.started += 1
        self._sessions.add(self._process.pid)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def forked(self) -> list[int]:
        """The processes that it has forked and that live."""
        return [pid for pid in _of_sessions({self.pid}) if pid != self.pid] if self._process else []

    def orphans(self) -> list[int]:
        """Those that an earlier life of it has left behind."""
        return _of_sessions(self._sessions - {self.pid if self.alive() else 0})

    def standing(self) -> str:
        """How it is, for whoever asks why nothing happens."""
        now = f"alive, {len(self.forked())} forked" if self.alive() else f"ended with {self.wait(0)}"
        return f"{self.name}: {now}; started {self.started} times; {len(self.orphans())} orphans"

    def send(self, signum: int) -> None:
        if self.alive():
            hit(self.pid, signum)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It and everything that it forked stand still meanwhile."""
        pids = [self.pid, *self.forked()]
        for pid in pids:
            hit(pid, signal.SIGSTOP)
        yield
        for pid in pids:
            hit(pid, signal.SIGCONT)

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None where it still runs then."""
        assert self._process is not None
        return self._process.wait(seconds)

    def bury(self) -> None:
        """Kills it and everything that it forked, one by one."""
        if self._process is None:
            return
        while pids := _of_sessions(self._sessions):
            for pid in pids:
                hit(pid, signal.SIGKILL)
            self._process.poll()
            time.sleep(0.02)
        self._process.wait(10)


def celery(
    name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, app: str = "workers"
) -> Child:
    """Not started yet. ``folder`` holds ``lines.toml`` and takes the log."""
    full = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    full.pop("CI", None)
    return Child(name, ["-A", app, *arguments, *QUIET], full, folder / f"{name}.log")


def worker(name: str, processes: int, environment: Mapping[str, str], folder: Path, app: str = "workers") -> Child:
    arguments = [*WORKER, f"--concurrency={processes}", f"--hostname={name}@chaos"]
    return celery(name, arguments, environment, folder, app)


def beat(name: str, environment: Mapping[str, str], folder: Path) -> Child:
    return celery(name, BEAT, environment, folder)


def hit(pid: int, signum: int) -> bool:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def _of_sessions(sessions: set[int]) -> list[int]:
    """Living processes, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) in sessions:
            found.append(int(entry.name))
    return found
