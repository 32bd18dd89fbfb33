"""Who kills, freezes, flushes and cuts at random while a campaign is dialled. Seeded; it counts what it has done."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis

from tests.chaos.lab import Lab
from tests.chaos.processes import Child, hit
from tests.servers import born

BETWEEN = (0.1, 0.5)
FROZEN = (0.2, 3.0)
BROKER_AWAY = (0.2, 2.0)
COMMIT = b"COMMIT"


@dataclass(slots=True)
class Nemesis:
    """Runs in a thread between :meth:`start` and :meth:`stop`. Everything is continued and healed when it stops. Whom
    it has ended is started again by :meth:`Lab.tend` and not by it: who was told to stop may end after it."""

    lab: Lab
    workers: Sequence[Child]
    beats: Sequence[Child]
    seed: int
    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _dice: random.Random = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _wakes: list[tuple[float, int]] = field(default_factory=list)
    _broker_back: float | None = None

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="nemesis", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the world is whole again: nobody frozen, Redis up, no toxics."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        self._tend(everything=True)
        self.lab.broker.heal()
        if self.lab.database is not None:
            self.lab.database.heal()

    def _run(self) -> None:
        while not self._stop.wait(self._dice.uniform(*BETWEEN)):
            self._tend()
            name, act = self._choose()
            try:
                if act():
                    self.done[name] += 1
            except Exception as error:  # noqa: BLE001 - a fault of the nemesis fails the run, at its end
                self.faults.append(f"{name}: {type(error).__name__}: {error}")

    def _choose(self) -> tuple[str, Callable[[], bool]]:
        acts: list[tuple[int, str, Callable[[], bool]]] = [
            (30, "KILL a process", lambda: self._hit_forked(signal.SIGKILL)),
            (6, "TERM a process", lambda: self._hit_forked(signal.SIGTERM)),
            (6, "QUIT a process", lambda: self._hit_forked(signal.SIGQUIT)),
            (10, "STOP and CONT", self._freeze),
            (1, "KILL a worker", lambda: self._end(self.workers, signal.SIGKILL)),
            (1, "TERM a worker", lambda: self._end(self.workers, signal.SIGTERM)),
            (1, "QUIT a worker", lambda: self._end(self.workers, signal.SIGQUIT)),
            (2, "KILL a beat", lambda: self._end(self.beats, signal.SIGKILL)),
            (8, "FLUSHALL", self._flush),
            (1, "KILL Redis", self._kill_broker),
            (3, "cut Redis", lambda: self.lab.broker.cut() > 0),
        ]
        if self.lab.database is not None:
            acts += [
                (6, "cut the database", self._cut_database),
                (10, "cut after COMMIT was sent", lambda: self._trap(answered=False)),
                (10, "cut after COMMIT was done", lambda: self._trap(answered=True)),
                (1, "refuse the database", self._refuse_database),
            ]
        ((_, name, act),) = self._dice.choices(acts, [weight for weight, _, _ in acts])
        return name, act

    # --- processes

    def _hit_forked(self, signum: int) -> bool:
        pids = [pid for child in self.workers if child.alive() for pid in child.forked()]
        return bool(pids) and hit(self._dice.choice(pids), signum)

    def _freeze(self) -> bool:
        pids = [pid for child in [*self.workers, *self.beats] if child.alive() for pid in [child.pid, *child.forked()]]
        if not pids:
            return False
        pid = self._dice.choice(pids)
        self._wakes.append((time.monotonic() + self._dice.uniform(*FROZEN), pid))
        return hit(pid, signal.SIGSTOP)

    def _end(self, children: Sequence[Child], signum: int) -> bool:
        alive = [child for child in children if child.alive()]
        if not alive or len(alive) < len(children):
            return False  # one at a time, or there is nobody left to be hurt
        self._dice.choice(alive).send(signum)
        return True

    def _tend(self, *, everything: bool = False) -> None:
        """Wake the frozen and start Redis anew, each at its time, or ``everything`` now."""
        now = time.monotonic()
        for at, pid in list(self._wakes):
            if everything or at <= now:
                hit(pid, signal.SIGCONT)
                self._wakes.remove((at, pid))
        if self._broker_back is not None and (everything or self._broker_back <= now):
            born(self.lab.redis.start)
            self._broker_back = None

    # --- Redis and the database

    def _flush(self) -> bool:
        if self._broker_back is not None:
            return False
        with redis.Redis(port=self.lab.redis.port, socket_timeout=2) as client:
            client.flushall()
        return True

    def _kill_broker(self) -> bool:
        if self._broker_back is not None:
            return False
        self.lab.redis.kill()
        self._broker_back = time.monotonic() + self._dice.uniform(*BROKER_AWAY)
        return True

    def _cut_database(self) -> bool:
        assert self.lab.database is not None
        return self.lab.database.cut() > 0

    def _trap(self, *, answered: bool) -> bool:
        assert self.lab.database is not None
        self.lab.database.cut_after(COMMIT, answered=answered)
        return True

    def _refuse_database(self) -> bool:
        assert self.lab.database is not None
        self.lab.database.refuse()
        self._stop.wait(self._dice.uniform(0.2, 1.0))
        self.lab.database.heal()
        return True
